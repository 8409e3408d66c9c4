"""The report of a study: tables, figures and one HTML page from whatever has finished so far."""

from angioray.report.writing import write_report

__all__ = ["write_report"]
