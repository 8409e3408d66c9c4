"""A toy study with time to be disturbed, and what it ends with if nobody disturbs it."""

from __future__ import annotations

import pytest

from preprocess.cohort import Cohort
from tests.cluster.cluster_study import SETTINGS, ToyStudy, undisturbed


@pytest.fixture(scope="session")
def toy_study(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> ToyStudy:
    return undisturbed(toy_cohort, tmp_path_factory.mktemp("undisturbed"), SETTINGS)
