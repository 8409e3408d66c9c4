"""Each metric of each group over its folds: mean, standard deviation, 95 % interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from angioray.evaluation.bootstrap import Interval, Resampling
from angioray.evaluation.detection import aggregate
from angioray.evaluation.measures import Measure
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.runs import Group


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One metric of one group."""

    group: Group
    metric: str
    mean: float | None
    std: float | None
    """Sample standard deviation over folds (n - 1)."""
    ci95: Interval | None
    """Bootstrap over patients, on the pooled frames of the finished folds."""
    folds: tuple[float | None, ...]
    """One value per planned fold; None where it is undefined or the run has no result."""

    def as_json(self) -> dict[str, Any]:
        """The entry of ``report.json``."""
        return {
            "task": self.group.task,
            "view": self.group.view,
            "variant": self.group.variant,
            "size": self.group.size,
            "metric": self.metric,
            "mean": self.mean,
            "std": self.std,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "folds": list(self.folds),
        }


def estimates(group: Group, intervals: Mapping[str, Interval | None]) -> dict[str, Estimate]:
    """Every metric that the group's finished runs report, by name and in their order."""
    names = [name for run in group.finished for name in (run.result or {})["metrics"]]
    return {
        name: over_folds(
            group, name, {run.fold: run.metric(name) for run in group.runs}, intervals.get(name)
        )
        for name in dict.fromkeys(names)
    }


def over_folds(
    group: Group, metric: str, values: Mapping[int, float | None], ci95: Interval | None
) -> Estimate:
    """One metric from its values by fold."""
    folds = tuple(values.get(run.fold) for run in group.runs)
    spread = aggregate(folds)
    return Estimate(
        group=group, metric=metric, mean=spread.mean, std=spread.std, ci95=ci95, folds=folds
    )


def detector_intervals(
    evidence: DetectorEvidence, names: Collection[str] = ()
) -> dict[str, Interval | None]:
    """95 % intervals of a detector's metrics, of all or of those that are named."""
    resampling = Resampling.of(evidence.frames.patients(evidence.image_ids))
    return _intervals(resampling, evidence.matched.measures(), names)


def view_intervals(
    evidence: ViewEvidence, names: Collection[str] = ()
) -> dict[str, Interval | None]:
    """95 % intervals of a classifier's metrics, of all or of those that are named."""
    resampling = Resampling.of(evidence.frames.patients(evidence.image_ids))
    return _intervals(resampling, evidence.measures(), names)


def _intervals(
    resampling: Resampling, measures: Mapping[str, Measure], names: Collection[str]
) -> dict[str, Interval | None]:
    wanted = [name for name in measures if not names or name in names]
    return {name: resampling.interval(measures[name]) for name in wanted}
