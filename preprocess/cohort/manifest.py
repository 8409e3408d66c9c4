"""``manifest.csv``: the outcome of every source file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from preprocess.storage.atomic import write_text

MANIFEST = "manifest.csv"


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """What became of one source file. It names the file by its digest only."""

    sha256: str
    status: str
    """``accepted`` or ``rejected``."""
    reason: str = ""
    sequence_id: str = ""
    patient_id: str = ""
    view: str = ""
    exclude: str = ""
    """The label's exclusion (implant, pacemaker, ifr_wire, other), for the paper's Table 1."""
    no_lesion: bool = False
    reference_boxes: int = 0
    ifr: str = ""
    """iFR values joined by ``;``."""


def write_manifest(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Write ``manifest.csv`` atomically, one row per source file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(ManifestRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(folder / MANIFEST, text.getvalue())


def read_manifest(folder: Path) -> list[ManifestRow]:
    """Read ``manifest.csv``; a cohort without one (written by hand) has no rows."""
    path = folder / MANIFEST
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [_manifest_row(row) for row in csv.DictReader(file)]


def _manifest_row(cells: Mapping[str, str]) -> ManifestRow:
    values: dict[str, Any] = dict(cells)
    values["no_lesion"] = cells["no_lesion"] == "True"
    values["reference_boxes"] = int(cells["reference_boxes"])
    return ManifestRow(**values)
