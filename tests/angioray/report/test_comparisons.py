"""What a table of comparisons says is shown, and from which difference on."""

import pytest

from angioray.evaluation.intervals import Difference
from angioray.evaluation.power import patients_needed, smallest_difference
from angioray.report.comparisons import (
    Comparison,
    comparison_rows,
    comparison_tables,
    verdicts,
)

RECALL, PRECISION = "recall@IoU0.20/score0.50/max5", "precision@IoU0.20/score0.50/max5"


def difference(value: float, p: float) -> Difference:
    return Difference(value=value, ci95=(value - 0.1, value + 0.1), error=0.05, p=p, patients=40)


def compared(task: str, **differences: Difference) -> Comparison:
    return Comparison(
        task=task,
        view="RCA" if task == "detector" else "",
        name="BG",
        against="B",
        frames=60,
        patients=45,
        differences=differences,
    )


UNKNOWN = Difference(value=None, ci95=None)
DETECTORS = [
    compared("detector", **{RECALL: difference(0.2, 0.001), PRECISION: difference(-0.2, 0.02)}),
    compared("detector", **{RECALL: difference(-0.3, 0.0002), PRECISION: UNKNOWN}),
]


def test_all_differences_of_a_table_are_corrected_together() -> None:
    # Three tests: 0.0002 x 3, 0.001 x 2, and 0.02 alone.
    assert verdicts(DETECTORS) == [{RECALL: "better", PRECISION: "worse"}, {RECALL: "worse"}]
    # One more that shows nothing: 0.02 counts twice, and is 0.04; with two more it is 0.06.
    more = compared("detector", **{RECALL: difference(0.0, 1.0), PRECISION: difference(0.0, 1.0)})
    assert verdicts([*DETECTORS, more])[0] == {RECALL: "better"}
    loss = compared("view", cross_entropy=difference(-0.2, 0.01))
    assert verdicts([loss]) == [{"cross_entropy": "better"}]
    assert verdicts([]) == []


def test_rows_and_the_table_say_from_which_difference_on() -> None:
    rows = comparison_rows(DETECTORS)
    assert [row["shown"] for row in rows] == ["better", "worse", "worse", None]
    smallest, needed = smallest_difference(0.05, 40), patients_needed(0.05, 40, 0.05)
    assert rows[0]["smallest_difference"] == pytest.approx(smallest)
    assert rows[0]["patients_for_0.05"] == needed
    assert rows[3] == {
        **rows[3],
        "difference": None,
        "ci95": None,
        "p": None,
        "smallest_difference": None,
        "patients_for_0.05": None,
    }
    (table,) = comparison_tables(DETECTORS)
    assert table.rows[0].cells[-1] == "Recall, max 5 better; Precision, max 5 worse"
    assert str(table.rows[1].cells[2]) == f"{smallest:.2f}"
    assert (
        "RCA BG \N{MINUS SIGN} B: With 40 patients this cohort shows differences in recall of "
        f"{smallest:.2f} and more; for 0.05 it would need about {needed} patients." in table.note
    )
