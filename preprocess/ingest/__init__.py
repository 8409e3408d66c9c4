"""An archive on its way into a cohort: file discovery, workers, journal, assembly.

A cine is noted in the journal after it is stored, and the cohort's tables are made from the journal
at the end. So an interrupted ingest continues, and a repeated one writes the same bytes.
"""
