"""Where the variance of a metric comes from: the seed, the fold and its patients.

Folds are random effects, and seeds repeat the training of each: the components of variance are
estimated by the method of moments (one-way analysis of variance with unequal numbers; Searle,
Casella and McCulloch 1992, doi:10.1002/9780470316856). Of the variance between folds, what is
expected from judging each fold on its own few patients is set apart, by the error of the metric
over all patients. What is left is the fold's own: other training patients. A cross-validation
without repeated seeds cannot tell seeds from folds (Bouthillier et al. 2021, arXiv 2103.03098).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from angioray.evaluation.matching import FloatArray


@dataclass(frozen=True, kw_only=True)
class Components:
    """Standard deviations of one run's metric; a negative variance counts as 0.

    Attributes:
        seed: between trainings on the same fold that differ in their seed; None with one seed.
        fold: between folds beyond their seeds and patients; with one seed, that of the seed too.
            None with fewer than two folds.
        patient: of judging a fold on its own patients; None where that is not known.
        negative: the parts whose estimate was below 0.
    """

    seed: float | None
    fold: float | None
    patient: float | None
    negative: tuple[str, ...]


def components(values: FloatArray, error: float | None) -> Components:
    """Part the variance of a metric.

    Args:
        values: float[R, F], by repeat and fold; NaN where the metric is undefined.
        error: its standard error over the patients of all folds together; None if not known.
    """
    defined = ~np.isnan(values)
    seeds = defined.sum(axis=0)
    total, folds = int(seeds.sum()), int((seeds > 0).sum())
    means = np.where(defined, values, 0).sum(axis=0) / np.maximum(seeds, 1)
    within = (np.where(defined, values - means, 0) ** 2).sum()
    repeated = total - folds
    parts: dict[str, float] = {}
    if repeated > 0:
        parts["seed"] = float(within / repeated)
    # Each patient is judged in one fold, so that a fold has its share of them alone.
    if error is not None:
        parts["patient"] = error**2 * folds
    if folds > 1:
        overall = (seeds * means).sum() / total
        between = (seeds * (means - overall) ** 2).sum() / (folds - 1)
        per_fold = (total - (seeds**2).sum() / total) / (folds - 1)
        of_folds = (between - parts.get("seed", 0.0)) / per_fold
        parts["fold"] = float(of_folds - parts.get("patient", 0.0))
    spread = {name: float(np.sqrt(max(part, 0.0))) for name, part in parts.items()}
    return Components(
        seed=spread.get("seed"),
        fold=spread.get("fold"),
        patient=spread.get("patient"),
        negative=tuple(name for name, part in parts.items() if part < 0),
    )
