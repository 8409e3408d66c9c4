"""What a cohort holds: Table 1, and a page on which its faults are found by eye."""
