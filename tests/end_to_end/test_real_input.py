"""Real stills from import to report, both tasks trained on them, where the data are."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command_processes import run

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "arcade_sample").is_dir(),
        reason="the ARCADE sample is not on this machine (set ANGIORAY_REAL_DATA to its folder)",
    ),
]
SETTINGS = """\
folds: 2
view:
  sizes: [64]
  backbone: resnet18
  weights: none
  epochs: 2
  frozen_epochs: 0
  batch_size: 8
detector:
  variants: [B]
  size: 128
  backbone: resnet18
  weights: none
  frozen_batch_norm: false
  levels: [3, 4]
  channels: 32
  steps: 8
  batch_size: 4
checkpoint_every: 4
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The report of a few steps on every fold of 140 published stills."""
    folder = tmp_path_factory.mktemp("arcade")
    (folder / "tiny.yaml").write_text(SETTINGS)
    study = ("cohort", "--config", "tiny.yaml", "--all-folds", "--runs", "runs")
    for command in (
        ("preprocess", "import", "arcade", DATA / "arcade_sample", "--out", "cohort"),
        ("angioray.cv", *study, "--lanes.lanes", "1"),
        ("angioray.report", "runs"),
    ):
        said = run(*command, cwd=folder)
        assert said.returncode == 0, said.stderr
    yield folder / "runs" / "report"
    shutil.rmtree(folder)  # weights, and pixels that are not ours to leave about


def test_both_tasks_are_reported_in_full(report: Path) -> None:
    document: dict[str, Any] = json.loads((report / "report.json").read_text())
    assert document["missing"] == []
    assert document["study"]["cohort"]["sequences"] == 140
    assert document["study"]["runs"]["finished"] == 4
    groups = {(e["task"], e["view"], e["variant"], e["size"]) for e in document["metrics"]}
    # Its boxes carry no view, so that one detector is trained on all of them.
    assert groups == {("view", "", "", 64), ("detector", "all", "B", 128)}
    for entry in document["metrics"]:
        assert len(entry["folds"]) == 2
    by_name = {(e["task"], e["metric"]): e for e in document["metrics"]}
    assert all(0 <= value <= 1 for value in by_name["view", "accuracy"]["folds"])
    assert all(value > 0 for value in by_name["view", "cross_entropy"]["folds"])
    assert by_name["detector", "recall@IoU0.20/score0.50/max5"]["mean"] is not None


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_report_says_what_the_stills_do_not_tell(report: Path, name: str) -> None:
    text = " ".join((report / name).read_text().split())
    assert "Grouping by patient was impossible" in text
    assert "the sources name no patients" in text
    assert "The boxes of this cohort have no view" in text
