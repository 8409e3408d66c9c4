"""Both steps together: detection with the true view, and with the view that step 1 named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from angioray.evaluation.detection import JudgedFrames, Matched
from angioray.evaluation.intervals import Difference, Interval, Jackknife
from angioray.evaluation.matching import Predictions
from angioray.evaluation.measures import value


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One metric with the true view given, with the view named by step 1, and the difference."""

    given: float | None
    given_ci95: Interval | None
    named: float | None
    named_ci95: Interval | None
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """Both steps together on frames with known views and lesions."""

    sequences: int
    wrong_views: int
    """Sequences whose view was named wrongly, so that another view's detector looked at them."""
    patients: int
    costs: Mapping[str, Cost]
    """By metric."""

    @classmethod
    def of(
        cls,
        frames: JudgedFrames,
        patients: list[str],
        given: Predictions,
        named: Predictions,
        wrong: set[str],
    ) -> EndToEnd:
        """Judge both ways on the same frames.

        Args:
            frames: the judged frames.
            patients: the patient of each, in the order of rising image ids.
            given: boxes by the detector of the true view.
            named: boxes by the detector of the view that step 1 named.
            wrong: the sequences whose view it named wrongly.
        """
        jackknife = Jackknife.of(patients)
        with_given, with_named = (
            {
                name: measure
                for name, measure in Matched.of(frames, found).measures().items()
                if "/size-" not in name and "/iFR-" not in name and "/lesions-" not in name
            }
            for found in (given, named)
        )
        count = len(frames.sequence)
        return cls(
            sequences=len(set(frames.sequence.values())),
            wrong_views=len(wrong & set(frames.sequence.values())),
            patients=len(set(patients)),
            costs={
                name: Cost(
                    given=value(measure, count),
                    given_ci95=jackknife.interval(measure),
                    named=value(with_named[name], count),
                    named_ci95=jackknife.interval(with_named[name]),
                    difference=jackknife.difference(with_named[name], measure),
                )
                for name, measure in with_given.items()
            },
        )
