"""The demo: the public commands one after the other, from nothing to a report."""
