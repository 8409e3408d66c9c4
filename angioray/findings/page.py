"""The page of predictions: every cine with its view, its lesions through time and its best frames.

What shows a cine is made while its frames are in memory, as a part of the page; the page is put
together from those parts at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from angioray.findings.cine_pictures import best_frames, film, still
from angioray.findings.marks import Mark, marks_in, text_height
from angioray.findings.timeline import lane, strip
from angioray.inference.findings import Findings, Lesion
from preprocess.cohort import Sequence
from preprocess.console.pages import render, render_part
from preprocess.console.words import counted
from preprocess.exporters.video import MILLISECONDS, rate
from preprocess.storage.atomic import write_text
from preprocess.views import angles_in_words

MOST_ON_A_PAGE = 100
"""Cines of one file; a browser opens that many at once."""
FIRST_PAGE = "predictions.html"
COLUMNS = {
    "cine": "Cine",
    "patient": "Patient",
    "view": "View",
    "probability": "Probability",
    "lesions": "Lesions",
    "score": "Best score",
    "frames": "Frames looked at",
    "warnings": "Warnings",
}
NUMBERS = {"probability", "lesions", "score", "frames", "warnings"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cine in the table of all; what is not known is empty."""

    cine: str
    patient: str
    view: str
    probability: float | str
    lesions: int
    score: float | str
    frames: int
    warnings: int


def part_path(out: Path, sequence_id: str) -> Path:
    """Where the part of the page that shows a cine is kept."""
    return out / "cines" / f"{sequence_id}.html"


def render_cine(
    findings: Findings, sequence: Sequence, frames: NDArray[np.uint8], *, score: float
) -> str:
    """The part of the page that shows one cine.

    Args:
        findings: what was found in it.
        sequence: what is known of it.
        frames: uint8[T, H, W], as a reader sees them.
        score: lesions whose score is greater are shown.
    """
    lesions = findings.lesions_above(score)
    size = {"width": sequence.width, "height": sequence.height}
    looked_at, chosen = findings.frames, best_frames(lesions)
    if len(looked_at) > 1:
        made, count = film([frames[index] for index in looked_at]), len(looked_at)
    else:
        made, count = None, 0
        chosen = chosen or list(looked_at)
    return render_part(
        "angioray.findings",
        "cine.html.j2",
        findings=findings,
        sequence=sequence,
        lesions=lesions,
        verdict=_verdict(findings, lesions, score),
        about=list(_about(findings, sequence)),
        film=made,
        at=looked_at.index(lesions[0].best.frame_index) if lesions and count else count // 2,
        strip=strip(count),
        stills=[still(frames, index) for index in chosen],
        lanes=[lane(lesion, looked_at) for lesion in lesions],
        milliseconds=MILLISECONDS / rate(sequence),
        text=text_height(**size),
        marks_in=partial(marks_in, lesions, **size),
        described=_described,
    )


