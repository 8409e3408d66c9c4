"""COCO: the cohort's own ``annotations.json``, and the pictures that it names, below ``images``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from preprocess.cohort import Box, Cohort, write_annotations
from preprocess.cohort import Sequence as Cine
from preprocess.exporters import pictures as png

IMAGES = "images"
"""What a ``file_name`` of the annotations is relative to."""


def write_cine(folder: Path, sequence: Cine, pictures: png.Pictures, boxes: Sequence[Box]) -> None:
    """Write ``images/SEQUENCE/000012.png`` and so on."""
    png.write_cine(folder / IMAGES, sequence, pictures, boxes)


def finish(folder: Path, cohort: Cohort) -> None:
    """Write the annotations, which hold the boxes of all cines."""
    write_annotations(folder, cohort.sequences.values(), (*cohort.boxes, *cohort.ignored))
