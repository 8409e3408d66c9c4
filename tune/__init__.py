"""Hyperparameter sweeps over angioray studies."""
