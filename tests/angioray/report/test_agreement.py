"""How well readers agree, in the report of a small drawn study."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from angioray.evaluation.agreement import PRECISION, RECALL
from angioray.report.writing import write_report
from preprocess.cohort import Cohort
from preprocess.cohort.reviews import State, journal_path
from tests.angioray.headings import undefined
from tests.angioray.synthetic_study import write_cohort, write_study
from tests.hostile_names import HOSTILE, words_of
from tests.journals import write_readings


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_cohort(tmp_path / "cohort", patients=6)


@pytest.fixture
def runs(cohort: Cohort, tmp_path: Path) -> Path:
    return write_study(tmp_path / "runs", cohort, variants=("B",), sizes=(64,))


def as_drawn(cohort: Cohort) -> dict[str, State]:
    """What a reader says who agrees with the cohort in everything."""
    return {
        name: State.of(sequence, [box for box in cohort.boxes if box.sequence_id == name])
        for name, sequence in cohort.sequences.items()
    }


def document(runs: Path) -> Any:
    return json.loads((runs / "report" / "report.json").read_text())


def test_readers_stand_beside_the_detectors(cohort: Cohort, runs: Path) -> None:
    """B misses all lesions of the first patient, two in the LCA and two in the RCA.

    Of six patients every third has two lesions in a view, the others one: eight in each view. The
    other reader agrees with the cohort in everything, and has a name that would act.
    """
    states = as_drawn(cohort)
    write_readings(cohort.folder, HOSTILE[0], states)
    states |= {name: replace(states[name], boxes=()) for name in ("s000", "s001")}
    write_readings(cohort.folder, "B", states)
    html = write_report(runs).read_text()
    words = words_of(html)
    assert undefined(html) == {}
    assert html.index('id="table_3_detector"') < html.index('id="reader_agreement"')
    assert "How well readers agree" in words and "PMC12834072" in words and HOSTILE[0] in words
    assert "A second reading begins without a view" in words
    assert "How well readers agree" in (runs / "report" / "report.md").read_text()
    found = {
        (row["truth"], row["reader"], row["view"], row["metric"]): row
        for row in document(runs)["agreement"]
    }
    for view, lesions, missed in (("LCA", 8, 2), ("RCA", 8, 2), ("all", 16, 4)):
        row = found["cohort", "B", view, RECALL]
        assert row["value"] == pytest.approx(1 - missed / lesions)
        assert row["ci95"] is None and row["patients"] < 8
        assert found["B", "cohort", view, PRECISION]["value"] == row["value"]
        assert found["cohort", HOSTILE[0], view, RECALL]["value"] == 1
    with (runs / "report" / "reader_agreement.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3  # each pair once, and the cohort is the truth where it is one of them
    assert [row["Truth"] for row in rows] == ["cohort"] * 6 + [HOSTILE[0]] * 3
    (first,) = (r for r in rows if (r["Truth"], r["Reader"], r["View"]) == ("cohort", "B", "all"))
    assert float(first["Recall, max 5 mean"]) == pytest.approx(12 / 16)
    assert (first["Frames"], first["Patients"]) == ("12", "6")


def test_readers_of_a_study_of_all_optimal_frames_are_compared_on_one(
    cohort: Cohort, runs: Path
) -> None:
    """Each cine has a box on six optimal frames; the report says that readers have fewer frames."""
    study = json.loads((runs / "study.json").read_text())
    study["settings"]["detector"]["judged_frames"] = "optimal"
    (runs / "study.json").write_text(json.dumps(study))
    write_readings(cohort.folder, "B", as_drawn(cohort))
    words = words_of(write_report(runs).read_text())
    assert {row["frames"] for row in document(runs)["agreement"] if row["view"] == "all"} == {12}
    assert "One frame of each sequence that both have read is compared" in words
    assert "That is so too where the detectors were judged on all optimal frames" in words


def test_a_damaged_journal_is_said_and_ends_no_report(cohort: Cohort, runs: Path) -> None:
    write_readings(cohort.folder, "B", as_drawn(cohort))
    journal_path(cohort.folder, "B").write_text("no journal\n")
    html = unescape(write_report(runs).read_text())
    assert "What the readers of the cohort drew cannot be read" in html
    assert "python -m preprocess agreement COHORT" in html
    assert str(cohort.folder) not in html
    assert document(runs)["agreement"] == []
