"""``python -m angioray.report``: tables, figures and a page of a study, or of two."""

from __future__ import annotations

from preprocess.console.command_line import run, usage


@usage(positional=("runs", "against"))
def report(runs: str = "runs", against: str | None = None) -> None:
    """Write tables, figures and one HTML page from the finished runs, also while others still run.

    Args:
        runs: the folder that `python -m angioray.cv` writes its runs to, also in an object store;
            there the report is written.
        against: another runs folder; the two studies are compared on a page of their own.

    Examples:
      python -m angioray.report demo/runs
      python -m angioray.report runs
      python -m angioray.report runs other-runs
    """
    from angioray.report.study_comparison import write_comparison
    from angioray.report.terminal import print_report
    from angioray.report.writing import write_report_and_tables

    written = write_comparison(runs, against) if against else write_report_and_tables(runs)
    print_report(written, runs)


if __name__ == "__main__":
    run(report, prog="python -m angioray.report")
