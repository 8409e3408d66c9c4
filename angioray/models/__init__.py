"""The networks: backbone, RetinaNet, anchors, losses, view classifier and Grad-CAM.

They take batches of normalised grey frames, float[B, 1, S, S], and know neither cohort nor study.
"""
