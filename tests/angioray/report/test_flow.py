"""The inclusion flow: its numbers by hand, and that those of every arrow add up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from angioray.report.flow import MOST_REASONS, Step, inclusion, inclusion_figure
from angioray.report.runs import ReportedStudy
from preprocess.cohort import Cohort, ManifestRow, read_manifest
from tests.angioray.synthetic_study import write_cohort, write_study


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """20 sequences of 10 patients, LCA and RCA in turn, and two rejected files."""
    return write_cohort(tmp_path_factory.mktemp("flow") / "cohort")


@pytest.fixture(scope="module")
def study(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> ReportedStudy:
    """Its RCA detectors do not see s001, its view classifiers neither s002 nor s003."""
    runs = write_study(tmp_path_factory.mktemp("flow") / "runs", cohort, variants=("B",))
    document = json.loads((runs / "study.json").read_text())
    for key, left_out in (("detector/RCA", {"s001"}), ("view", {"s002", "s003"})):
        for fold in document["splits"][key]["folds"]:
            for side in fold.values():
                side[:] = [name for name in side if name not in left_out]
    (runs / "study.json").write_text(json.dumps(document))
    return ReportedStudy.open(runs)


def add_up(steps: list[Step]) -> None:
    """What comes to a box is kept or left out; what is kept is divided without a rest."""
    above: dict[int, Step] = {}
    for step in steps:
        assert step.came == step.kept + sum(step.left_out.values()), step.title
        assert not step.parts or sum(step.parts.values()) == step.kept, step.title
        above[step.depth] = step
    deepest = [step for step in steps if step.depth == 2]
    assert not deepest or sum(step.kept for step in deepest) == above[1].kept


def test_the_numbers_by_hand(study: ReportedStudy, cohort: Cohort) -> None:
    steps = inclusion(study, cohort, read_manifest(cohort.folder))
    add_up(steps)
    given = "that the given folds do not name"
    assert [(s.title, s.kept, dict(s.left_out), s.words) for s in steps] == [
        ("Source files found", 22, {}, "22 files"),
        (
            "In the cohort",
            20,
            {"pacemaker": 1, "1024 x 1024, not 512 x 512": 1},
            "20 sequences of 10 patients",
        ),
        ("View classifiers", 18, {given: 2}, "18 sequences of 9 patients"),
        ("Detectors", 19, {given: 1}, "19 sequences of 10 patients"),
        ("Detectors of LCA", 10, {}, "10 sequences of 10 patients"),
        ("Detectors of RCA", 9, {}, "9 sequences of 9 patients"),
    ]
    assert steps[-1].parts == {"with lesions": 9, "free of lesions": 0}


def test_pictures_of_one_cine_are_files_of_one_sequence(
    study: ReportedStudy, cohort: Cohort
) -> None:
    rows = read_manifest(cohort.folder)
    steps = inclusion(study, cohort, [*rows, *(r for r in rows if r.status == "accepted")])
    add_up(steps)
    assert (steps[1].came, steps[1].kept) == (42, 40)
    assert steps[1].words == "20 sequences of 10 patients, from 40 files"


def test_a_manifest_of_other_sequences_is_not_believed(
    study: ReportedStudy, cohort: Cohort
) -> None:
    other = ManifestRow(hmac_sha256="", status="accepted", sequence_id="other")
    for rows in ([], [other], [*read_manifest(cohort.folder), other]):
        first, *steps = inclusion(study, cohort, rows)
        assert (first.title, first.came, first.left_out) == ("In the cohort", 20, {})
        assert len(steps) == 4


def test_the_diagram_says_all_of_it_in_words_and_joins_rare_reasons(
    study: ReportedStudy, cohort: Cohort
) -> None:
    rows = read_manifest(cohort.folder)
    refused = replace(rows[-1], sequence_id="")
    rows += [replace(refused, reason=f"reason {n}") for n in range(MOST_REASONS)]
    figure = inclusion_figure(study, cohort, rows)
    assert figure.alt.startswith("Source files found: 28 files. In the cohort: 20 sequences")
    assert "Before it, 8 left out:" in figure.alt and "2 for other reasons" in figure.alt
    for line in ("Detectors of RCA", "9 with lesions, 0 free of lesions", "8 left out:"):
        assert line in figure.alt + figure.svg
        assert f">{line}</text>" in figure.svg
