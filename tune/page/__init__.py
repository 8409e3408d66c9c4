"""The page of a sweep: what was searched on whose data, what came out, at which cost."""
