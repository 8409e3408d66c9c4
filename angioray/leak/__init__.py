"""The leak ruler: near-duplicate frames within and between cohorts, and what a leak is worth.

`fingerprints.py` has what is kept of a picture, `likeness.py` how alike two are once the one is
laid over the other, `duplicates.py` who is compared with whom, and `groups.py` what the pairs mean
for splits. `benchmarks/leak.py` measures what the constants are worth: change none without it.
`stills.py` makes the leak itself, to measure it.
"""
