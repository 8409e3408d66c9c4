"""A cohort in; splits, models, training, folds, evaluation, reports and prediction out."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
"""Settings that come with angioray: `--config paper` and `--config demo` mean files in here."""
