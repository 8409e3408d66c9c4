"""``python -m preprocess sheet``: the sheet of labels to fill in, a row for each cine."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from os import fsencode
from pathlib import Path
from urllib.parse import quote

import cv2
from openpyxl import Workbook

from preprocess.annotations.cells import MONTH, clean
from preprocess.annotations.label_headings import COLUMNS, FOR_THE_EYE
from preprocess.annotations.labels import BOUNDS
from preprocess.cohort import Sequence
from preprocess.console.progress import track
from preprocess.console.settings import CountOrZero, Settings
from preprocess.console.workers import map_unordered
from preprocess.contrast.proposals import with_proposals
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.reader import read_header
from preprocess.ingest.assembly import NOTHING_ACCEPTED, rejection_counts
from preprocess.ingest.file_discovery import discovered
from preprocess.ingest.intake import CRASHED, DUPLICATE
from preprocess.ingest.journal import OWNER_ONLY
from preprocess.ingest.source_file import TOO_LARGE, UNREADABLE, decoded
from preprocess.storage.atomic import write_bytes
from preprocess.storage.csv_text import csv_text
from preprocess.views import angles_in_words, proposed_view

FILLED_IN = tuple(name for name in COLUMNS if name not in ("file", "sop_instance_uid"))
"""Columns that are left to a person."""
HEADINGS = ("file", *FILLED_IN, *FOR_THE_EYE)
NO_TEXT = re.compile(
    rf"[=+@'#-].*|[0-9./,:e+ -]+|([0-9]+[. /-]*)?{MONTH}[. /-]*[0-9/-]*"
    "|true|false|wahr|falsch|vrai|faux",
    re.IGNORECASE | re.DOTALL,
)
"""What a spreadsheet would make a formula, a number, a date or a truth value of."""


@dataclass(frozen=True, kw_only=True)
class SheetSettings(Settings):
    """How an archive is looked through."""

    size: CountOrZero = 512
    """Rows and columns of the cines that get a row; 0 takes every size."""
    processes: CountOrZero = 0
    """Processes that decode and propose; 0 = one per core."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What one file holds: a cine with its proposals, or why it is none."""

    file: str = field(repr=False)
    reason: str = ""
    sop_instance_uid: str = field(default="", repr=False)
    sequence: Sequence | None = None


def sheet(src: Path, *, out: Path, settings: SheetSettings) -> None:
    """Write the sheet of labels to fill in: a row for each cine, with proposals.

    The columns of labels are empty. What is proposed is in columns of its own, whose names begin
    with `proposed_` and which ingest does not read: copy what is right into the column without
    `proposed_`. The view is proposed from the C-arm's angles where they make it plain; phases and
    reference frame from the pixels.

    Args:
        src: the archive: a folder of DICOM files, with any names, at any depth.
        out: the sheet to write: .csv, or .xlsx, which every spreadsheet program opens as it is.

    Raises:
        ValueError: the sheet is there already, or the archive has no cine that can be read.

    Examples:
        python -m preprocess sheet archive --out sequences.csv
        python -m preprocess sheet archive --out sequences.xlsx --size 0
    """
    if out.suffix.lower() not in (".csv", ".xlsx"):
        raise ValueError(f"{out} is to be a sheet; give a name that ends with .csv or .xlsx.")
    _check_free(out)
    listing = discovered(src, [])
    work = partial(read_proposals, src=src.absolute(), size=settings.size)
    died = partial(_rejected, reason=CRASHED)
    results = map_unordered(work, listing, processes=settings.processes, died=died)

    def total() -> int | None:
        return len(listing.names) if listing.is_complete else None

    try:
        found = {each.file: each for each in track(results, total=total, label="files")}
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Nothing was written.") from None
    accepted, reasons = _each_once(found[name] for name in listing.names)
    rejections = rejection_counts(reasons)
    if not accepted:
        raise ValueError(NOTHING_ACCEPTED.format(src=src, reasons=rejections))
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = [_row(name, sequence) for name, sequence in accepted]
    _check_free(out)
    write = _workbook if out.suffix.lower() == ".xlsx" else _csv
    write_bytes(out, write([list(HEADINGS), *rows]), mode=OWNER_ONLY)
    _print_outcome(src, out, settings, [sequence for _, sequence in accepted], rejections)


