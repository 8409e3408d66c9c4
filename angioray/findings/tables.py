"""What was found in all cines as tables: COCO results, views, a row a cine, a row a lesion.

Cines come one at a time and are written as they come, so any number of them fits into memory.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from angioray.findings.cine_file import LookedAt
from angioray.inference.findings import Findings, FoundBox, Lesion
from preprocess.cohort import CATEGORY, Cohort
from preprocess.ingest.journal import OWNER_ONLY
from preprocess.storage.atomic import remove_partials, write_json, write_text, writing
from preprocess.storage.csv_text import csv_lines, csv_text
from preprocess.storage.names import beside

TABLES = (
    *("predictions.json", "evaluated_images.json", "views.json", "sequences.csv"),
    "lesions.csv",
)
SEQUENCE_COLUMNS = (
    *("sequence_id", "view", "probability", "models", "frames", "boxes", "best_score"),
    "lesions",
)
LESION_COLUMNS = (
    *("sequence_id", "lesion", "view", "score", "stability", "first_frame", "last_frame"),
    *("best_frame", "frames", "x1", "y1", "x2", "y2"),
)
SOURCE_COLUMNS = (
    *("file", "sop_instance_uid", "view", "frame_number", "x1", "y1", "x2", "y2", "score"),
    "lesion",
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file that a cine was read from, which names it and its patient.

    Attributes:
        file: its path below the folder of sources.
        sop_instance_uid: of its instance.
    """

    file: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)


@dataclass(kw_only=True)
class Tally:
    """How much was looked at, and what was found."""

    cines: int = 0
    frames: int = 0
    new: int = 0
    with_lesions: int = 0
    lesions: int = 0

    def count(self, findings: Findings, score: float) -> None:
        """Count one cine, and its lesions whose score is greater."""
        lesions = len(findings.lesions_above(score))
        self.cines += 1
        self.frames += len(findings.frames)
        self.new += findings.new_patient
        self.lesions += lesions
        self.with_lesions += lesions > 0


def private_table(out: Path) -> Path:
    """Where the table with the names of files is: beside the output, never in it."""
    return beside(out.absolute(), ".results.private.csv")


def write_tables(
    out: Path,
    cines: Iterable[LookedAt],
    cohort: Cohort,
    score: float,
    sources: Mapping[str, Source],
) -> Tally:
    """Write the tables of an output folder, and the private one where there are sources.

    Without sources, a private table of an earlier run is removed: it is of other cines.

    Args:
        out: the output folder.
        cines: in the order of the cohort.
        cohort: whose image ids name frames.
        score: boxes and lesions whose score is greater are counted.
        sources: the file of each sequence.
    """
    tally, images, views = Tally(), list[int](), dict[str, object]()
    rows: list[list[object]] = []
    lesions: list[list[object]] = []
    table = private_table(out)
    remove_partials(table.parent, of=glob.escape(table.name))
    if not sources:
        table.unlink(missing_ok=True)
    with ExitStack() as stack:
        predictions = stack.enter_context(writing(out / "predictions.json"))
        private = None
        if sources:
            private = stack.enter_context(writing(table, mode=OWNER_ONLY))
            private.writelines(map(str.encode, csv_lines([SOURCE_COLUMNS])))
        between = "[\n"
        for looked_at in cines:
            findings = looked_at.findings
            first = cohort.first_image_id[findings.sequence_id]
            images += [first + t for t in findings.frames]
            for box in findings.boxes:
                predictions.write(f"{between}{json.dumps(_coco(first, box))}".encode())
                between = ",\n"
            tally.count(findings, score)
            rows.append(_sequence_row(findings, score))
            lesions += [_lesion_row(findings, lesion) for lesion in findings.lesions]
            if findings.view is not None:
                views[findings.sequence_id] = {
                    "view": findings.view,
                    "probabilities": dict(findings.probabilities),
                    "models": findings.models,
                }
            if private and (source := sources.get(findings.sequence_id)):
                lines = csv_lines(_source_rows(findings, source, score))
                # Names of files need not be UTF-8: their bytes are written as they are.
                private.writelines(line.encode(errors="surrogateescape") for line in lines)
        predictions.write(b"[]\n" if between == "[\n" else b"\n]\n")
    write_json(out / "evaluated_images.json", images)
    write_json(out / "views.json", views)
    write_text(out / "lesions.csv", csv_text(LESION_COLUMNS, lesions))
    write_text(out / "sequences.csv", csv_text(SEQUENCE_COLUMNS, rows))
    return tally


def _coco(first_image_id: int, box: FoundBox) -> dict[str, object]:
    x1, y1, x2, y2 = box.box_xyxy
    return {
        "image_id": first_image_id + box.frame_index,
        "category_id": CATEGORY["id"],
        "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
        "score": box.score,
    }


def _sequence_row(findings: Findings, score: float) -> list[object]:
    view = findings.view
    best = max((box.score for box in findings.boxes), default=None)
    return [
        findings.sequence_id,
        view or "",
        "" if view is None else f"{findings.probabilities[view]:.3f}",
        "" if view is None else findings.models,
        len(findings.frames),
        sum(box.score > score for box in findings.boxes),
        "" if best is None else f"{best:.3f}",
        len(findings.lesions_above(score)),
    ]


def _lesion_row(findings: Findings, lesion: Lesion) -> list[object]:
    frames = [box.frame_index for box in lesion.boxes]
    best = lesion.best
    return [
        *(findings.sequence_id, lesion.number, findings.view or ""),
        *(f"{lesion.score:.3f}", f"{lesion.stability:.3f}"),
        *(frames[0], frames[-1], best.frame_index, len(frames)),
        *best.box_xyxy,
    ]


def _source_rows(findings: Findings, source: Source, score: float) -> Iterator[list[object]]:
    """The boxes of lesions, and the others with a greater score; frames as DICOM numbers them."""
    shown = {box: "" for box in findings.boxes if box.score > score}
    shown |= {
        box: str(lesion.number)
        for lesion in findings.lesions
        for box in lesion.boxes
        if lesion.score > score or box in shown
    }
    for box, lesion in sorted(shown.items(), key=lambda row: (row[0].frame_index, -row[0].score)):
        yield [
            *(source.file, source.sop_instance_uid, findings.view or "", box.frame_index + 1),
            *box.box_xyxy,
            *(box.score, lesion),
        ]
