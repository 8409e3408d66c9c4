"""Guaranteed sensitivity: the score thresholds that bound what is missed in new patients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from angioray.evaluation.conformal import FoundScores, Guarantee
from angioray.evaluation.matching import Matches
from angioray.report.balance import patients_are_unknown, shared_patients
from angioray.report.evidence import DetectorEvidence
from angioray.report.findings import Findings
from angioray.report.page import Block, Section, Text, plain_table
from angioray.report.runs import Group
from angioray.report.tables import NOTHING, Table

MISSED_AT_MOST = (0.1, 0.2, 0.3)
_NOTE = (
    "A fold's detector, used alone above its score, misses on average no more than this share of "
    "the lesions of a new patient who has any and is like the fold's held-out patients, on whom "
    "the score was set (conformal risk control, Angelopoulos et al. 2024, arXiv:2208.02814). This "
    "average is over all sets of held-out patients, also those that allow no score. The sets that "
    "allow one are the easier ones, so that a score of some folds alone would miss more: scores "
    "are shown where all finished folds have one. The theorem does not hold for the fused boxes of "
    "all folds together, as predict gives them for new patients, nor strictly for a variant that "
    "was chosen by these same results."
)
_FIRST_SEED = " Scores are of the first seed of each fold, whose networks predict."
_MEANINGS = {
    "Missed at most": "the share of a new patient's lesions that is missed on average",
    "Score by fold": "of each frame count the five boxes of highest score, as far as that is above "
    "this; rounded down, which keeps the guarantee",
    "False boxes": "per judged frame, the mean of these folds",
    "Patients of a fold": "those with a lesion, on whom the score was set",
    "Score of all folds": "one score set on the patients of all folds: approximate, for no theorem "
    "covers it",
    "Its false boxes": "per judged frame",
    "All patients": "those with a lesion",
}


@dataclass(frozen=True, kw_only=True)
class GuaranteedSensitivity:
    """What the held-out patients of one fold, or of all, allow to promise of a detector."""

    group: Group
    fold: int | None
    """None for all folds together, which is approximate."""
    guarantee: Guarantee
    false_boxes_per_frame: float | None
    """On the judged frames; None without a threshold."""

    @classmethod
    def of(cls, evidence: DetectorEvidence) -> Iterator[GuaranteedSensitivity]:
        """Of each fold, then of all together, for each share that may be missed."""
        of_fold = {fold: matched.best for fold, matched in evidence.matched_folds.items()}
        for fold, matches in (*of_fold.items(), (None, evidence.matches)):
            patients = evidence.frames.patients(matches.frame_image_id.tolist())
            scores = FoundScores.of(matches, patients)
            for missed_at_most in MISSED_AT_MOST:
                guarantee = scores.guarantee(missed_at_most)
                yield cls(
                    group=evidence.group,
                    fold=fold,
                    guarantee=guarantee,
                    false_boxes_per_frame=_false_boxes(matches, guarantee.score),
                )

    def as_json(self) -> dict[str, Any]:
        """The entry of ``report.json``."""
        return {
            "view": self.group.view,
            "variant": self.group.variant,
            "size": self.group.size,
            "fold": self.fold,
            "missed_at_most": self.guarantee.missed_at_most,
            "score": self.guarantee.score,
            "false_boxes_per_frame": self.false_boxes_per_frame,
            "patients": self.guarantee.patients,
            "missed_at_any_score": self.guarantee.missed_at_any_score,
            "reason": self.guarantee.reason,
        }


def guaranteed_sensitivities(findings: Findings) -> list[GuaranteedSensitivity]:
    """Those of all detectors whose folds no patient shares."""
    return [
        each
        for evidence in findings.detectors
        if not _shares_patients(findings, evidence)
        for each in GuaranteedSensitivity.of(evidence)
    ]


def sensitivity_section(findings: Findings) -> Section | None:
    """The thresholds, and why there are none; None without a detector."""
    blocks: list[Block] = [
        Text(
            f"No sensitivity of the {view} detectors can be guaranteed: patients lie on both sides "
            "of the folds, or are unknown."
        )
        for view in dict.fromkeys(
            e.group.view for e in findings.detectors if _shares_patients(findings, e)
        )
    ]
    if found := guaranteed_sensitivities(findings):
        blocks.append(_table(found))
    if not blocks:
        return None
    return Section(anchor="sensitivity", title="Guaranteed sensitivity", blocks=tuple(blocks))


def _table(found: Sequence[GuaranteedSensitivity]) -> Table:
    rows = []
    for pooled in (each for each in found if each.fold is None):
        missed_at_most = pooled.guarantee.missed_at_most
        folds = [
            each
            for each in found
            if each.fold is not None
            and each.group is pooled.group
            and each.guarantee.missed_at_most == missed_at_most
        ]
        rows.append(
            (
                pooled.group.view,
                pooled.group.variant,
                f"{100 * missed_at_most:.0f} %",
                *_cells(folds),
                *_cells([pooled]),
            )
        )
    return plain_table(
        "guaranteed_sensitivity",
        "Score thresholds that bound the share of missed lesions in new patients",
        (
            *("View", "Variant", "Missed at most"),
            *("Score by fold", "False boxes", "Patients of a fold"),
            *("Score of all folds", "Its false boxes", "All patients"),
        ),
        rows,
        note=_NOTE + (_FIRST_SEED if any(len(each.group.by_seed) > 1 for each in found) else ""),
        meanings=_MEANINGS,
    )


def _cells(parts: Sequence[GuaranteedSensitivity]) -> tuple[str, str, str]:
    """The thresholds, the false boxes and the patients of several folds, or of one part."""
    patients = _range([str(n) for n in sorted(each.guarantee.patients for each in parts)])
    scores = sorted(s for each in parts if (s := each.guarantee.score) is not None)
    false = [f for each in parts if (f := each.false_boxes_per_frame) is not None]
    without = [each.guarantee for each in parts if each.guarantee.score is None]
    if without:
        reason = max(without, key=lambda guarantee: guarantee.patients).reason
        some = f"only {len(scores)} of {len(parts)} folds have a score: " if scores else ""
        return some + reason, NOTHING, patients
    shown = _range([f"{math.floor(1000 * max(score, 0)) / 1000:.3f}" for score in scores])
    return shown, f"{sum(false) / len(false):.2f}", patients


def _range(sorted_values: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys((sorted_values[0], sorted_values[-1])))


def _false_boxes(matches: Matches, score: float | None) -> float | None:
    if score is None:
        return None
    kept = matches.kept(score_above=score, max_detections=matches.max_detections)
    return float((kept & ~matches.is_true_positive).sum() / len(matches.frame_image_id))


def _shares_patients(findings: Findings, evidence: DetectorEvidence) -> bool:
    cohort = evidence.frames.cohort
    shared = shared_patients(findings.study, cohort)[f"detector/{evidence.group.view}"]
    return any(shared) or patients_are_unknown(cohort)
