"""A cohort in the formats of other tools, and what was drawn there back into it."""
