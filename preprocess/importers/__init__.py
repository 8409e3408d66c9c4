"""Public data sets into the cohort form, one module each."""
