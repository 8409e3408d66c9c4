"""Table 1, counted by hand, and what the summary writes."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tiny_archive import SIZE, noise

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    ManifestRow,
    Sequence,
    Verdict,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.display import Display
from preprocess.summary import SummarySettings, summary
from preprocess.table_1 import table_1


def sequence(name: str, patient: str, view: str | None, *, healthy: bool = False) -> Sequence:
    """Ten frames: 2 without contrast, 1 introducing, 4 optimal, 3 vanishing."""
    return Sequence(
        sequence_id=name,
        patient_id=patient,
        view=view,
        length=10,
        height=SIZE,
        width=SIZE,
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_sha256=frames_digest(noise(10)),
        introducing_start=2,
        optimal_start=3,
        vanishing_start=7,
        reference_frame=None if healthy else 4,
        no_lesion=healthy,
    )


def box(name: str, frame_index: int, instance: int, source: BoxSource) -> Box:
    return Box(
        sequence_id=name,
        frame_index=frame_index,
        box_xyxy=(2.0, 3.0, 12.0, 15.0),
        instance_id=instance,
        source=source,
        verdict=Verdict.CHECK if source is BoxSource.TRACKED else Verdict.GOOD,
    )


SEQUENCES = [
    replace(sequence("S1", "P1", "RCA"), ifr=(0.89, 0.93)),
    replace(sequence("S2", "P1", "LCA"), ifr=(0.7,)),
    sequence("S3", "P2", "RCA"),
    sequence("S4", "P2", "RCA", healthy=True),
]
BOXES = [
    box("S1", 4, 1, BoxSource.REFERENCE),
    box("S1", 4, 2, BoxSource.REFERENCE),
    box("S1", 5, 1, BoxSource.TRACKED),
    box("S2", 4, 3, BoxSource.REFERENCE),
    box("S3", 4, 4, BoxSource.REFERENCE),
]
REJECTED = [
    {"reason": "excluded: implant", "exclude": "implant", "ifr": "0.8;0.95", "reference_boxes": 2},
    {"reason": "excluded: pacemaker", "exclude": "pacemaker", "ifr": "0.9"},
    {"reason": "size 1024 x 1024, not 512 x 512", "view": "LCA", "reference_boxes": 1},
    {"reason": "no row in sequences.csv", "sequence_id": "S8"},
    {"reason": "not a DICOM file", "patient_id": ""},
    {"reason": "duplicate", "view": "RCA", "sequence_id": "S1", "patient_id": "P1"},
]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    for made in SEQUENCES:
        store_cine(tmp_path, made, noise(10))
    write_annotations(tmp_path, SEQUENCES, BOXES)
    accepted = [
        ManifestRow(sha256=s.sequence_id, status="accepted", sequence_id=s.sequence_id)
        for s in SEQUENCES
    ]
    rejected = [
        ManifestRow(
            **{"sha256": f"{n}", "status": "rejected", "sequence_id": f"R{n}", "patient_id": "P3"}
            | row
        )
        for n, row in enumerate(REJECTED)
    ]
    write_manifest(tmp_path, accepted + rejected)
    return Cohort.open(tmp_path)


EXPECTED = """\
Total Sequences,3,7,8,4,16,12,7,3,3
Discard,1,2,0,0,0,0,1,0,1
With Implants,1,1,0,0,0,0,2,1,1
Optimal,2,4,8,4,16,12,4,2,1
Optimal LCA,1,1,2,1,4,3,1,1,0
Optimal RCA,2,2,4,2,8,6,3,1,1
No Lesion RCA,1,1,2,1,4,3,0,0,0
"""


def test_table_1_by_hand(cohort: Cohort) -> None:
    from preprocess.cohort import read_manifest

    rows = table_1(cohort, read_manifest(cohort.folder))
    found = "".join(",".join(map(str, asdict(row).values())) + "\n" for row in rows)
    assert found == EXPECTED


def test_the_threshold_itself_counts_as_below(cohort: Cohort) -> None:
    at = {row.name: row for row in table_1(cohort, [], ifr_threshold=0.88)}
    assert (at["Optimal RCA"].ifr_below, at["Optimal RCA"].ifr_above) == (0, 2)


def test_summary_writes_the_table_and_a_page_without_network(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    summary(cohort.folder, SummarySettings(sequences=2))
    said = capsys.readouterr().out
    assert "With Implants" in said
    assert "Next: " in said
    document = json.loads((cohort.folder / "summary.json").read_text())
    assert document["table_1"][0]["sequences"] == 7
    assert document["tracked_boxes"] == {"good": 0, "check": 1, "lost": 0}
    assert document["rejected"]["excluded: implant"] == 1
    with (cohort.folder / "summary.csv").open() as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    assert "".join(",".join(row) + "\n" for row in rows) == EXPECTED
    page = (cohort.folder / "summary.html").read_text()
    assert page.count("<article>") == 2
    assert page.index("S1") < page.index("S2"), "the doubtful one comes first"
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg;base64,") == 6


def test_view_names_cannot_break_the_page(tmp_path: Path) -> None:
    odd = sequence("S1", "P1", "<script>alert(1)</script>")
    store_cine(tmp_path, odd, noise(10))
    write_annotations(tmp_path, [odd], [])
    summary(tmp_path, SummarySettings())
    assert "<script>" not in (tmp_path / "summary.html").read_text()
