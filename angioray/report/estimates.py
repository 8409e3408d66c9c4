"""Each metric of each group over its folds and seeds: mean, standard deviation, 95 % interval."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from angioray.evaluation.detection import aggregate
from angioray.evaluation.intervals import Interval, Jackknife
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
    """Over patients, on the pooled frames of the finished folds."""
    folds: tuple[float | None, ...]
    """One value per planned fold, the mean of its seeds; None where it is undefined in all of them
    or no run has a result."""
    seeds: tuple[tuple[float | None, ...], ...]
    """The same of each seed that counts (:attr:`Group.counted`) by itself."""

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
            "seeds": [list(folds) for folds in self.seeds],
        }


def estimates(group: Group, intervals: Mapping[str, Interval | None]) -> dict[str, Estimate]:
    """Every metric that the group's finished runs report, by name and in their order."""
    finished = (run for seed in group.counted for run in seed.finished)
    names = [name for run in finished for name in (run.result or {})["metrics"]]
    return {
        name: over_folds(
            group,
            name,
            [{run.fold: run.metric(name) for run in seed.runs} for seed in group.counted],
            intervals.get(name),
        )
        for name in dict.fromkeys(names)
    }


def over_folds(
    group: Group,
    metric: str,
    by_seed: Iterable[Mapping[int, float | None]],
    ci95: Interval | None,
) -> Estimate:
    """One metric from each seed's values by fold."""
    seeds = tuple(tuple(values.get(fold) for fold in group.folds) for values in by_seed)
    folds = tuple(aggregate(of_fold).mean for of_fold in zip(*seeds, strict=True))
    spread = aggregate(folds)
    return Estimate(
        group=group,
        metric=metric,
        mean=spread.mean,
        std=spread.std,
        ci95=ci95,
        folds=folds,
        seeds=seeds,
    )


def detector_intervals(
    evidence: DetectorEvidence, names: Collection[str] = ()
) -> dict[str, Interval | None]:
    """95 % intervals of a detector's metrics, of all or of those that are named."""
    jackknife = Jackknife.of(evidence.frames.patients(evidence.image_ids))
    intervals = _intervals(jackknife, evidence.measures(evidence.image_ids), names)
    if not evidence.healthy:
        return intervals
    with_healthy = Jackknife.of(evidence.frames.patients(evidence.all_image_ids))
    return intervals | _intervals(with_healthy, evidence.healthy_measures(), names)


def view_intervals(
    evidence: ViewEvidence, names: Collection[str] = ()
) -> dict[str, Interval | None]:
    """95 % intervals of a classifier's metrics, of all or of those that are named."""
    jackknife = Jackknife.of(evidence.frames.patients(evidence.image_ids))
    return _intervals(jackknife, evidence.measures(), names)


def _intervals(
    jackknife: Jackknife, measures: Mapping[str, Measure], names: Collection[str]
) -> dict[str, Interval | None]:
    wanted = [name for name in measures if not names or name in names]
    return {name: jackknife.interval(measures[name]) for name in wanted}
