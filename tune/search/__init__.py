"""Ray Tune at work: trainable, searchers, schedulers, launch, progress.

A step of a trial goes on to the next rung and judges it there. What a trial has reached is in its
run folder, exact to the step; Ray Tune's own files beside it are for people, and never read back.
"""
