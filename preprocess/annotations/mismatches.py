"""Mismatches of labels and regions: a private list with file and line, and public counts.

Names of annotation files may be names of patients. So the list lies beside the cohort, never in
it, readable by its owner only, and what is printed holds counts alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from preprocess.storage.atomic import write_bytes
from preprocess.storage.names import beside

OWNER_ONLY = 0o600


class Kind(StrEnum):
    """What can be wrong; ``{n}`` is how often it was."""

    UNREADABLE = "{n} annotation files are damaged or of no known form: nothing of them is used"
    UNKNOWN_SEQUENCE = "{n} regions name sequences that are not known here"
    AMBIGUOUS = "{n} regions name more than one sequence and are left out"
    NO_FRAME_NUMBER = "{n} regions say no frame, or none that can be read, and are left out"
    NO_SUCH_FRAME = "{n} regions lie on frames that the cine does not have"
    OFF_REFERENCE = (
        "{n} regions lie off the reference frame and are left out (--other_frames true keeps them)"
    )
    OTHER_CATEGORY = "{n} regions are of another category than stenosis and are left out"
    ASSUMED_LESION = (
        "{n} regions are of categories whose names are not known here, in files that name no "
        "category stenosis or lesion; they are taken for lesions"
    )
    SAME_ID = (
        "{n} entries share their id with a different one: nobody can say which is meant, and "
        "regions of them are left out"
    )
    TWO_DESCRIPTIONS = (
        "{n} images or videos are described twice, and not alike (patient, view, video or frame "
        "number), and are left out"
    )
    UNREADABLE_VALUE = "{n} regions hold a value that cannot be read and are left out"
    NO_BOX = "{n} regions are no box and are left out"
    OUTSIDE = "{n} regions are left out: outside the frame"
    TOO_SMALL = "{n} regions are left out: smaller than a pixel"
    OTHER_SIZE = "{n} regions were drawn on a picture of another shape and are left out"
    SCALED = "{n} regions were drawn on a picture of another size and were scaled to the frame"
    ROTATED = "{n} boxes are turned; the upright box around each is taken"
    IGNORED = (
        "{n} regions mark areas to ignore (iscrowd, ignore, difficult) and are no lesions; their "
        "frames are judged, and not trained on"
    )
    TWICE = "{n} regions were drawn twice and count once"
    CLIPPED = "{n} boxes reached over the edge and were cut there"
    INVERTED = "{n} boxes were drawn from the far corner and were turned round"
    NO_FILE = "{n} rows of the labels match no file by its path below the archive, nor by its UID"
    TWO_LABELS = "{n} sequences have two labels and are left out"
    LABEL_ERROR = "{n} labels do not fit their cine, which is left out"
    NO_LESION = (
        "{n} sequences are labelled no_lesion, but bear boxes, and are left out (a wrong label is "
        "taken away in its file, or in the cohort with `preprocess review`)"
    )
    NO_IMAGE = "{n} images are named by the annotations but are not there"
    TURNED_IMAGE = "{n} images say that they are to be turned (EXIF) and were, before the boxes"


@dataclass(frozen=True, kw_only=True, order=True)
class Mismatch:
    """One thing that does not fit, and where it is written."""

    file: str
    line: int
    """Counted from 1; 0 = the whole file."""
    kind: Kind
    said: str = ""
    """What was found there."""
    entry: str = ""
    """Which entry of the file it is: a file of one line has many."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        where += f" ({self.entry})" if self.entry else ""
        kind = self.kind.name.lower().replace("_", " ")
        return f"{where}: {kind}{': ' if self.said else ''}{self.said}"


def mismatches_path(cohort: Path) -> Path:
    """Where the list of a cohort lies: beside it, never in it."""
    return beside(cohort, ".mismatches.private.txt")


def write_mismatches(cohort: Path, found: Iterable[Mismatch]) -> list[str]:
    """Write the whole list, by file and line; where there is none, an earlier one is removed.

    Returns:
        What may be printed: a sentence for each kind, and where the list lies.
    """
    path = mismatches_path(cohort)
    ordered = sorted(found)
    if not ordered:
        path.unlink(missing_ok=True)
        return []
    text = "".join(f"{mismatch}\n" for mismatch in ordered)
    # A file name may be no text in any encoding.
    write_bytes(path, text.encode("utf-8", "backslashreplace"), mode=OWNER_ONLY)
    counts = Counter(mismatch.kind for mismatch in ordered)
    told = [kind.format(n=counts[kind]) for kind in Kind if counts[kind]]
    return [*told, f"each of these with its file and line: {path} (private)"]
