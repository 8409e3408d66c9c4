"""A cohort in; splits, models, training, folds, evaluation, reports and prediction out."""
