"""``python -m preprocess agreement``: how well the readers of a cohort agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from angioray.report.tables import Cell

SCHEMA_VERSION = 1


def agreement(cohort: str) -> None:
    """Compare the readers of a cohort with each other, by the metrics of the models.

    Readers are "cohort", who drew the cohort's own boxes, and everybody who gave
    `python -m preprocess review` a name with --reader.

    Args:
        cohort: the cohort folder; it may be in an object store.

    Raises:
        ValueError: it is no cohort, no two readers have read the same sequence, or what a reader
            drew is damaged.

    Examples:
        python -m preprocess agreement cohort
    """
    # Imported here, so that help and mistakes are answered at once.
    from rich.box import SIMPLE_HEAD

    from angioray.evaluation.agreement import agreements
    from angioray.report.agreement import agreement_tables
    from angioray.report.published import EXPERTS
    from angioray.study.readings import readings
    from preprocess.cohort import Cohort, count_phantoms, phantom_notice
    from preprocess.console.tables import print_table
    from preprocess.storage import open_storage
    from preprocess.storage.csv_text import csv_text
    from preprocess.views import VIEW_CLASSES

    opened = Cohort.open(cohort)
    said = readings(opened, VIEW_CLASSES)
    found = list(agreements(said))
    counts = ", ".join(f"{reader} {len(read)}" for reader, read in said.items())
    if not found:
        raise ValueError(
            f"No two readers have read the same sequence of {cohort} (sequences read: {counts}). "
            f"Make a second reader: `python -m preprocess review {cohort} --reader B`, and accept "
            "what is right on its page."
        )
    sequences = opened.sequences.values()
    if notice := phantom_notice(count_phantoms(sequences), len(sequences)):
        print(notice)
    for table in agreement_tables(found):
        # On a terminal of 80 columns the cells wrap; a pipe has the room of the whole table.
        print_table(
            [column.replace("Precision", "Prec.") for column in table.columns],
            ([_printed(cell) for cell in row.cells] for row in table.rows),
            **{"title": table.caption, "title_justify": "left"},
            **{"box": SIMPLE_HEAD, "show_edge": False, "padding": 0},
        )
        print()
    print(f"Sequences read: {counts}.", EXPERTS, sep="\n")
    entries = [entry for pair in found for entry in pair.as_json()]
    storage = open_storage(cohort)
    storage.write_json("agreement.json", {"schema_version": SCHEMA_VERSION, "agreement": entries})
    columns = [name for name in entries[0] if name != "ci95"]
    rows = ([*map(entry.get, columns), *(entry["ci95"] or ("", ""))] for entry in entries)
    storage.write_text("agreement.csv", csv_text((*columns, "ci95_low", "ci95_high"), rows))
    print(f"Wrote agreement.json and agreement.csv in {cohort}.")
    print("Next: python -m angioray.report RUNS shows it beside the models.")


def _printed(cell: Cell) -> str:
    """A value with its interval below it."""
    return cell if isinstance(cell, str) else f"{cell.main}\n{cell.interval}"
