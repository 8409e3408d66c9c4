"""Trained networks on new frames: the view first, then boxes by the detectors of that view.

No model judges a patient that it was trained on (`angioray.study.held_out` decides that).
"""
