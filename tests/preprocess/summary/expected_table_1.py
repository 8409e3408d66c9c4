"""Table 1 of the drawn cohort, counted by hand."""

EXPECTED = """\
Total Sequences,3,6,6,3,12,9,7,3,1
Discard,1,2,0,0,0,0,1,0,1
With Implants,1,1,0,0,0,0,2,1,0
Optimal,2,3,6,3,12,9,4,2,0
Optimal RCA,2,2,4,2,8,6,3,1,0
Optimal LCA,1,1,2,1,4,3,1,1,0
No Lesion RCA,1,1,2,1,4,3,0,0,0
"""
