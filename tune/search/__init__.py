"""The search itself: trials, samplers, schedulers, and Ray Tune that gives them lanes."""
