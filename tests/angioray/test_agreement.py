"""``python -m preprocess agreement`` on a toy cohort with the journals of two readers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from angioray.evaluation.agreement import MEAN_IOU, RECALL
from preprocess.__main__ import main
from preprocess.cohort import BoxSource, Cohort
from preprocess.cohort.reviews import State
from preprocess.review.corrections import Corrections
from tests.journals import write_readings
from tests.s3_server import S3
from tests.toy_cohort import write_toy_cohort


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Three patients with a lesion in either view, two without any."""
    return write_toy_cohort(tmp_path / "cohort", patients=3)


def test_readers_are_compared_with_the_cohort_and_with_each_other(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reads all and moves one box by 7 of 14 pixels; B finds nothing in two sequences."""
    states = {
        name: State.of(
            cohort.sequences[name], [box for box in cohort.boxes if box.sequence_id == name]
        )
        for name in cohort.sequences
    }
    moved = [
        replace(box, box_xyxy=(x1 + 7, y1, x2 + 7, y2))
        for box in states["S01LCA"].boxes
        for x1, y1, x2, y2 in [box.box_xyxy]
    ]
    write_readings(
        cohort.folder, "A", states | {"S01LCA": replace(states["S01LCA"], boxes=tuple(moved))}
    )
    write_readings(cohort.folder, "B", {"S00RCA": State(view="RCA"), "S00LCA": State(view="RCA")})
    main(["agreement", str(cohort.folder)])
    said = capsys.readouterr().out
    assert "Sequences read: cohort 10, A 10, B 2." in said
    assert "PMC12834072" in said
    assert f"Wrote agreement.json and agreement.csv in {cohort.folder}." in said
    assert "Next: python -m angioray.report RUNS" in said

    document = json.loads((cohort.folder / "agreement.json").read_text())
    assert document["schema_version"] == 1

    def entry(truth: str, reader: str, view: str, metric: str) -> dict[str, object]:
        (found,) = (
            row
            for row in document["agreement"]
            if (row["truth"], row["reader"], row["view"]) == (truth, reader, view)
            and row["metric"] == metric
        )
        return dict(found)

    recall = entry("cohort", "A", "all", RECALL)
    assert recall == {
        "truth": "cohort",
        "reader": "A",
        "view": "all",
        "sequences": 10,
        "patients": 5,
        "frames": 10,
        "metric": RECALL,
        "value": 1.0,
        "ci95": None,  # five patients
    }
    # Half of a box is in the other: 7 * 14 of 21 * 14 square pixels.
    assert entry("cohort", "A", "all", MEAN_IOU)["value"] == pytest.approx((5 + 1 / 3) / 6)
    assert entry("cohort", "A", "RCA", MEAN_IOU)["value"] == 1
    assert entry("cohort", "B", "all", RECALL)["value"] == 0
    assert entry("cohort", "B", "all", "any_lesion/agreement")["value"] == 0
    assert entry("cohort", "B", "all", "view/agreement")["value"] == 0.5
    assert entry("B", "A", "all", RECALL)["value"] is None  # B marked no lesion
    assert entry("B", "A", "all", RECALL)["sequences"] == 2

    with (cohort.folder / "agreement.csv").open() as file:
        rows = {
            (row["truth"], row["reader"], row["view"], row["metric"]): row
            for row in csv.DictReader(file)
        }
    assert len(rows) == len(document["agreement"])
    row = rows["cohort", "A", "LCA", RECALL]
    assert (row["value"], row["ci95_low"], row["ci95_high"]) == ("1.0", "", "")
    assert rows["B", "A", "all", RECALL]["value"] == rows["B", "A", "all", RECALL]["ci95_low"] == ""


def test_what_a_second_reader_draws_on_the_page_is_compared(cohort: Cohort) -> None:
    """On another frame than the cohort's reference: the boxes are tracked to that one."""
    corrections = Corrections(cohort.folder, reader="B", by="B")
    for box in cohort.boxes:
        if box.frame_index == 6 and box.sequence_id in ("S00RCA", "S01LCA"):
            begun = corrections.review(box.sequence_id)
            drawn = replace(box, instance_id=-1, source=BoxSource.REFERENCE)
            state = replace(begun.state, reference_frame=6, boxes=(drawn,))
            corrections.decide(box.sequence_id, begun.revision, accepted=True, state=state)
    corrections.close()
    main(["agreement", str(cohort.folder)])
    entries = json.loads((cohort.folder / "agreement.json").read_text())["agreement"]
    values = {(e["truth"], e["view"], e["metric"]): (e["value"], e["frames"]) for e in entries}
    assert values["cohort", "all", RECALL] == values["B", "all", RECALL] == (1, 2)
    assert values["cohort", "all", MEAN_IOU] == (1, 2)  # lesions of a toy cohort do not move
    assert values["cohort", "all", "view/agreement"][0] is None  # B was shown no view


def test_a_view_is_a_readers_where_they_named_it(cohort: Cohort) -> None:
    """B names two views, one of them as the cohort does, and leaves the others as they begin."""
    views = {"S00RCA": "RCA", "S01RCA": "LCA"}
    states = {
        name: replace(State.of(sequence, ()), view=views.get(name))
        for name, sequence in cohort.sequences.items()
    }
    write_readings(cohort.folder, "B", states)
    write_readings(cohort.folder, "C", {name: State() for name in cohort.sequences})
    main(["agreement", str(cohort.folder)])
    entries = json.loads((cohort.folder / "agreement.json").read_text())["agreement"]
    agreed = {
        (e["truth"], e["reader"]): e["value"] for e in entries if e["metric"] == "view/agreement"
    }
    assert agreed["cohort", "B"] == agreed["B", "cohort"] == 1 / 2
    assert agreed["cohort", "C"] is agreed["C", "B"] is None
    (kappa,) = (
        e["value"]
        for e in entries
        if (e["truth"], e["reader"], e["metric"]) == ("cohort", "C", "view/kappa")
    )
    assert kappa is None


@pytest.mark.parametrize("accepted", [None, False])
def test_one_reader_is_told_how_to_make_a_second(
    accepted: bool | None, cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    if accepted is not None:
        write_readings(cohort.folder, "B", {"S00RCA": State()}, accepted=accepted)
    with pytest.raises(SystemExit):
        main(["agreement", str(cohort.folder)])
    said = capsys.readouterr().err
    assert "No two readers have read the same sequence" in said
    assert f"python -m preprocess review {cohort.folder} --reader B" in said
    assert ("cohort 10, B 0" in said) == (accepted is not None)
    assert not (cohort.folder / "agreement.json").exists()


def test_a_damaged_journal_ends_in_a_sentence(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    (cohort.folder / "readers").mkdir()
    (cohort.folder / "readers" / "B.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit):
        main(["agreement", str(cohort.folder)])
    assert "line 1, is not what a review wrote" in capsys.readouterr().err


def test_a_cohort_in_an_object_store(cohort: Cohort, s3: S3) -> None:
    """Its readers are read from there, and what is written is there."""
    write_readings(cohort.folder, "B", {"S00RCA": State(view="RCA")})
    location = s3.upload(cohort.folder, "readers/cohort")
    main(["agreement", location])
    document = json.loads(s3.get("readers/cohort/agreement.json"))
    assert {row["reader"] for row in document["agreement"]} == {"cohort", "B"}
    assert s3.get("readers/cohort/agreement.csv").startswith(b"truth,reader,view,")
