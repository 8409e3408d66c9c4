"""The file of what was found in one cine, ``cines/SEQUENCE.json``.

It is written last, after the cine's part of the page. Its first line has a digest of all that
decides the answer: with another one the cine is looked at anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from angioray.findings.output_folder import FOLDER
from angioray.findings.page import part_path
from angioray.inference.findings import Findings, FoundBox, boxes_from_json
from preprocess.storage.atomic import write_text

BEGINNING = '{"digest":"'
"""Of each file of findings; a file without it is somebody else's."""


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """A finished cine.

    Attributes:
        findings: what was found.
        by_true_view: boxes on the reference frame by the detectors of the view that readers named,
            where another one was named and they may judge it.
    """

    findings: Findings
    by_true_view: tuple[FoundBox, ...] | None


def is_finished(out: Path, sequence_id: str, digest: str) -> bool:
    """Whether a cine was looked at by what has this digest, and its part of the page is there."""
    try:
        with findings_path(out, sequence_id).open(encoding="utf-8", errors="replace") as file:
            return part_path(out, sequence_id).exists() and file.readline() == _first_line(digest)
    except FileNotFoundError:
        return False


def findings_path(out: Path, sequence_id: str) -> Path:
    """Where what was found in a cine is written."""
    return out / FOLDER / f"{sequence_id}.json"


def write_findings(out: Path, digest: str, looked_at: LookedAt) -> None:
    """Write what was found in a cine, by the digest of what decided it."""
    findings, by_true_view = looked_at.findings, looked_at.by_true_view
    rest = {
        "findings": findings.as_json(),
        "by_true_view": None if by_true_view is None else [asdict(box) for box in by_true_view],
    }
    text = json.dumps(rest, allow_nan=False, separators=(",", ":"))
    path = findings_path(out, findings.sequence_id)
    write_text(path, f"{_first_line(digest)}{text[1:]}\n")


def read_findings(out: Path, sequence_id: str) -> LookedAt:
    """Read what was found in a cine."""
    document = json.loads(findings_path(out, sequence_id).read_text("utf-8"))
    boxes = document["by_true_view"]
    findings = Findings.from_json(document["findings"])
    return LookedAt(
        findings=findings, by_true_view=None if boxes is None else boxes_from_json(boxes)
    )


def _first_line(digest: str) -> str:
    return f'{BEGINNING}{digest}",\n'


def is_ours(path: Path) -> bool:
    """Whether a file is one of these."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING.encode()
