"""Public data sets, and folders of annotated images, into the cohort form: one module each."""
