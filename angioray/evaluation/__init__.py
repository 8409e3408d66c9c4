"""How good a model is: matches, metrics, intervals and baselines. No torch, no Ray.

A metric is a reduction of sums over frames (`measures`). So the same few sums give the value, the
intervals over patients, and paired differences.
"""
