"""Anchor sets against the training boxes, and anchors fitted to them."""
