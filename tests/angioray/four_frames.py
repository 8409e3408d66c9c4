"""Four frames small enough for paper: what lies in them, and what a detector said."""

import numpy as np

from angioray.evaluation.detection import JudgedFrames, Matched
from angioray.evaluation.matching import FloatArray

A = (0.0, 0.0, 10.0, 10.0)
B = (50.0, 50.0, 60.0, 60.0)
NOWHERE = (80.0, 0.0, 90.0, 10.0)

# Frame:      1 (cine a)        2 (cine b)                     3 (cine c)   4 (cine d)
# lesions:    A                 A, B                           none         A
# boxes:      A .9, A .8        nowhere .95, A .6, B .4        A .7         none
TRUTH = {1: np.array([A]), 2: np.array([A, B]), 4: np.array([A])}
FOUND = {
    1: (np.array([A, A]), np.array([0.9, 0.8])),
    2: (np.array([NOWHERE, A, B]), np.array([0.95, 0.6, 0.4])),
    3: (np.array([A]), np.array([0.7])),
}
CINES = {1: "a", 2: "b", 3: "c", 4: "d"}
FRAMES = JudgedFrames(sequence=CINES, truth=TRUTH)
MATCHED = Matched.of(FRAMES, FOUND)


def judged(truth: dict[int, FloatArray], *image_ids: int) -> JudgedFrames:
    """Frames, each of a cine of its own."""
    return JudgedFrames(sequence={i: f"cine {i}" for i in image_ids}, truth=truth)
