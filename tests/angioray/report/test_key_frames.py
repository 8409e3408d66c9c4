"""The report's section on the reference frame: its numbers, and its sentences."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from angioray.report.writing import write_report
from preprocess.cohort import Cohort, update_attributes
from tests.angioray.headings import undefined
from tests.angioray.synthetic_study import REFERENCE, write_cohort, write_study

TOO_LITTLE = "2 training patients with a reference frame that a reader chose: 10 are needed."
OFF = {"lstm": (0, 1, -1, 0), "pixels": (2, -3, 1, 2), "middle": (1, 1, 1, 1)}
"""By how much each method misses, cine after cine."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """24 patients, so that means have intervals; one cine does not say how long a frame lasts."""
    folder = tmp_path_factory.mktemp("key_frames") / "cohort"
    for number, sequence in enumerate(write_cohort(folder, patients=24).sequences.values()):
        update_attributes(
            folder,
            replace(
                sequence,
                frame_time_ms=None if number == 0 else 100.0,
                phases_proposed=number == 1,
            ),
        )
    return Cohort.open(folder)


def write_key_frames(runs: Path, view: str, silent: int = 0) -> list[dict]:
    rows: list[dict] = []
    folds = json.loads((runs / "study.json").read_text())["splits"][f"detector/{view}"]["folds"]
    for fold, sides in enumerate(folds):
        of_fold = [
            {
                "sequence_id": name,
                "reference": REFERENCE,
                **{of: REFERENCE + by[i % 4] for of, by in OFF.items()},
            }
            for i, name in enumerate(sides["validation"])
        ]
        said = fold < silent
        document = {"reason": TOO_LITTLE if said else "", "sequences": [] if said else of_fold}
        folder = runs / f"detector-{view}-B-128-fold{fold}"
        (folder / "key_frames.json").write_text(json.dumps(document))
        rows += document["sequences"]
    return rows


def test_numbers_are_those_of_the_held_out_cines(cohort: Cohort, tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", cohort, variants=("B",), sizes=(64,))
    rows = write_key_frames(runs, "LCA") + write_key_frames(runs, "RCA")
    html = write_report(runs).read_text()
    document = json.loads((runs / "report" / "report.json").read_text())
    found = {(r["of"], r["against"], r["metric"]): r for r in document["key_frames"]}

    def mean(of: str, metric: str) -> float:
        values = []
        for row in rows:
            cine = cohort.sequences[row["sequence_id"]]
            off = abs(row[of] - REFERENCE)
            values += {
                "frames_off": [off],
                "seconds_off": [] if cine.frame_time_ms is None else [off * 0.1],
                "within_1": [off <= 1],
                "in_optimal": [] if cine.phases_proposed else [4 <= row[of] < 10],
            }[metric]
        return sum(values) / len(values)

    assert len(rows) == 48 and len(found) == 20
    for of, against, metric in found:
        expected = mean(of, metric) - (mean(against, metric) if against else 0)
        row = found[of, against, metric]
        assert row["value"] == pytest.approx(expected)
        assert (row["sequences"], row["patients"]) == (48, 24)
    low, high = found["lstm", "pixels", "frames_off"]["ci95"]
    assert low < found["lstm", "pixels", "frames_off"]["value"] < high < 0
    assert '<table id="key_frames"' in html and undefined(html) == {}


def test_folds_that_know_too_little_are_named(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", patients=5)
    runs = write_study(tmp_path / "runs", cohort, variants=("B",), sizes=(64,))
    write_key_frames(runs, "RCA", silent=5)
    html = write_report(runs).read_text()
    said = "RCA: the reference frame is not looked for in 5 of 5 folds (0, 1, 2, 3, 4). Fold 0: "
    assert said + TOO_LITTLE in html and '<table id="key_frames"' not in html
    for path in runs.glob("*/key_frames.json"):
        path.unlink()
    assert "The reference frame" not in write_report(runs).read_text(), "no run was asked"
    (runs / "detector-RCA-B-128-fold2" / "key_frames.json").write_text('{"sequences": [{}]}')
    with pytest.raises(ValueError, match=r"fold2.key_frames.json"):
        write_report(runs)
