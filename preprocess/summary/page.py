"""The summary's page: one HTML file that shows what may be wrong with a cohort."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.cohort import BoxSource, Cohort, Verdict
from preprocess.console.drawing import Figure
from preprocess.console.pages import render
from preprocess.console.progress import track
from preprocess.summary.anchors import box_sides
from preprocess.summary.contact_sheet import ContactSheet, contact_sheet, kind
from preprocess.summary.figures import angle_scatter, box_sizes, ifr_split
from preprocess.summary.findings import boxes_by_sequence
from preprocess.summary.intervals import PHASE_COLOURS, phases_over_time
from preprocess.summary.table_1 import COLUMNS, in_paper_order, meanings, view_name
from preprocess.summary.tally import Tally, boxes_by_view

PLACED_BY = {
    "reference": "a reader, on the reference frame",
    "corrected": "a reader, correcting the tracker",
    "good": "the tracker, trusted",
    "check": "the tracker, to be looked at",
    "lost": "the tracker, lost: not trained on",
}


@dataclass(frozen=True, kw_only=True)
class _Figures:
    angles: Figure | None
    sizes: Figure | None
    phases: Figure | None
    ifr: Figure | None


def quality_page(cohort: Cohort, tally: Tally, *, shown: int, frames: int) -> str:
    """The page as HTML.

    Args:
        cohort: what is shown.
        tally: its numbers.
        shown: how many sequences at most, the most doubtful first.
        frames: how many frames of each.

    Raises:
        ValueError: frames are damaged or gone.
    """
    names = _most_doubtful_first(cohort, tally)[:shown]
    return render(
        "preprocess.summary",
        "page.html.j2",
        style="page.css",
        script="page.js",
        kind=kind,
        view_name=view_name,
        tally=tally,
        columns=COLUMNS,
        meanings=meanings(tally.ifr_threshold),
        figures=_figures(cohort, tally),
        placed_by=PLACED_BY,
        phase_colours=PHASE_COLOURS,
        verdicts=[str(verdict) for verdict in Verdict],
        views=in_paper_order(map(view_name, cohort.sequences.values())),
        shown=set(names),
        stills=all(sequence.length == 1 for sequence in cohort.sequences.values()),
        sheets=track(_sheets(cohort, tally, names, frames), total=len(names), label="sheets"),
    )


def _most_doubtful_first(cohort: Cohort, tally: Tally) -> list[str]:
    """By the number of findings, then of lost and of doubtful boxes."""
    boxes = boxes_by_sequence(cohort)

    def doubt(name: str) -> tuple[int, int, int]:
        verdicts = [box.verdict for box in boxes[name] if box.source is BoxSource.TRACKED]
        found = sum(name in finding.sequences for finding in tally.findings)
        return found, verdicts.count(Verdict.LOST), verdicts.count(Verdict.CHECK)

    return sorted(sorted(cohort.sequences), key=doubt, reverse=True)


def _sheets(cohort: Cohort, tally: Tally, names: list[str], frames: int) -> Iterator[ContactSheet]:
    boxes = boxes_by_sequence(cohort)
    for name in names:
        found = [finding for finding in tally.findings if name in finding.sequences]
        yield contact_sheet(cohort, cohort.sequences[name], boxes[name], found, count=frames)


def _figures(cohort: Cohort, tally: Tally) -> _Figures:
    sequences = list(cohort.sequences.values())
    angles = next((f.sequences for f in tally.findings if f.kind == "angles"), {})
    sides = {
        view: box_sides(boxes, cohort.sequences) for view, boxes in boxes_by_view(cohort).items()
    }
    return _Figures(
        angles=angle_scatter(sequences, angles),
        sizes=box_sizes({view: of_view for view, of_view in sides.items() if len(of_view)}),
        phases=phases_over_time(sequences),
        ifr=ifr_split(sequences, tally.ifr_threshold),
    )
