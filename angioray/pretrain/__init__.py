"""Weights for studies to start from, learned on simulated frames of phantoms."""
