"""The cut-off of the instantaneous wave-free ratio (iFR).

The metrics import it, on machines that have torch alone, so it imports nothing heavy.
"""

IFR_CUT_OFF = 0.89
"""A lesion whose iFR is at or below it limits the flow (paper, Table 1)."""
