"""The numbers of a summary, counted once for the terminal, the JSON file and the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    ManifestRow,
    Verdict,
    count_phantoms,
    phantom_notice,
)
from preprocess.ifr import IFR_CUT_OFF
from preprocess.summary.anchors import AnchorAgreement, box_sides
from preprocess.summary.findings import Finding, findings
from preprocess.summary.table_1 import (
    TableRow,
    in_paper_order,
    rejected_reasons,
    table_1,
    view_name,
)

SCHEMA_VERSION = 1


def boxes_by_view(cohort: Cohort) -> dict[str, list[Box]]:
    """The boxes of every view that the cohort has, lost ones included, in the paper's order."""
    boxes: dict[str, list[Box]] = {
        view: [] for view in in_paper_order(map(view_name, cohort.sequences.values()))
    }
    for box in cohort.boxes:
        boxes[view_name(cohort.sequences[box.sequence_id])].append(box)
    return boxes


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a cohort holds, in numbers."""

    sequences: int
    phantoms: int
    """Sequences that are marked as phantom images."""
    patients: int
    files: int
    """Source files, accepted or not; 0 where the cohort has no manifest."""
    proposed_intervals: int
    """Sequences whose contrast intervals were proposed from the pixels."""
    proposed_references: int
    ifr_threshold: float
    table_1: list[TableRow]
    rejected: dict[str, int]
    """Files by reason, the most frequent first."""
    tracked: dict[str, dict[str, int]]
    """Tracked boxes by verdict, for each view that has any."""
    anchors: dict[str, AnchorAgreement]
    """How the boxes that are trained on fit the paper's anchors, for each view that has any."""
    all_anchors: AnchorAgreement | None
    findings: list[Finding]

    @classmethod
    def of(
        cls, cohort: Cohort, manifest: list[ManifestRow], *, ifr_threshold: float = IFR_CUT_OFF
    ) -> Tally:
        """Count a cohort and the files that did not get into it."""
        of_view = boxes_by_view(cohort)
        fits = {
            view: AnchorAgreement.of(box_sides(boxes, cohort.sequences))
            for view, boxes in of_view.items()
        }
        verdicts = {
            view: Counter(box.verdict for box in boxes if box.source is BoxSource.TRACKED)
            for view, boxes in of_view.items()
        }
        return cls(
            sequences=len(cohort.sequences),
            phantoms=count_phantoms(cohort.sequences.values()),
            patients=len({sequence.patient_id for sequence in cohort.sequences.values()}),
            files=len(manifest),
            proposed_intervals=sum(
                s.phases_proposed and s.optimal_start is not None for s in cohort.sequences.values()
            ),
            proposed_references=sum(s.reference_proposed for s in cohort.sequences.values()),
            ifr_threshold=ifr_threshold,
            table_1=table_1(cohort, manifest, ifr_threshold=ifr_threshold),
            rejected=rejected_reasons(manifest),
            tracked={
                view: {str(verdict): counts[verdict] for verdict in Verdict}
                for view, counts in verdicts.items()
                if counts
            },
            anchors={view: fit for view, fit in fits.items() if fit is not None},
            all_anchors=AnchorAgreement.of(box_sides(cohort.boxes, cohort.sequences)),
            findings=findings(cohort),
        )

    @property
    def all_tracked(self) -> dict[str, int]:
        """Tracked boxes by verdict."""
        return {
            str(verdict): sum(counts[str(verdict)] for counts in self.tracked.values())
            for verdict in Verdict
        }

    @property
    def banner(self) -> str:
        """What the page and the terminal begin with, where phantoms are shown; else empty."""
        return phantom_notice(self.phantoms, self.sequences)

    @property
    def doubted(self) -> set[str]:
        """Sequences with a finding."""
        return {name for finding in self.findings for name in finding.sequences}

    def sentences(self) -> list[str]:
        """The numbers that matter, in words."""
        said = (self._kept(), self._proposed(), self._tracked(), self._fit(), self._found())
        return [sentence for sentence in said if sentence]

    def as_json(self) -> dict[str, Any]:
        """``summary.json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sequences": self.sequences,
            "phantoms": self.phantoms,
            "patients": self.patients,
            "proposed_intervals": self.proposed_intervals,
            "proposed_references": self.proposed_references,
            "ifr_threshold": self.ifr_threshold,
            "table_1": [asdict(row) for row in self.table_1],
            "tracked_boxes": self.all_tracked,
            "tracked_boxes_by_view": self.tracked,
            "anchors": None if self.all_anchors is None else asdict(self.all_anchors),
            "anchors_by_view": {view: asdict(fit) for view, fit in self.anchors.items()},
            "rejected": self.rejected,
            "findings": {finding.kind: dict(finding.sequences) for finding in self.findings},
        }

    def _kept(self) -> str:
        kept = f"{self.sequences} sequences of {self.patients} patients are in the cohort"
        rejected = sum(self.rejected.values())
        return (
            f"{kept}; {rejected} of {self.files} source files were rejected."
            if self.files
            else (f"{kept}; it has no manifest, so that rejected files are unknown.")
        )

    def _proposed(self) -> str:
        if not self.proposed_intervals + self.proposed_references:
            return ""
        return (
            "Proposed from the pixels, and to be looked at: the contrast intervals of "
            f"{self.proposed_intervals} sequences and the reference frame of "
            f"{self.proposed_references}."
        )

    def _tracked(self) -> str:
        counts, total = self.all_tracked, sum(self.all_tracked.values())
        if not total:
            return "No box was tracked: propagate was not run, or every sequence is a still."
        shares = ", ".join(
            f"{count} {verdict} ({100 * count / total:.1f} %)" for verdict, count in counts.items()
        )
        return f"{total} boxes were tracked: {shares}. Lost boxes are not trained on."

    def _fit(self) -> str:
        fit = self.all_anchors
        if fit is None:
            return "No sequence has a box."
        return (
            f"{100 * fit.below_foreground:.1f} % of {fit.boxes} boxes overlap no anchor of the "
            f"paper's detector by an IoU of 0.5, {100 * fit.below_background:.1f} % none by 0.4."
        )

    def _found(self) -> str:
        if not self.findings:
            return "No sequence looks wrong to the checks of this page."
        kinds = "; ".join(f"{finding.title}: {len(finding.sequences)}" for finding in self.findings)
        return f"Sequences that need a look: {len(self.doubted)}. {kinds}."
