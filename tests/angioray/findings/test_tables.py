"""The tables, against findings made by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from angioray.findings.cine_file import LookedAt
from angioray.findings.tables import Source, private_table, write_tables
from angioray.inference.findings import Findings, FoundBox, Lesion
from preprocess.cohort import Cohort


def found(t: int, x: float, score: float, *, carried: bool = False) -> FoundBox:
    return FoundBox(frame_index=t, box_xyxy=(x, 4.0, x + 10, 20.5), score=score, carried=carried)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_tables_by_hand(toy_cohort: Cohort, tmp_path: Path) -> None:
    boxes = (found(2, 5.0, 0.9), found(2, 30.0, 0.3), found(4, 6.0, 0.7), found(4, 40.0, 0.6))
    carried = found(3, 5.5, 0.8, carried=True)
    lesions = (
        Lesion(number=1, score=0.8, stability=2 / 3, boxes=(boxes[0], carried, boxes[2])),
        Lesion(number=2, score=0.1, stability=1 / 3, boxes=(boxes[1],)),
    )
    findings = Findings(
        sequence_id="S01LCA",
        patient_id="P01",
        new_patient=True,
        view="LCA",
        probabilities={"LCA": 0.75, "RCA": 0.25},
        models=2,
        frames=(2, 3, 4),
        boxes=boxes,
        lesions=lesions,
    )
    sources = {"S01LCA": Source(file="=1/IM 1", sop_instance_uid="1.2.3")}
    out = tmp_path / "out"
    out.mkdir()
    tally = write_tables(
        out, [LookedAt(findings=findings, by_true_view=None)], toy_cohort, 0.5, sources
    )
    assert (tally.cines, tally.frames, tally.new, tally.lesions, tally.with_lesions) == (
        1,
        3,
        1,
        1,
        1,
    )

    first = toy_cohort.first_image_id["S01LCA"]
    assert json.loads((out / "evaluated_images.json").read_text()) == [first + t for t in (2, 3, 4)]
    results = json.loads((out / "predictions.json").read_text())
    assert results[0] == {
        **{"image_id": first + 2, "category_id": 1},
        **{"bbox": [5.0, 4.0, 10.0, 16.5], "score": 0.9},
    }
    assert [row["score"] for row in results] == [0.9, 0.3, 0.7, 0.6]
    assert json.loads((out / "views.json").read_text()) == {
        "S01LCA": {"view": "LCA", "probabilities": {"LCA": 0.75, "RCA": 0.25}, "models": 2}
    }
    (row,) = rows_of(out / "sequences.csv")
    assert list(row.values()) == ["S01LCA", "LCA", "0.750", "2", "3", "3", "0.900", "1"]
    one, two = rows_of(out / "lesions.csv")
    assert list(one.values()) == [
        *("S01LCA", "1", "LCA", "0.800", "0.667", "2", "4", "2", "3"),
        *("5.0", "4.0", "15.0", "20.5"),
    ]
    assert (two["lesion"], two["frames"]) == ("2", "1")
    # Frames count from 1, as in DICOM; a box of no lesion and no score of note has no row.
    private = rows_of(private_table(out))
    assert [(r["frame_number"], r["score"], r["lesion"]) for r in private] == [
        ("3", "0.9", "1"),
        ("4", "0.8", "1"),
        ("5", "0.7", "1"),
        ("5", "0.6", ""),
    ]
    assert {row["file"] for row in private} == {"'=1/IM 1"}, "no spreadsheet takes it for a formula"
    assert private_table(out).stat().st_mode & 0o777 == 0o600


def test_nothing_found_is_still_json(toy_cohort: Cohort, tmp_path: Path) -> None:
    write_tables(tmp_path, [], toy_cohort, 0.5, {})
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    assert rows_of(tmp_path / "sequences.csv") == []
    assert not private_table(tmp_path).exists()
