"""The trackers by the name of their method."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from preprocess.tracking.boxes import Tracker
from preprocess.tracking.csrt import CsrtTracker
from preprocess.tracking.joint import JointTracker

TRACKERS: dict[str, Callable[[NDArray[np.uint8]], Tracker]] = {
    "joint": JointTracker,
    "csrt": CsrtTracker,
}
"""How each method is made from the frames of a cine (uint8[T, H, W])."""
