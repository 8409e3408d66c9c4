"""Both steps judged where readers named the view and drew boxes: what wrong views cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from angioray.evaluation.end_to_end import EndToEnd
from angioray.evaluation.matching import Detections
from angioray.findings.cine_file import LookedAt
from angioray.findings.cines import CineTask
from angioray.inference.chosen import Chosen
from angioray.inference.findings import FoundBox
from angioray.inference.settings import PredictSettings
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import Cohort
from preprocess.console.words import counted

SHOWN = (
    *("at_least_one@IoU0.20/score0.50", "recall@IoU0.20/score0.50/max5"),
    *("precision@IoU0.20/score0.50/max5", "AP@IoU0.20"),
)


class Judged:
    """The boxes on the reference frames of cines with lesions and a known view, as they come."""

    def __init__(self, tasks: Iterable[CineTask]) -> None:
        """``tasks`` know which cines those are."""
        self._true = {t.cine.sequence_id: t for t in tasks if t.true_view is not None}
        self._given: dict[int, Detections] = {}
        self._named: dict[int, Detections] = {}
        self._wrong: set[str] = set()

    def following(self, cines: Iterable[LookedAt], cohort: Cohort) -> Iterator[LookedAt]:
        """The same cines; of each, the boxes on its judged frame are kept."""
        for looked_at in cines:
            findings = looked_at.findings
            if (task := self._true.get(findings.sequence_id)) is not None:
                t = task.cine.reference_frame
                assert t is not None
                is_wrong = findings.view != task.true_view
                given = looked_at.by_true_view if is_wrong else findings.boxes
                if t in findings.frames and given is not None:
                    image_id = cohort.image_id(findings.sequence_id, t)
                    self._named[image_id] = _detections(findings.boxes_by_frame[t])
                    self._given[image_id] = _detections([b for b in given if b.frame_index == t])
                    self._wrong |= {findings.sequence_id} if is_wrong else set()
            yield looked_at

    def result(self, cohort: Cohort) -> EndToEnd | None:
        """How good both steps are; None where nothing could be judged."""
        if not (ids := sorted(self._named)):
            return None
        frames = FrameIndex(cohort=cohort)
        return EndToEnd.of(
            frames.judged(ids), frames.patients(ids), self._given, self._named, self._wrong
        )


def metrics(judged: EndToEnd, chosen: Chosen, settings: PredictSettings) -> dict[str, Any]:
    """The content of ``metrics.json``."""
    return {
        "settings": asdict(settings),
        "variant": chosen.variant,
        "view_size": chosen.view_size,
        "sequences": judged.sequences,
        "patients": judged.patients,
        "wrong_views": judged.wrong_views,
        "metrics": {name: asdict(cost) for name, cost in judged.costs.items()},
    }


def describe(judged: EndToEnd) -> Iterator[str]:
    """The same in lines for the terminal."""
    yield (
        f"Judged on the reference frames of {counted(judged.sequences, 'sequence')} of "
        f"{counted(judged.patients, 'patient')}; views named wrongly: {judged.wrong_views}."
    )
    yield f"  {'':<36} view given  named first"
    for name in SHOWN:
        cost = judged.costs[name]
        given, named = ("-" if v is None else f"{v:.3f}" for v in (cost.given, cost.named))
        yield f"  {name:<36} {given:>10}  {named:>11}"


def _detections(boxes: Sequence[FoundBox]) -> Detections:
    corners = np.array([box.box_xyxy for box in boxes], dtype=np.float64).reshape(-1, 4)
    return corners, np.array([box.score for box in boxes], dtype=np.float64)
