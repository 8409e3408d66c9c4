"""The checklists: every item once and in order, and no answer empty or leading nowhere."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from angioray.report.checklists import AUTHORS, CLAIM, TRIPOD_AI
from angioray.report.writing import write_report
from tests.angioray.synthetic_study import write_cohort, write_study

PARTS = {
    **{"3": "abc", "5": "ab", "6": "abc", "8": "abc", "9": "abc", "12": "abcdefg"},
    **{"18": "abcdef", "20": "abc", "23": "ab", "27": "abc"},
}
"""Of TRIPOD+AI's 27 items, those that have parts."""


def answers(report: Path, name: str) -> dict[str, str]:
    with (report.parent / f"{name}.csv").open(newline="") as file:
        return {row["Item"]: row["Answer"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checklists")
    cohort = write_cohort(folder / "cohort")
    return write_study(folder / "runs", cohort, variants=("B",), sizes=(64,))


def test_every_item_is_there_once() -> None:
    assert [number for number, *_ in CLAIM] == [str(n) for n in range(1, 45)]
    parts = [f"{n}{part}" for n in range(1, 28) for part in PARTS.get(str(n), [""])]
    assert len(parts) == 52
    assert [number for number, *_ in TRIPOD_AI] == parts
    assert all(topic for _, topic, _ in (*CLAIM, *TRIPOD_AI))


def test_every_item_is_answered_and_answers_lead_to_what_is_there(runs: Path) -> None:
    report = write_report(runs)
    claim, tripod = answers(report, "claim"), answers(report, "tripod_ai")
    assert len(claim) == 44 and len(tripod) == 52
    text = (report.parent / "report.md").read_text()
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    titles += re.findall(r"^## (.+)$", (report.parent / "methods.md").read_text(), re.MULTILINE)
    for answer in (*claim.values(), *tripod.values()):
        assert answer.strip()
        assert set(re.findall("“(.+?)”", answer)) <= set(titles), answer
    assert claim["44"] == tripod["17"] == AUTHORS
    assert claim["35"] == tripod["20a"] == "“Cohort”."
    assert claim["20"] == (
        "view: by sequence; detector/LCA: by patient; detector/RCA: by patient. "
        "Patients lie on both sides in view."
    )
    assert claim["12"] == "No value was imputed."
    assert claim["13"].startswith("Angles of the C-arm are known of 0 of 20 sequences.")
    assert claim["31"] == "None in this report."
    assert "20 sequences of 10 patients" in tripod["10"]


def test_what_a_study_does_not_know_is_left_to_the_authors(runs: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    document = json.loads((runs / "study.json").read_text())
    document["runs"] = [run for run in document["runs"] if run["task"] == "view"]
    document["splits"] = {"view": document["splits"]["view"]}
    document["cohort"]["folder"] = str(tmp_path / "gone")
    (bare / "study.json").write_text(json.dumps(document))
    claim = answers(write_report(bare), "claim")
    assert claim["12"] == claim["13"] == claim["14"] == claim["30"] == claim["39"] == AUTHORS
    assert claim["22"].startswith("“View classifier”.")
    assert claim["18"] == AUTHORS
