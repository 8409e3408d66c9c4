"""The trials that come first: the settings as they are, and fitted anchors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from angioray.models.settings import AnchorSettings
from angioray.study.selection import CohortIndex
from preprocess.cohort import Cohort
from tune.anchors.anchor_sets import AnchorSet, best_possible_recall, recall_table, training_boxes
from tune.anchors.proposed_anchors import Proposal, proposed_anchors
from tune.objective import Objective
from tune.space.parameters import Params
from tune.space.space import AS_CONFIGURED, Space
from tune.trials import BY_BASE

ANCHORS = "detector.anchors"
PROPOSED = "proposed"
BY_PROPOSAL = "proposed anchors"


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried before the searcher draws any, and where they come from."""

    params: Params
    origin: str


@dataclass(frozen=True)
class FirstTrials:
    """What a search begins with.

    Attributes:
        space: what is searched, with the anchor sets that joined it.
        candidates: the first trials; the base's settings are the very first.
        anchor_sets: of a detector, each with its fit to the boxes that trials train on.
        proposal: the anchors fitted to them, where anchors are searched.
    """

    space: Space
    candidates: tuple[Candidate, ...]
    anchor_sets: tuple[AnchorSet, ...] = ()
    proposal: Proposal | None = None

    @classmethod
    def of(cls, space: Space, objective: Objective, cohort: Cohort) -> FirstTrials:
        """Those of a search.

        Args:
            space: as its file has it.
            objective: what trials are measured on; anchors are fitted to what they train on.
            cohort: what they learn from.
        """
        if objective.run.task != "detector" or "anchors" in objective.base.detector.unused:
            return cls(space, (Candidate(space.of_base(), BY_BASE),))
        detector = objective.base.detector
        index = CohortIndex.of(cohort, objective.base.view_classes)
        boxes = training_boxes(index, objective.inner.train, objective.run.variant, detector.size)
        proposal = None
        named = {AS_CONFIGURED: detector.anchors}
        if space.choices(ANCHORS):
            proposal = proposed_anchors(
                boxes,
                detector.anchors,
                size=detector.size,
                levels=detector.levels,
                seed=objective.base.seed,
            )
            if not proposal.is_base:
                space = space.with_choice(ANCHORS, PROPOSED, _plain(proposal.anchors))
            named = {
                label: space.settings({ANCHORS: label}).detector.anchors
                for label in space.choices(ANCHORS)
            }
        sets = tuple(
            AnchorSet(
                name=str(label),
                anchors=anchors,
                fit=best_possible_recall(
                    boxes,
                    anchors,
                    size=detector.size,
                    levels=detector.levels,
                    foreground_iou=detector.foreground_iou,
                ),
            )
            for label, anchors in named.items()
        )
        candidates = [Candidate(space.of_base(), BY_BASE)]
        if proposal is not None and not proposal.is_base:
            candidates.append(Candidate({**space.of_base(), ANCHORS: PROPOSED}, BY_PROPOSAL))
        return cls(space, tuple(candidates), sets, proposal)

    def in_words(self) -> list[str]:
        """The anchor sets beside each other, before anything is trained."""
        if not self.anchor_sets:
            return []
        proposal = [self.proposal.reason] if self.proposal else []
        return [*recall_table(self.anchor_sets), *proposal]


def _plain(anchors: AnchorSettings) -> dict[str, Any]:
    """As JSON has them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(anchors).items()
    }
