"""``manifest.csv``: the outcome of every source file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from preprocess.storage.atomic import write_text
from preprocess.storage.csv_text import as_written, csv_text
from preprocess.storage.names import check_name

MANIFEST = "manifest.csv"


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """What became of one source file."""

    hmac_sha256: str
    """Names the file by its digest under the cohort's private key: who has the archive, but not the
    key, cannot tell which file it is. Public data sets have no key, and an empty one here."""
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
    published_name: str = ""
    """The file name of a public set's image, by which others' results on the set are joined; empty
    in every other cohort."""

    def __post_init__(self) -> None:
        if self.sequence_id:
            check_name(self.sequence_id, "a sequence")


def write_manifest(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Write ``manifest.csv`` atomically, one row per source file."""
    table = [asdict(row).values() for row in rows]
    write_text(folder / MANIFEST, csv_text((f.name for f in fields(ManifestRow)), table))


def read_manifest(folder: Path) -> list[ManifestRow]:
    """Read ``manifest.csv``; a cohort without one (written by hand) has no rows.

    Raises:
        ValueError: it is not what :func:`write_manifest` wrote.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_manifest_row(row) for row in csv.DictReader(file, strict=True)]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as problem:
        raise ValueError(
            f"{path} is not what was written ({problem}). Copy the cohort again, or remove that "
            "file and make the cohort again by the same command: the frames are kept."
        ) from problem


def _manifest_row(cells: Mapping[str, str]) -> ManifestRow:
    values: dict[str, Any] = {name: as_written(cell) for name, cell in cells.items()}
    # Until it was keyed; only the next ingest can tell what it is under the key.
    values.setdefault("hmac_sha256", values.pop("sha256", ""))
    values["no_lesion"] = {"True": True, "False": False}[cells["no_lesion"]]
    values["reference_boxes"] = int(cells["reference_boxes"])
    return ManifestRow(**values)
