"""The resources of a trial: its share of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from angioray.cluster.flops import run_flop, run_steps
from angioray.cluster.footprint import Footprint
from angioray.cluster.lane_settings import LaneSettings
from angioray.cluster.nodes import Node
from angioray.cluster.plan import LaneGroup, make_plan
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from preprocess.cohort import Cohort
from tune.cost import TrialCost
from tune.objective import Objective
from tune.space.space import Space


@dataclass(frozen=True)
class Room:
    """What a cluster has for trials.

    Attributes:
        group: trials at once, and the resources of each.
        base_s: seconds that a whole trial with the base's settings is expected to train.
        source: what that rests on.
        notes: sentences that say what was found and decided.
    """

    group: LaneGroup
    base_s: float
    source: str
    notes: tuple[str, ...]


def room(
    objective: Objective,
    space: Space,
    folder: str,
    cohort: Cohort,
    samples: int,
    lanes: LaneSettings,
    nodes: Sequence[Node],
    most_cost: float | None = None,
) -> Room:
    """How many trials go at once, by the settings of the space that need most.

    Args:
        objective: what trials are measured on.
        space: what is searched.
        folder: where trials are kept.
        cohort: what they learn from.
        samples: trials in all.
        lanes: what one may have.
        nodes: of the cluster.
        most_cost: of the dearest trial that is tried, in trials of the base; None for no limit.

    Raises:
        ValueError: not even one trial fits; with numbers.
    """
    index = CohortIndex.of(cohort, objective.base.view_classes)
    cost = TrialCost(space, objective, most_cost)
    tried = [space.of_base(), *(params for params in space.edges() if cost.allows(params))]
    unlike = {cost(params): space.settings(params) for params in tried}

    def need(settings: StudySettings) -> int:
        alone = objective.study(settings, folder, cohort.copy.location)
        return Footprint.of(alone, index, alone.runs[0], torch.float32).device

    # To the planner it is a study with as many folds as there are trials.
    study = objective.study(max(unlike.values(), key=need), folder, cohort.copy.location, samples)
    plan = make_plan(study, index, study.runs, replace(lanes, ranks=1), nodes)
    base = objective.study(objective.base, folder, cohort.copy.location)
    run = base.runs[0]
    seconds = plan.rates.seconds(run, run_flop(base, index, run), run_steps(base, index, run))
    notes = [note.replace("runs at once", "trials at once") for note in plan.notes]
    return Room(plan.groups[0], seconds, plan.rates.source, tuple(notes))
