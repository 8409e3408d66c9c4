"""Proposals on the way through ingest: made once, marked, kept, and given up for a label's word."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from preprocess.cohort import BoxSource, Cohort, Phase, Sequence, update_attributes
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.phantom.archive import write_archive
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.truth import read_truth
from preprocess.tracking.propagate import PropagateSettings, propagate
from tests.killing import kill_when
from tests.preprocess.drawn_passage import passage
from tests.preprocess.tiny_archive import Archive

SIZE = 128
HERE = IngestSettings(size=SIZE, processes=1)
BOX = (40.0, 40.0, 60.0, 60.0)
OPEN = "RCA,,,,,,,"


def run(archive: Archive, settings: IngestSettings = HERE) -> Cohort:
    out = archive.folder / "cohort"
    rois = {"rois": archive.rois} if archive.rois.is_dir() else {}
    ingest(archive.src, labels=archive.labels, out=out, settings=settings, **rois)
    return Cohort.open(out)


def the_only(cohort: Cohort) -> Sequence:
    (sequence,) = cohort.sequences.values()
    return sequence


def bounds(sequence: Sequence) -> tuple[int | None, int | None, int | None]:
    return sequence.introducing_start, sequence.optimal_start, sequence.vanishing_start


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a cohort by its name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def never(*_: object, **__: object) -> None:
    raise AssertionError("a proposal was computed again")


def test_what_the_label_leaves_open_is_proposed_and_said(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("a.dcm", OPEN, frames=passage(size=SIZE))
    archive.add("bare.dcm", OPEN, frames=passage(size=SIZE, comes=90, full=99))
    archive.add("labelled.dcm", "LCA,21,4,20,30,,,", frames=passage(size=SIZE, seed=1))
    by_view = {(s.view, s.optimal_start is None): s for s in run(archive).sequences.values()}
    found, bare, labelled = by_view["RCA", False], by_view["RCA", True], by_view["LCA", False]
    introducing, optimal, vanishing = bounds(found)
    assert found.phases_proposed
    assert found.reference_proposed
    assert introducing is not None and optimal is not None and vanishing is not None
    assert 6 <= introducing <= 10 < 15 <= optimal <= 20 < 26 <= vanishing <= 33
    assert found.reference_frame in range(optimal, vanishing)
    assert bounds(bare) == (None, None, None)
    assert (bare.phases_proposed, bare.reference_frame) == (True, None)
    assert (*bounds(labelled), labelled.reference_frame) == (4, 20, 30, 21)
    assert not labelled.phases_proposed
    assert not labelled.reference_proposed
    said = capsys.readouterr().out
    assert "the phase bounds of 1 sequences and the reference frames of 1 are proposed" in said
    assert "in 1 sequences without phase bounds no contrast was found" in said
    document = json.loads((archive.folder / "cohort" / "annotations.json").read_text())
    phases = [image["phase"] for image in document["images"]]
    assert phases.count("optimal") == vanishing - optimal + 10


def test_proposals_are_kept_and_labels_win(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a.dcm", OPEN, frames=passage(size=SIZE))
    archive.add("b.dcm", OPEN, frames=passage(size=SIZE, comes=90, full=99))
    first = contents(run(archive).folder)
    monkeypatch.setattr("preprocess.contrast.proposals.measure_filling", never)
    assert contents(run(archive).folder) == first
    archive.rows[:] = ["a.dcm,RCA,21,4,20,30,,,", "b.dcm,RCA,,,,,,other,"]
    labelled = the_only(run(archive))
    assert (*bounds(labelled), labelled.reference_frame) == (4, 20, 30, 21)
    assert not labelled.phases_proposed
    assert not labelled.reference_proposed


def test_changed_labels_lead_where_a_fresh_cohort_would(archive: Archive) -> None:
    archive.add("a.dcm", OPEN, frames=passage(size=SIZE))
    key = archive.folder / "key"
    key.write_text("ab" * 32)

    def ingested(row: str, out: Path) -> Sequence:
        archive.rows[:] = [f"a.dcm,{row}"]
        ingest(archive.src, labels=archive.labels, out=out, key=key, settings=HERE)
        return the_only(Cohort.open(out))

    rows = (OPEN, "RCA,37,,,,,,", OPEN, "RCA,,4,29,30,,,", "RCA,21,4,20,30,,,", OPEN)
    for number, row in enumerate(rows):
        fresh = ingested(row, archive.folder / f"fresh{number}")
        assert ingested(row, archive.folder / "kept") == fresh


def test_the_optimal_interval_holds_the_labels_reference_frame(archive: Archive) -> None:
    archive.add("a.dcm", "RCA,12,,,,,,", frames=passage(size=SIZE))
    sequence = the_only(run(archive))
    assert sequence.phases_proposed
    assert not sequence.reference_proposed
    assert sequence.reference_frame == 12
    assert 12 in sequence.frames_in(Phase.OPTIMAL)


def test_a_reference_frame_is_proposed_within_labelled_bounds(archive: Archive) -> None:
    archive.add("a.dcm", "RCA,,4,24,27,,,", frames=passage(size=SIZE))
    sequence = the_only(run(archive))
    assert (*bounds(sequence), sequence.phases_proposed) == (4, 24, 27, False)
    assert sequence.reference_frame in (24, 25, 26)
    assert sequence.reference_proposed


def test_regions_tell_the_reference_frame_or_leave_it_open(archive: Archive) -> None:
    archive.add("a.dcm", OPEN, frames=passage(size=SIZE), boxes={33: [BOX]})
    one = the_only(run(archive))
    assert (one.reference_frame, one.reference_proposed) == (33, False)
    assert 33 in one.frames_in(Phase.OPTIMAL)
    shutil.rmtree(archive.rois)
    none = the_only(run(archive))
    assert none.reference_proposed
    archive.rows.clear()
    archive.add("a.dcm", OPEN, frames=passage(size=SIZE), boxes={20: [BOX], 22: [BOX]})
    several = the_only(run(archive))
    assert (several.reference_frame, several.reference_proposed) == (None, False)
    assert several.phases_proposed


def test_nothing_is_proposed_for_a_still(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("a.dcm", OPEN, frames=passage(1, size=SIZE))
    cohort = run(archive)
    still = the_only(cohort)
    assert (*bounds(still), still.reference_frame) == (None, None, None, 0)
    assert not still.phases_proposed
    assert not still.reference_proposed
    assert "from the pixels" not in capsys.readouterr().out
    earlier = replace(still, introducing_start=0, optimal_start=0, vanishing_start=1)
    update_attributes(
        cohort.folder, replace(earlier, phases_proposed=True, reference_proposed=True)
    )
    assert the_only(run(archive)) == still


def add_passages(archive: Archive, count: int) -> None:
    for number in range(count):
        archive.add(f"{number:02d}.dcm", OPEN, frames=passage(size=SIZE, seed=number))


def test_any_number_of_processes_gives_the_same_bytes(archive: Archive, tmp_path: Path) -> None:
    add_passages(archive, 3)
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    written = []
    for processes in (1, 2):
        out = tmp_path / f"cohort{processes}"
        settings = IngestSettings(size=SIZE, processes=processes)
        ingest(archive.src, labels=archive.labels, out=out, key=key, settings=settings)
        written.append(contents(out))
    assert written[0] == written[1]


def test_killed_while_proposing_it_continues_to_the_same_bytes(
    archive: Archive, tmp_path: Path
) -> None:
    add_passages(archive, 8)
    key, out, undisturbed = tmp_path / "key", tmp_path / "out", tmp_path / "undisturbed"
    key.write_text("ab" * 32)
    ingest(archive.src, labels=archive.labels, out=undisturbed, key=key, settings=HERE)
    command = [
        *(sys.executable, "-m", "preprocess", "ingest", str(archive.src), "--out", str(out)),
        *("--labels", str(archive.labels), "--size", str(SIZE), "--processes", "1"),
        *("--key", str(key)),
    ]
    kill_when(command, lambda: proposed(out) > 0)
    assert not (out / "annotations.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert contents(out) == contents(undisturbed)


def proposed(cohort: Path) -> int:
    stored = (cohort / "frames.zarr").glob("S*/zarr.json")
    return sum('"phases_proposed": true' in path.read_text() for path in stored)


def test_only_what_is_missing_is_proposed_again(archive: Archive) -> None:
    add_passages(archive, 2)
    cohort = run(archive)
    before = contents(cohort.folder)
    cleared, _ = cohort.sequences.values()
    bare = replace(cleared, introducing_start=None, optimal_start=None, vanishing_start=None)
    update_attributes(cohort.folder, replace(bare, phases_proposed=False))
    assert contents(run(archive).folder) == before


def test_a_phantom_without_bounds_is_propagated(tmp_path: Path) -> None:
    """Reference boxes alone, as many hospitals have them, lead to boxes on the whole interval."""
    archive = tmp_path / "archive"
    write_archive(
        archive,
        PhantomSettings(
            patients=2,
            sequences=2,
            frames_min=24,
            frames_max=24,
            seed=4,
            healthy_fraction=0,
            implant_fraction=0,
            pacemaker_fraction=0,
            ifr_wire_fraction=0,
            processes=1,
        ),
    )
    labels = archive / "labels" / "sequences.csv"
    rows = list(csv.DictReader(labels.open(newline="")))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["file", "view", "reference_frame"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    labels.write_text(text.getvalue())
    out = tmp_path / "cohort"
    settings = IngestSettings(processes=1)
    ingest(
        archive / "dicom",
        labels=labels,
        rois=archive / "labels" / "rois",
        out=out,
        settings=settings,
    )
    propagate(out, PropagateSettings(processes=1))
    cohort = Cohort.open(out)
    assert len(cohort.sequences) == 2
    truths = {truth.reference_frame: truth for truth in read_truth(archive / "truth/truth.json")}
    for sequence in cohort.sequences.values():
        assert sequence.phases_proposed
        assert not sequence.reference_proposed
        optimal = sequence.frames_in(Phase.OPTIMAL)
        assert sequence.reference_frame in optimal
        assert len(optimal) > 4
        boxes = [box for box in cohort.boxes if box.sequence_id == sequence.sequence_id]
        assert {box.frame_index for box in boxes} == set(optimal)
        assert {box.source for box in boxes} == {BoxSource.REFERENCE, BoxSource.TRACKED}
    assert set(truths) == {s.reference_frame for s in cohort.sequences.values()}
