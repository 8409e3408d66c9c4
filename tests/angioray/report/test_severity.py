"""The report's section on iFR: its numbers, its sentences, and silence where there is nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from angioray.report.writing import write_report
from preprocess.cohort import Cohort, update_attributes, write_annotations
from tests.angioray.headings import undefined
from tests.angioray.synthetic_study import FOLDS, write_cohort, write_study

TOO_LITTLE = "3 training patients with an iFR of 0.89 or less and 1 with a higher one."


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Half of the patients have a high iFR."""
    folder = tmp_path_factory.mktemp("severity") / "cohort"
    for sequence in write_cohort(folder).sequences.values():
        if int(sequence.patient_id[1:]) % 2:
            update_attributes(folder, replace(sequence, ifr=(0.95,)))
    return Cohort.open(folder)


def write_severity(
    runs: Path, cohort: Cohort, view: str, silent: int = 0, question: str = "ifr"
) -> list[dict]:
    """What the heads of a view's folds would leave; the first folds have too little."""
    rows = []
    folds = json.loads((runs / "study.json").read_text())["splits"][f"detector/{view}"]["folds"]
    for fold, sides in enumerate(folds):
        of_fold = [
            {
                "sequence_id": name,
                "yes": min(cohort.sequences[name].ifr) <= 0.89,
                "head": (0.9 if min(cohort.sequences[name].ifr) < 0.9 else 0.2) - 0.1 * (i % 3),
                "box_size": 0.5 + 0.01 * i,
                "lesions": [],
            }
            for i, name in enumerate(sides["validation"])
        ]
        reason = TOO_LITTLE if fold < silent else ""
        answer = {"reason": reason, "sequences": [] if reason else of_fold}
        folder = runs / f"detector-{view}-B-128-fold{fold}"
        (folder / "severity.json").write_text(json.dumps({"questions": {question: answer}}))
        rows += answer["sequences"]
    return rows


def report_of(runs: Path) -> tuple[dict, str]:
    html = write_report(runs).read_text()
    return json.loads((runs / "report" / "report.json").read_text()), html


def test_numbers_are_those_of_the_held_out_sequences(cohort: Cohort, tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", cohort)
    rows = write_severity(runs, cohort, "RCA", silent=1)
    document, html = report_of(runs)
    found = {(r["view"], r["of"], r["metric"]): r for r in document["severity"]}
    assert {view for view, _, _ in found} == {"RCA"}
    low = [row["yes"] for row in rows]
    area = found["RCA", "head", "AUC"]
    assert area["value"] == pytest.approx(roc_auc_score(low, [row["head"] for row in rows]))
    assert (area["sequences"], area["yes"], area["patients"]) == (8, sum(low), 8)
    assert area["ci95"][0] <= area["value"] <= area["ci95"][1]
    size = roc_auc_score(low, [row["box_size"] for row in rows])
    assert found["RCA", "difference", "AUC"]["value"] == pytest.approx(area["value"] - size)
    accuracy = sum((row["head"] > 0.5) == is_low for row, is_low in zip(rows, low, strict=True))
    assert found["RCA", "head", "accuracy"]["value"] == pytest.approx(accuracy / len(rows))
    assert '<figure id="severity-roc-ifr"' in html
    assert f"in 1 of {FOLDS} folds (0). Fold 0: {TOO_LITTLE}" in html
    assert "PMC11982120" in html
    assert undefined(html) == {}


def test_views_are_shown_apart_and_together(cohort: Cohort, tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", cohort)
    rows = [*write_severity(runs, cohort, "LCA"), *write_severity(runs, cohort, "RCA")]
    document, _ = report_of(runs)
    found = {(r["view"], r["of"], r["metric"]): r for r in document["severity"]}
    together = found["all", "head", "AUC"]
    low = [row["yes"] for row in rows]
    assert together["value"] == pytest.approx(roc_auc_score(low, [row["head"] for row in rows]))
    assert (together["sequences"], together["patients"]) == (20, 10)


@pytest.mark.parametrize(
    ("flipped", "said"),
    [
        (False, "The head is better than chance, and than box size alone."),
        (True, "The head is not shown to be better than chance"),
    ],
)
def test_the_page_says_whether_the_head_is_of_use(
    cohort: Cohort, tmp_path: Path, flipped: bool, said: str
) -> None:
    runs = write_study(tmp_path / "runs", cohort)
    write_severity(runs, cohort, "RCA")
    for path in runs.glob("*/severity.json") if flipped else ():
        document = json.loads(path.read_text())
        for row in document["questions"]["ifr"]["sequences"]:
            row["head"] = 1 - row["head"]
        path.write_text(json.dumps(document))
    assert said in report_of(runs)[1]


def test_too_little_everywhere_is_a_sentence(cohort: Cohort, tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", cohort)
    write_severity(runs, cohort, "LCA", silent=FOLDS)
    document, html = report_of(runs)
    assert document["severity"] == []
    assert (
        f"LCA: iFR is not estimated in 5 of 5 folds (0, 1, 2, 3, 4). Fold 0: {TOO_LITTLE}" in html
    )
    assert '<figure id="severity-roc-ifr"' not in html


def test_grades_have_rows_of_their_own_beside_a_sentence_on_ifr(
    cohort: Cohort, tmp_path: Path
) -> None:
    folder = tmp_path / "cohort"
    shutil.copytree(cohort.folder, folder)
    boxes = [replace(box, grade="p70_90") for box in cohort.boxes]
    write_annotations(folder, cohort.sequences.values(), boxes)
    runs = write_study(tmp_path / "runs", Cohort.open(folder))
    rows = write_severity(runs, cohort, "RCA", question="stenosis")
    document, html = report_of(runs)
    assert {(r["question"], r["yes"], r["sequences"]) for r in document["severity"]} == {
        ("stenosis", sum(row["yes"] for row in rows), len(rows))
    }
    assert "Lesions with a stenosis of 50 % or more, from the regions" in html
    assert "RCA: iFR is not estimated in 5 of 5 folds" in html
    assert '<figure id="severity-roc-stenosis"' in html
    assert "PMC11982120" not in html, "it is about iFR alone"


def test_a_cohort_without_ifr_has_no_section(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    for sequence in write_cohort(folder).sequences.values():
        update_attributes(folder, replace(sequence, ifr=()))
    cohort = Cohort.open(folder)
    document, html = report_of(write_study(tmp_path / "runs", cohort))
    assert document["severity"] == [] and "Severity from regions" not in html


@pytest.mark.parametrize(
    "content", ["[]", '{"questions": {"ifr": {"reason": "", "sequences": [{"head": 1}]}}}', "{"]
)
def test_a_damaged_file_is_named(cohort: Cohort, tmp_path: Path, content: str) -> None:
    runs = write_study(tmp_path / "runs", cohort)
    (runs / "detector-RCA-B-128-fold2" / "severity.json").write_text(content)
    with pytest.raises(ValueError, match=r"fold2.severity.json"):
        write_report(runs)
