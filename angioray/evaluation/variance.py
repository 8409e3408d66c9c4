"""Where the variance of a metric comes from: the seed, the fold and its patients.

One run's metric is a mean, plus a random effect of its fold, one of the patients that judge the
fold, and one of its seed. Seeds repeat the training of each fold, so the parts are estimated by the
method of moments (analysis of variance; Searle, Casella and McCulloch 1992,
doi:10.1002/9780470316856). The part of the patients is what the jackknife over a fold's patients
gives for two seeds alike: its covariance. The variance of one seed alone would hold what the seed
changes for single patients, which is a part of the seed. What is left between folds is the fold's
own: other training patients. A cross-validation without repeated seeds cannot tell seeds from
folds and patients (Bouthillier et al. 2021, arXiv 2103.03098).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioray.evaluation.matching import FloatArray


@dataclass(frozen=True, kw_only=True)
class Components:
    """Standard deviations of one run's metric; a negative variance counts as 0.

    Attributes:
        seed: between trainings on the same fold that differ in their seed; None with one seed.
        fold: between folds beyond their seeds and patients; with one seed, with what the seed
            changes for all patients of a fold. None with fewer than two folds.
        patient: of judging a fold on its own patients; with one seed, with what the seed changes
            for single patients. None where a fold has one patient, or one of them alone decides
            whether the metric is defined.
        negative: the parts whose estimate was below 0.
    """

    seed: float | None
    fold: float | None
    patient: float | None
    negative: tuple[str, ...]


def components(values: FloatArray, without: Sequence[FloatArray]) -> Components:
    """Part the variance of a metric.

    Args:
        values: float[R, F], by seed and fold; NaN where the metric is undefined. A fold where it is
            undefined for one seed is left out.
        without: of each fold float[R, n], the metric without each of the fold's n patients.
    """
    defined = [not np.isnan(of_fold).any() for of_fold in values.T]
    values = values[:, defined]
    seeds, folds = values.shape
    parts: dict[str, float] = {}
    if folds and seeds > 1:
        parts["seed"] = float(values.var(axis=0, ddof=1).mean())
    of_folds = [_of_patients(each) for each, kept in zip(without, defined, strict=True) if kept]
    if folds and not np.isnan(of_folds).any():
        parts["patient"] = float(np.mean(of_folds))
        if folds > 1:
            between = float(values.mean(axis=0).var(ddof=1))
            parts["fold"] = between - parts.get("seed", 0.0) / seeds - parts["patient"]
    spread = {name: float(np.sqrt(max(part, 0.0))) for name, part in parts.items()}
    return Components(
        seed=spread.get("seed"),
        fold=spread.get("fold"),
        patient=spread.get("patient"),
        negative=tuple(name for name, part in parts.items() if part < 0),
    )


def _of_patients(without: FloatArray) -> float:
    """The jackknife's mean covariance between two seeds; the variance of one; NaN if not known."""
    seeds, patients = without.shape
    if patients < 2:
        return float("nan")
    apart = without - without.mean(axis=1, keepdims=True)
    covariance = (patients - 1) / patients * apart @ apart.T
    if seeds == 1:
        return float(covariance[0, 0])
    return float((covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))