def read_proposals(file: str, *, src: Path, size: int) -> Examined:
    """Decode one file and propose its view, phases and reference frame, in a worker.

    Args:
        file: relative to ``src``.
        src: the archive.
        size: rows and columns that are accepted; 0 accepts every size.
    """
    cv2.setNumThreads(1)
    try:
        header = read_header(src / file, size=size)
        content = (src / file).read_bytes()
        sequence, frames = decoded(header, content, sequence_id="", patient_id="")
        shown = sequence.display.apply(frames)
        return Examined(
            file=file,
            sop_instance_uid=header.identity.sop_instance_uid,
            sequence=with_proposals(sequence, shown, boxed=False),
        )
    except Rejection as problem:
        return _rejected(file, reason=str(problem))
    except OSError:
        return _rejected(file, reason=UNREADABLE)
    except MemoryError:
        return _rejected(file, reason=TOO_LARGE)


def _rejected(file: str, *, reason: str) -> Examined:
    return Examined(file=file, reason=reason)


def _check_free(out: Path) -> None:
    if out.exists():
        raise ValueError(
            f"{out} is there already, and may hold labels. Choose another --out, or move it away."
        )


def _each_once(found: Iterable[Examined]) -> tuple[list[tuple[str, Sequence]], list[str]]:
    """The cines by their files, the first file of each instance, and why the others are none."""
    accepted: dict[str, tuple[str, Sequence]] = {}
    reasons = []
    for each in found:
        if each.sequence is None:
            reasons.append(each.reason)
        elif each.sop_instance_uid in accepted:
            reasons.append(DUPLICATE)
        else:
            accepted[each.sop_instance_uid] = each.file, each.sequence
    return list(accepted.values()), reasons


def _row(file: str, sequence: Sequence) -> list[str | int | None]:
    phases = [getattr(sequence, name) for name in BOUNDS]
    proposed = [proposed_view(sequence), sequence.reference_frame, *phases]
    given = [sequence.length, angles_in_words(sequence), *proposed]
    return [written_name(file), *(None for _ in FILLED_IN), *given]


def written_name(file: str) -> str:
    """A file's name as a cell that comes back the same from every spreadsheet, and is no formula.

    ``comparable_name`` reads it back.
    """
    # Not printable is also a byte that is no UTF-8, as Python names such a file. Where numbers have
    # a decimal comma, spreadsheets part cells at a semicolon, and a formula may be behind it.
    if not file.isprintable() or ";" in file or clean(file) != file:
        file = quote(fsencode(file), safe="/")
    return f"./{file}" if NO_TEXT.fullmatch(file) else file


def _csv(rows: list[list[str | int | None]]) -> bytes:
    headings, *others = rows
    text = csv_text(map(str, headings), others)
    return text.encode("utf-8-sig")  # without the mark Excel takes it for another encoding


def _workbook(rows: list[list[str | int | None]]) -> bytes:
    workbook = Workbook()
    worksheet = workbook.active
    for row in rows:
        worksheet.append(row)
    worksheet.freeze_panes = "B2"
    for column, heading in zip(worksheet.columns, HEADINGS, strict=True):
        width = max(len(str(cell.value or "")) for cell in column)
        worksheet.column_dimensions[column[0].column_letter].width = max(len(heading), width) + 2
    content = io.BytesIO()
    workbook.save(content)
    return content.getvalue()


def _print_outcome(
    src: Path, out: Path, settings: SheetSettings, sequences: list[Sequence], rejections: str
) -> None:
    if rejections:
        print(f"Rejected files, which have no row:\n{rejections}")
    for line in _proposals(sequences):
        print(line)
    print(f"Wrote {out}: {len(sequences)} cines, a row each. It holds the names of files, so it is")
    print("private: you alone can read it, and it is not to be shared.")
    print(f"Next: fill in the columns {', '.join(FILLED_IN)};")
    print("copy a proposal that is right into the column without proposed_. Then:")
    size = [] if settings.size == SheetSettings().size else ["--size", str(settings.size)]
    words = ["ingest", str(src), "--labels", str(out), "--out", "cohort", *size]
    print(f"python -m preprocess {shlex.join(words)}")


def _proposals(sequences: list[Sequence]) -> Iterator[str]:
    views = sum(proposed_view(sequence) is not None for sequence in sequences)
    phases = sum(sequence.introducing_start is not None for sequence in sequences)
    references = sum(sequence.reference_frame is not None for sequence in sequences)
    yield (
        f"Proposed: the view of {views} cines from the angles (85 of 87 were right on a "
        "phantom; look at the cine),"
    )
    yield f"the phases of {phases} and the reference frame of {references} from the pixels."
