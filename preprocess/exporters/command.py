"""``python -m preprocess export``: a cohort in the format of another tool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import cv2

from preprocess.cohort import Box, Cohort, count_phantoms, phantom_notice
from preprocess.cohort import Sequence as Cine
from preprocess.cohort.pictures import picture_remarks
from preprocess.console.command_line import usage
from preprocess.console.names import nearest
from preprocess.console.progress import track
from preprocess.console.settings import CountOrZero, Settings
from preprocess.console.workers import map_unordered
from preprocess.exporters import coco, cvat, pictures, video
from preprocess.exporters.pictures import Pictures, with_boxes
from preprocess.storage.atomic import whole_folder
from preprocess.storage.names import beside

Format = Literal["cvat", "coco", "png", "mp4"]


class Exporter(Protocol):
    """A format: see the room."""

    def write_cine(
        self, folder: Path, sequence: Cine, pictures: Pictures, boxes: Sequence[Box]
    ) -> None: ...

    def finish(self, folder: Path, cohort: Cohort) -> None: ...


EXPORTERS: dict[str, Exporter] = {"cvat": cvat, "coco": coco, "png": pictures, "mp4": video}
NEXT = {
    "cvat": "draw in CVAT (docs/archive.md says how), then `{correct}`",
    "coco": "a file_name is relative to {out}/images; `{correct}` takes changed boxes back",
}


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """How a cohort is exported."""

    sequences: tuple[str, ...] = ()
    """Ids of the sequences to write; without it all of them."""
    processes: CountOrZero = 0
    """Processes that write; 0 = one per core."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    sequence: Cine
    boxes: list[Box]


@usage(again="starts anew")
def export(
    cohort: Path,
    *,
    to: Format,
    out: Path | None = None,
    boxes: bool = False,
    settings: ExportSettings,
) -> None:
    """Write a cohort in the format of another tool: pictures, and boxes as they are.

    cvat: CVAT for video 1.1, a folder for each cine. coco: annotations.json and the pictures that
    it names. png: pictures alone. mp4: a video of each cine at its own rate (VP9). Pictures have 8
    bits, as a reader sees them, whatever the cine has. What was drawn in CVAT, or changed in COCO
    files, comes back by `correct`.

    Args:
        cohort: the cohort folder.
        to: the format.
        out: the folder to write; by default COHORT-FORMAT, beside the cohort.
        boxes: png and mp4: draw the boxes into the pictures.

    Raises:
        ValueError: it is no cohort, has no such sequence, its frames are damaged, or the folder is
            there already.

    Examples:
        python -m preprocess export cohort --to cvat
        python -m preprocess export cohort --to mp4 --boxes --sequences '[S6a..., S91...]'
    """
    out = out or beside(cohort, f"-{to}")
    if boxes and to not in ("png", "mp4"):
        raise ValueError(f"--boxes is for png and mp4; {to} has the boxes in a file of its own.")
    opened = _chosen(Cohort.open(cohort), settings.sequences)
    found: dict[str, list[Box]] = defaultdict(list)
    for box in (*opened.boxes, *opened.ignored):
        found[box.sequence_id].append(box)
    tasks = [_Task(sequence=cine, boxes=found[name]) for name, cine in opened.sequences.items()]
    with whole_folder(out) as unfinished:
        write = partial(_write, folder=opened.folder, out=unfinished, to=to, drawn=boxes)
        results = map_unordered(write, tasks, processes=settings.processes, died=_died)
        for _ in track(results, total=len(tasks), label="sequences"):
            pass
        EXPORTERS[to].finish(unfinished, opened)
    _print_outcome(opened, cohort, to, out)


def _chosen(cohort: Cohort, sequences: Sequence[str]) -> Cohort:
    if unknown := [name for name in sequences if name not in cohort.sequences]:
        near = nearest(unknown[0], cohort.sequences)
        hint = f"; did you mean {near}?" if near else "."
        raise ValueError(f"the cohort has no sequence {unknown[0]!r}{hint}")
    return cohort.only(sequences) if sequences else cohort


def _write(task: _Task, *, folder: Path, out: Path, to: str, drawn: bool) -> None:
    """One sequence, in a worker."""
    cv2.setNumThreads(1)
    sequence = task.sequence
    pictures = Cohort(folder, {sequence.sequence_id: sequence}, ()).cine_8bit(sequence.sequence_id)
    shown = with_boxes(pictures, task.boxes) if drawn else pictures
    EXPORTERS[to].write_cine(out, sequence, shown, task.boxes)


def _print_outcome(opened: Cohort, cohort: Path, to: str, out: Path) -> None:
    sequences = opened.sequences.values()
    if notice := phantom_notice(count_phantoms(sequences), len(sequences)):
        print(notice)
    if deep := sum(sequence.bits_stored > 8 for sequence in sequences):
        print(f"Note: {deep} cines have more than 8 bits; their pictures have 8, as displayed.")
    for remark in picture_remarks(sequences):
        print(f"Note: {remark}.")
    frames = sum(sequence.length for sequence in sequences)
    print(f"Wrote {out}: {frames} frames of {len(sequences)} sequences, {len(opened.boxes)} boxes.")
    if to in NEXT:
        correct = f"python -m preprocess correct {cohort} {out}"
        print(f"Next: {NEXT[to].format(out=out, correct=correct)}.")


def _died(task: _Task) -> None:
    raise ValueError(
        f"exporting sequence {task.sequence.sequence_id} ended its process, perhaps for want of "
        "memory. Try again with --processes 1."
    )
