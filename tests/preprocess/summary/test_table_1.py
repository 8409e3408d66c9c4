"""Table 1, counted by hand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from preprocess.cohort import Cohort, read_manifest
from preprocess.summary.table_1 import COLUMNS, in_paper_order, table_1
from tests.preprocess.drawn_cohort import write_drawn_cohort
from tests.preprocess.summary.expected_table_1 import EXPECTED


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_drawn_cohort(tmp_path)


def test_table_1_by_hand(cohort: Cohort) -> None:
    rows = table_1(cohort, read_manifest(cohort.folder))
    found = "".join(",".join(map(str, asdict(row).values())) + "\n" for row in rows)
    assert found == EXPECTED


def test_the_total_is_what_was_kept_with_a_lesion_and_what_was_discarded(cohort: Cohort) -> None:
    total, *parts = table_1(cohort, read_manifest(cohort.folder))[:4]
    for name in set(COLUMNS) - {"name", "patients"}:
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)


def test_the_threshold_itself_counts_as_below(cohort: Cohort) -> None:
    at = {row.name: row for row in table_1(cohort, [], ifr_threshold=0.88)}
    assert (at["Optimal RCA"].ifr_below, at["Optimal RCA"].ifr_above) == (0, 1)
    at = {row.name: row for row in table_1(cohort, [], ifr_threshold=0.89)}
    assert (at["Optimal RCA"].ifr_below, at["Optimal RCA"].ifr_above) == (1, 0)


def test_the_columns_are_the_papers_and_name_every_field(cohort: Cohort) -> None:
    assert list(COLUMNS) == list(asdict(table_1(cohort, [])[0]))
    assert ", ".join(COLUMNS.values()) == (
        "Sequence Detail, Patients, Sequences, No Contrast, Introducing, Optimal, Vanishing, "
        "Stenosis Annotations, iFR below, iFR above"
    )


def test_views_come_in_the_papers_order() -> None:
    views = ["LAD/LCx", "(no view)", "spider", "RCA", "LCx/LAD", "LM", "LCA", "RCA"]
    expected = ["RCA", "LCA", "LCx/LAD", "LAD/LCx", "LM", "spider", "(no view)"]
    assert in_paper_order(views) == expected
