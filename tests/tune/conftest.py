"""A toy sweep with time to be disturbed, and what it ends with if nobody disturbs it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.end_to_end.command_processes import run
from tests.tune.toy_sweep import SPACE, ToySweep
from tune.space.space import plain


@pytest.fixture(scope="session")
def toy_sweep(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> ToySweep:
    """Carried out by the command; treat it as read-only."""
    folder = tmp_path_factory.mktemp("sweep")
    settings = replace(TOY, detector=replace(TOY.detector, steps=90), checkpoint_every=5)
    (folder / "toy.yaml").write_text(yaml.safe_dump(plain(settings)))
    (folder / "space.yaml").write_text(SPACE)
    sweep = ToySweep(folder, toy_cohort.folder)
    said = run(*sweep.command(folder / "sweep"), cwd=folder)
    assert said.returncode == 0, said.stderr
    sweep.said.append(said)
    return sweep
