"""Lesions followed through the frames of a cine, and how far each box can be trusted.

A tracker takes the frames of a cine and the boxes of a reader, and gives a box and a confidence for
every frame (`boxes.Tracker`); `methods` has them by name.
"""
