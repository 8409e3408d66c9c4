"""The trackers by the name of their method."""

from preprocess.tracking.boxes import Tracker
from preprocess.tracking.csrt import CsrtTracker
from preprocess.tracking.joint import JointTracker

TRACKERS: dict[str, type[Tracker]] = {"joint": JointTracker, "csrt": CsrtTracker}
