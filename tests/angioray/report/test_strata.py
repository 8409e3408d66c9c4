"""Results by group: angles by hand, values as of the group's frames alone, small groups joined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from angioray.evaluation.detection import detector_metrics
from angioray.report.evidence import DetectorEvidence
from angioray.report.runs import ReportedStudy
from angioray.report.strata import strata_table
from angioray.report.tables import Table, Value
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import BoxSource, Cohort, Verdict
from preprocess.views import projection
from tests.angioray.synthetic_study import write_cohort, write_study


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strata")
    cohort = write_cohort(folder / "cohort", patients=16)
    return write_study(folder / "runs", cohort, variants=("B", "BG"), sizes=(64,))


def evidence(
    runs: Path, change: dict[str, dict[str, Any]], *, doubtful: int = -1
) -> list[DetectorEvidence]:
    """Of the study's detectors, with other attributes of patients, and a lesion in doubt."""
    cohort = Cohort.open(runs.parent / "cohort")
    unsure = {"source": BoxSource.TRACKED, "verdict": Verdict.CHECK}
    cohort.boxes = tuple(
        replace(box, **(unsure if box.instance_id == doubtful else {})) for box in cohort.boxes
    )
    for name, cine in cohort.sequences.items():
        cohort.sequences[name] = replace(cine, **change.get(cine.patient_id, {}))
    frames = FrameIndex(cohort=cohort)
    groups = ReportedStudy.open(runs).groups
    return [DetectorEvidence.of(group, frames) for group in groups if group.task == "detector"]


def rows(table: Table | None) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    assert table is not None
    found = {tuple(map(str, row.cells[:3])): row.cells[3:] for row in table.rows}
    assert len(found) == len(table.rows)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("primary", "secondary", "expected"),
    [
        (30.0, 25.0, "LAO cranial"),
        (45.0, -30.0, "LAO caudal"),  # the spider view
        (-30.0, -20.0, "RAO caudal"),
        (-30.0, 0.0, "RAO"),
        (0.0, 40.0, "AP cranial"),
        (10.0, -10.0, "AP"),
        (10.1, -10.1, "LAO caudal"),
        (None, 25.0, None),
        (30.0, None, None),
    ],
)
def test_projections_by_hand(
    primary: float | None, secondary: float | None, expected: str | None, runs: Path
) -> None:
    cine = next(iter(Cohort.open(runs.parent / "cohort").sequences.values()))
    turned = replace(cine, primary_angle_deg=primary, secondary_angle_deg=secondary)
    assert projection(turned) == expected


def test_a_group_has_the_values_of_its_frames_alone_and_small_ones_are_joined(runs: Path) -> None:
    angles = [(30.0, 20.0)] * 8 + [(-30.0, 0.0)] * 5 + [(0.0, 0.0)] * 3
    change = {
        f"p{n:02d}": {"primary_angle_deg": a, "secondary_angle_deg": b}
        for n, (a, b) in enumerate(angles)
    }
    found = evidence(runs, change)
    of_rca = next(each for each in found if each.group.view == "RCA")
    said = rows(strata_table(found))
    assert {key[1:] for key in said} == {("angle", "LAO cranial"), ("angle", "AP, RAO")}
    for name, patients in (("LAO cranial", range(8)), ("AP, RAO", range(8, 16))):
        inside = [f"p{n:02d}" for n in patients]
        images = [
            i
            for i, p in zip(of_rca.image_ids, of_rca.frames.patients(of_rca.image_ids), strict=True)
            if p in inside
        ]
        judged = of_rca.frames.judged(images)
        alone = detector_metrics(
            judged, {i: of_rca.predictions[i] for i in images if i in of_rca.predictions}
        )
        lesions = sum(map(len, judged.truth.values()))
        count, of_lesions, recall, precision, false = said["RCA", "angle", name]
        assert (count, of_lesions) == ("8", str(lesions))
        assert recall.mean == pytest.approx(alone["recall@IoU0.20/score0.50/max5"])
        assert precision.mean == pytest.approx(alone["precision@IoU0.20/score0.50/max5"])
        boxes = sum(int((of_rca.predictions[i][1] > 0.5).sum()) for i in images)
        assert false.mean == pytest.approx(boxes * (1 - precision.mean) / len(images))
        assert recall.ci95[0] <= recall.mean <= recall.ci95[1]


def test_too_few_patients_are_counted_and_nothing_more(runs: Path) -> None:
    said = rows(strata_table(evidence(runs, {f"p{n:02d}": {"ifr": (0.95,)} for n in range(3)})))
    few = said["LCA", "iFR", "a higher one"]
    many = said["LCA", "iFR", "an iFR of 0.89 or less"]
    nothing = Value(mean=None)
    assert few == ("3", "4", nothing, nothing, nothing)  # p00 has two lesions in each view
    assert many[:2] == ("13", "18")
    assert many[2].mean is not None and many[3:] == (nothing, nothing)
    assert many[2].ci95 is not None


def test_cines_that_are_all_alike_have_no_table(runs: Path) -> None:
    assert strata_table(evidence(runs, {})) is None
    assert strata_table([]) is None


def test_groups_that_are_all_small_are_the_whole_cohort_and_no_result(runs: Path) -> None:
    makers = {f"p{n:02d}": {"manufacturer": ["GE", "Siemens", "Philips"][n % 3]} for n in range(16)}
    assert strata_table(evidence(runs, makers)) is None


def test_makers_are_compared_and_boxes_that_are_doubtful_belong_to_no_group(runs: Path) -> None:
    makers = ["GE"] * 8 + ["Siemens"] * 8
    change = {f"p{n:02d}": {"manufacturer": name} for n, name in enumerate(makers)}
    for patient in change.values():
        patient["year"] = 2019 if patient["manufacturer"] == "GE" else None
    change["p09"]["ifr"] = (0.95,)
    found = evidence(runs, change)
    said = rows(strata_table(found))
    assert {key[2] for key in said if key[1] == "maker"} == {"GE", "Siemens"}
    assert {key[2] for key in said if key[1] == "year"} == {"2019", "unknown"}
    before = {key: int(cells[1]) for key, cells in said.items()}
    again = evidence(runs, change, doubtful=1)  # the second lesion of p00 in LCA
    after = {key: int(cells[1]) for key, cells in rows(strata_table(again)).items()}
    fewer = {key for key in before if after[key] == before[key] - 1}
    assert fewer == {
        ("LCA", "maker", "GE"),
        ("LCA", "year", "2019"),
        ("LCA", "iFR", "an iFR of 0.89 or less"),
    }
