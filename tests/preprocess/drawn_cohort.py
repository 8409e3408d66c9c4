"""A small cohort written by hand, whose every number can be counted on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
from preprocess.cohort.display import Display
from tests.preprocess.tiny_archive import SIZE, noise


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
        frames_digest=frames_digest(noise(10)),
        introducing_start=2,
        optimal_start=3,
        vanishing_start=7,
        reference_frame=None if healthy else 4,
        no_lesion=healthy,
    )


def still(name: str) -> Sequence:
    """One frame, of which nothing is known but its pixels and its patient."""
    return Sequence(
        sequence_id=name,
        patient_id=name,
        view=None,
        length=1,
        height=SIZE,
        width=SIZE,
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_digest=frames_digest(noise(1)),
    )


def placed(view: str, primary: float, secondary: float, name: str) -> Sequence:
    """A sequence of these angles in degrees."""
    at = {"primary_angle_deg": primary, "secondary_angle_deg": secondary}
    return replace(sequence(name, name, view), **at)


def box(
    name: str,
    frame_index: int,
    instance: int,
    source: BoxSource = BoxSource.REFERENCE,
    verdict: Verdict = Verdict.GOOD,
    confidence: float = 1.0,
) -> Box:
    """A box of 10 x 12 pixels."""
    return Box(
        sequence_id=name,
        frame_index=frame_index,
        box_xyxy=(2.0, 3.0, 12.0, 15.0),
        instance_id=instance,
        source=source,
        verdict=verdict,
        confidence=confidence,
    )


SEQUENCES = [
    replace(sequence("S1", "P1", "RCA"), ifr=(0.89, 0.93)),
    replace(sequence("S2", "P1", "LCA"), ifr=(0.7,), phases_proposed=True),
    sequence("S3", "P2", "RCA"),
    sequence("S4", "P2", "RCA", healthy=True),
]
BOXES = [
    box("S1", 4, 1),
    box("S1", 4, 2),
    box("S1", 5, 1, BoxSource.TRACKED, Verdict.CHECK, 0.5),
    box("S1", 6, 1, BoxSource.TRACKED),
    box("S2", 4, 3),
    box("S2", 5, 3, BoxSource.TRACKED, Verdict.LOST, 0.1),
    box("S3", 4, 4),
]
REJECTED = [
    {"reason": "excluded: implant", "exclude": "implant", "ifr": "0.8;0.95", "reference_boxes": 2},
    {"reason": "excluded: pacemaker", "exclude": "pacemaker", "ifr": "0.9"},
    {"reason": "size 1024 x 1024, not 512 x 512", "view": "LCA", "reference_boxes": 1},
    {"reason": "no row in sequences.csv", "sequence_id": "S8"},
    {"reason": "not a DICOM file", "patient_id": ""},
    {"reason": "duplicate", "view": "RCA", "sequence_id": "S1", "patient_id": "P1"},
]


def write_drawn(folder: Path, sequences: list[Sequence], boxes: list[Box]) -> Cohort:
    """A cohort of these sequences, in noise, without a manifest."""
    for made in sequences:
        store_cine(folder, made, noise(made.length))
    write_annotations(folder, sequences, boxes)
    return Cohort.open(folder)


def write_drawn_cohort(folder: Path) -> Cohort:
    """The cohort of the lists above, with a manifest of what was kept and what was not."""
    accepted = [
        ManifestRow(hmac_sha256=s.sequence_id, status="accepted", sequence_id=s.sequence_id)
        for s in SEQUENCES
    ]
    rejected = [
        ManifestRow(
            **{
                "hmac_sha256": f"{n}",
                "status": "rejected",
                "sequence_id": f"R{n}",
                "patient_id": "P3",
            }
            | row
        )
        for n, row in enumerate(REJECTED)
    ]
    cohort = write_drawn(folder, SEQUENCES, BOXES)
    write_manifest(folder, accepted + rejected)
    return cohort
