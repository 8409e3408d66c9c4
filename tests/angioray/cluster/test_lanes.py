"""How Ray Train is asked for a lane."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from angioray.cluster.lane_control import LANE_RESTARTS, lane_trainer
from tests.end_to_end.command_processes import REPOSITORY


def test_a_lane_is_tied_to_one_node_and_has_the_name_of_its_study(tmp_path: Path) -> None:
    config = {"lane": 3, "queue": None}
    trainer = lane_trainer(config, "runs-lane-3", str(tmp_path), 2, {"CPU": 1.0})
    assert trainer.scaling_config.placement_strategy == "STRICT_PACK"
    assert trainer.scaling_config.num_workers == 2
    assert trainer.run_config.name == "runs-lane-3"
    assert trainer.run_config.failure_config.max_failures == LANE_RESTARTS


@pytest.mark.parametrize("package", ["angioray", "tune"])
def test_nothing_is_imported_that_a_library_keeps_for_itself(package: str) -> None:
    modules = sorted((REPOSITORY / package).rglob("*.py"))
    private = re.compile(r"^\s*(from|import) \S*\._", re.MULTILINE)
    assert modules
    assert [path for path in modules if private.search(path.read_text("utf-8"))] == []
