"""The numbers that the paper published, to stand beside a cohort's own.

Source: the paper whose protocol this is (:data:`PAPER`; its Tables 2 and 3, means and standard
deviations over five folds) and Cong et al. as that paper cites them. Where the paper prints three
decimals for one value, all three are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

PAPER = (
    "D. L. Rodrigues, M. N. Menezes, F. J. Pinto, A. L. Oliveira: Automated Detection of Coronary "
    "Artery Stenosis in X-ray Angiography using Deep Neural Networks, arXiv:2103.02969 (2021)"
)


PAPER_IN_SHORT = "Rodrigues et al. 2021, arXiv:2103.02969"

EXPERTS = (
    "For stenoses of 50 % or more, Molenaar et al. report an expert agreement of 0.65 (95 % "
    "interval 0.63 to 0.68) where their detector finds 0.67 (JACC: Advances 2025;4(12):102360, "
    "PMC12834072): another cohort, and a measure of their own."
)
"""What is published about how well readers agree, in words."""

IFR_IN_SHORT = "Oliveira et al. 2025, PMC11982120"
IFR = {"accuracy": 0.72, "NPV": 0.90, "PPV": 0.48, "sensitivity": 0.77, "specificity": 0.71}
"""iFR at or below 0.89 from angiograms, 250 measurements of the paper's hospital."""


@dataclass(frozen=True)
class Published:
    """A published value; ``std`` is None where none was given."""

    mean: float
    std: float | None = None


VIEW_METRICS = ("accuracy", "f1_macro", "cross_entropy")

DETECTOR_METRICS = (
    "at_least_one@IoU0.20/score0.50",
    "recall@IoU0.20/score0.50/max1",
    "precision@IoU0.20/score0.50/max1",
    "recall@IoU0.20/score0.50/max5",
    "precision@IoU0.20/score0.50/max5",
)

_TABLE_2 = {
    512: ((0.96, 0.01), (0.96, 0.01), (0.14, 0.27)),
    224: ((0.97, 0.01), (0.97, 0.01), (0.08, 0.31)),
}

_TABLE_3 = {
    ("RCA", "B"): ((0.81, 0.01), (0.72, 0.03), (0.80, 0.02), (0.73, 0.01), (0.64, 0.04)),
    ("RCA", "BG"): ((0.74, 0.03), (0.64, 0.03), (0.714, 0.05), (0.61, 0.05), (0.64, 0.01)),
    ("RCA", "NL"): ((0.74, 0.04), (0.68, 0.04), (0.82, 0.02), (0.51, 0.04), (0.72, 0.03)),
    ("RCA", "BGNL"): ((0.71, 0.02), (0.65, 0.03), (0.79, 0.03), (0.63, 0.02), (0.71, 0.02)),
    ("LCA", "B"): ((0.77, 0.03), (0.68, 0.04), (0.79, 0.03), (0.65, 0.01), (0.65, 0.01)),
    ("LCA", "BG"): ((0.74, 0.04), (0.70, 0.04), (0.84, 0.02), (0.68, 0.03), (0.74, 0.02)),
    ("LCA", "NL"): ((0.71, 0.02), (0.65, 0.02), (0.81, 0.03), (0.56, 0.01), (0.68, 0.01)),
    ("LCA", "BGNL"): ((0.65, 0.03), (0.58, 0.03), (0.73, 0.02), (0.51, 0.02), (0.64, 0.01)),
}

CONG_ET_AL = {
    "RCA": {"recall@IoU0.20/score0.50/max1": Published(0.71)},
    "LCA": {"recall@IoU0.20/score0.50/max1": Published(0.60)},
}


def published_view(size: int) -> dict[str, Published]:
    """Table 2 of the paper for one input size, by metric; empty for sizes it has not."""
    values = _TABLE_2.get(size, ())
    return {name: Published(*value) for name, value in zip(VIEW_METRICS, values, strict=False)}


def published_detector(view: str, variant: str) -> dict[str, Published]:
    """Table 3 of the paper for one view and variant, by metric; empty for those it has not."""
    values = _TABLE_3.get((view, variant), ())
    return {name: Published(*value) for name, value in zip(DETECTOR_METRICS, values, strict=False)}
