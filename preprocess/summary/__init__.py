"""What a cohort holds: Table 1, and a page on which its faults are found by eye."""

from preprocess.summary.command import SummarySettings, summary

__all__ = ["SummarySettings", "summary"]