def write_page(
    out: Path,
    cines: Iterable[tuple[Findings, Sequence]],
    *,
    score: float,
    subtitle: str,
    quality: Listed[str] = (),
    warnings: Listed[str] = (),
    banner: str = "",
    private_table: str = "",
) -> Path:
    """Write ``predictions.html`` from the parts of :func:`part_path`, best lesion first.

    It has :data:`MOST_ON_A_PAGE` cines and a table of all; the other cines follow in
    ``predictions-2.html`` and so on.

    Args:
        out: the folder of the predictions.
        cines: what was found in each cine, and what is known of it; they are read once.
        score: that parts were made with.
        subtitle: which study, and how many models.
        quality: how good the models are, a sentence each.
        warnings: what must be known before anything is read, a sentence each.
        banner: what stands above all where phantoms are shown.
        private_table: the name of the file that says which file each cine is; empty if none does.

    Returns:
        The path of the first page.
    """
    rows = [_row(findings, sequence, score) for findings, sequence in cines]
    rows.sort(key=lambda row: (-float(row.score or 0), row.cine))
    groups = [rows[i : i + MOST_ON_A_PAGE] for i in range(0, len(rows), MOST_ON_A_PAGE)] or [[]]
    names = [FIRST_PAGE, *(f"predictions-{n}.html" for n in range(2, len(groups) + 1))]
    files = {row.cine: name for name, group in zip(names, groups, strict=True) for row in group}
    ends = [*accumulate(map(len, groups))]
    pages = [
        {"file": name, "words": f"cines {end - len(group) + 1} to {end}"}
        for name, group, end in zip(names, groups, ends, strict=True)
    ]
    for name, group, page in zip(names, groups, pages, strict=True):
        html = render(
            "angioray.findings",
            "predictions.html.j2",
            style="predictions.css",
            script="predictions.js",
            title="What was found" if name == FIRST_PAGE else f"What was found: {page['words']}",
            subtitle=subtitle,
            quality=quality,
            warnings=warnings,
            banner=banner,
            rows=rows if name == FIRST_PAGE else [],
            files=files,
            total=len(rows),
            columns=COLUMNS,
            numbers=NUMBERS,
            shown=_shown,
            note=_note(score, private_table),
            range=_title(page["words"], len(pages), len(rows)),
            pages=pages,
            this=name,
            cines=(part_path(out, row.cine).read_text(encoding="utf-8") for row in group),
        )
        write_text(out / name, html)
    for stale in set(out.glob("predictions-*.html")) - {out / name for name in names}:
        stale.unlink()
    return out / FIRST_PAGE


def _verdict(findings: Findings, lesions: Listed[Lesion], score: float) -> str:
    if lesions:
        return f"{counted(len(lesions), 'lesion')}, best score {lesions[0].score:.2f}"
    if not findings.frames:
        return "No frame was looked at: the study has no detector that may judge it"
    best = max((lesion.score for lesion in findings.lesions), default=None)
    least = "nothing was found" if best is None else f"the best score is {best:.3f}"
    return f"No lesion above score {score:g}: {least}"


def _about(findings: Findings, sequence: Sequence) -> Iterator[str]:
    others = {name: p for name, p in findings.probabilities.items() if name != findings.view}
    if findings.view is None:
        yield "the study names no views"
    else:
        yield from (f"{name} {p:.2f}" for name, p in others.items())
        yield f"by {counted(findings.models, 'model')}"
    known = "not known to the study" if findings.new_patient else "known to the study"
    yield f"patient {findings.patient_id}, {known}"
    if angles := angles_in_words(sequence):
        yield angles
    yield f"{len(findings.frames)} of {counted(sequence.length, 'frame')} looked at"


def _described(marks: Listed[Mark]) -> str:
    words = (f"lesion {m.lesion.number} {'carried' if m.box.carried else m.score}" for m in marks)
    return ", ".join(words) or "no lesion"


def _row(findings: Findings, sequence: Sequence, score: float) -> Row:
    best = max((lesion.score for lesion in findings.lesions), default=None)
    view = findings.view
    return Row(
        cine=sequence.sequence_id,
        patient=findings.patient_id,
        view="" if view is None else view,
        probability="" if view is None else findings.probabilities[view],
        lesions=len(findings.lesions_above(score)),
        score="" if best is None else best,
        frames=len(findings.frames),
        warnings=len(findings.unlike),
    )


def _shown(name: str, value: object) -> str:
    if value == "" or (name == "warnings" and value == 0):
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _note(score: float, private_table: str) -> str:
    words = (
        f"Lesions are those of a score above {score:g}: the mean of the scores of a lesion's boxes "
        "over all frames that were looked at. A header sorts the table and the cines."
    )
    if private_table:
        words += f" The private file {private_table} has the file of each cine."
    return words


def _title(words: str, pages: int, total: int) -> str:
    if not total:
        return "No cine"
    return "The cines" if pages == 1 else words.capitalize()
