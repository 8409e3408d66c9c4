"""The sheet to fill in: what it proposes, and that ingest reads it as it was written."""

from __future__ import annotations

import csv
import os
import stat
from pathlib import Path

import pytest
from openpyxl import load_workbook

from preprocess.annotations.label_sheet import read_labels
from preprocess.cohort import Cohort, Sequence
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.ingest.sheet import HEADINGS, SheetSettings, sheet
from tests.preprocess.drawn_passage import passage
from tests.preprocess.tiny_archive import SIZE, Archive, noise

WIDE = 128
TAKEN_OVER = ("view", "reference_frame", "introducing_start", "optimal_start", "vanishing_start")
ODD_NAMES = (
    *(
        "plain.dcm",
        "Größe é.dcm",
        "a,b;c.dcm",
        'q"t.dcm',
        "'k'.dcm",
        " k.dcm",
        "d/ k.dcm",
        "a  b.dcm",
    ),
    *("=1+1.dcm", "-k.dcm", "@k.dcm", "+1", "#REF!", "1/2", "12-3", "1e5", "MAR1", "may/5", "TRUE"),
    *("a\nb.dcm", "a\tb.dcm", "%41.dcm", "NA", "50%.dcm", "back\\slash.dcm", "file:"),
    os.fsdecode(b"k\xe9.dcm"),
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def in_contrast(cohort: Path) -> Sequence:
    """The one cine in which contrast was found."""
    (found,) = (s for s in Cohort.open(cohort).sequences.values() if s.introducing_start)
    return found


def said_by(sequence: Sequence) -> tuple[object, ...]:
    return tuple(getattr(sequence, name) for name in TAKEN_OVER)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_row_for_each_cine_and_proposals_apart(
    archive: Archive, capsys: pytest.CaptureFixture[str], processes: int
) -> None:
    angles = {"PositionerPrimaryAngle": 38, "PositionerSecondaryAngle": 1}
    archive.add("p1/a", frames=passage(size=WIDE), instance="1.2", **angles)
    archive.add("p1/b", frames=passage(size=WIDE, comes=90, full=99))
    archive.add("p2/again", frames=passage(size=WIDE), instance="1.2")
    archive.add("p2/small.dcm", frames=noise())
    (archive.src / "notes.txt").write_text("no cine")
    out = archive.folder / "new" / "sequences.csv"
    sheet(archive.src, out=out, settings=SheetSettings(size=WIDE, processes=processes))

    first, second = rows_of(out)
    assert (first["file"], first["frames"], first["angles"]) == ("p1/a", "40", "LAO 38 CRA 1")
    assert (second["file"], second["proposed_view"], second["angles"]) == (
        *("p1/b", "", "RAO 30 CRA 25"),
    )
    assert not any(row[name] for row in (first, second) for name in HEADINGS[1:9])
    assert not any(second[f"proposed_{name}"] for name in TAKEN_OVER)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    said = capsys.readouterr().out
    for expected in (
        "     1 duplicate: the same SOPInstanceUID as another file\n",
        f"     1 size {SIZE} x {SIZE}, not {WIDE} x {WIDE}\n",
        "     1 not a DICOM file\n",
        "Proposed: the view of 1 cines",
        "the phases of 1 and the reference frame of 1 from the pixels",
        f"Wrote {out}: 2 cines, a row each.",
        "private: you alone can read it",
        f"python -m preprocess ingest {archive.src} --labels {out} --out cohort --size {WIDE}\n",
    ):
        assert expected in said

    # As it was written it labels nothing; copied, a proposal is a label.
    cohort = archive.folder / "cohort"
    settings = IngestSettings(size=WIDE, processes=1)
    ingest(archive.src, labels=out, out=cohort, settings=settings)
    assert "columns proposed_ not used: copy what is right" in capsys.readouterr().out
    proposed = in_contrast(cohort)
    assert (proposed.view, proposed.phases_proposed, proposed.reference_proposed) == (
        *(None, True, True),
    )
    frames = [str(frame) for frame in said_by(proposed)[1:]]
    assert ["RCA", *frames] == [first[f"proposed_{name}"] for name in TAKEN_OVER]
    for name in TAKEN_OVER:
        first[name] = first[f"proposed_{name}"]
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADINGS)
        writer.writeheader()
        writer.writerows([first, second])
    ingest(archive.src, labels=out, out=cohort, settings=settings)
    labelled = in_contrast(cohort)
    assert said_by(labelled) == ("RCA", *said_by(proposed)[1:])
    assert not labelled.phases_proposed
    assert not labelled.reference_proposed


@pytest.mark.parametrize("name", ["sequences.csv", "sequences.xlsx"])
def test_every_name_of_a_file_comes_back(archive: Archive, name: str) -> None:
    for number, file in enumerate(ODD_NAMES):
        archive.add(file, None, frames=noise(1), instance=f"1.2.{number}")
    out = archive.folder / name
    sheet(archive.src, out=out, settings=SheetSettings(size=SIZE, processes=1))
    labels = read_labels(out, archive.src, ODD_NAMES)
    assert len(labels.rows) == len(ODD_NAMES)
    assert name.endswith(".xlsx") or b";" not in out.read_bytes()  # where Excel may part a cell
    settled = labels.settled(ODD_NAMES)
    assert [file for file in ODD_NAMES if settled.of(file, None) is None] == []


def test_a_workbook_opens_with_its_headings_in_view(archive: Archive) -> None:
    archive.add("=1+1.dcm", None, frames=noise(2))
    out = archive.folder / "sequences.xlsx"
    sheet(archive.src, out=out, settings=SheetSettings(size=SIZE, processes=1))
    worksheet = load_workbook(out).active
    assert tuple(cell.value for cell in worksheet[1]) == HEADINGS
    assert (worksheet["A2"].value, worksheet["A2"].data_type) == ("./=1+1.dcm", "s")
    assert worksheet["K2"].value == 2
    assert worksheet.freeze_panes == "B2"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_sheet_that_is_there_is_kept(archive: Archive) -> None:
    archive.add("a.dcm")
    before = archive.labels.read_text()
    with pytest.raises(ValueError, match="is there already, and may hold labels"):
        sheet(archive.src, out=archive.labels, settings=SheetSettings(size=SIZE))
    assert (archive.folder / "sequences.csv").read_text() == before


def test_an_archive_without_a_cine_gets_no_sheet(archive: Archive) -> None:
    archive.add("a.dcm", without=("PatientID",))
    archive.add("b.dcm", NumberOfFrames=9)
    out = archive.folder / "new.csv"
    with pytest.raises(ValueError, match=r"no cine .*\n +1 no PatientID\n +1 the pixel data end"):
        sheet(archive.src, out=out, settings=SheetSettings(size=SIZE, processes=1))
    assert not out.exists()
