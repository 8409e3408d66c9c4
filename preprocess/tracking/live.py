"""The lesions of one cine, tracked again whenever a key box or the interval changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Box, BoxSource, Phase, Sequence
from preprocess.tracking.boxes import KeyBox
from preprocess.tracking.joint import JointTracker
from preprocess.tracking.propagate import PropagateSettings


class LiveTracking:
    """Tracks lesions as ``propagate`` does, with its default settings."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        """``frames`` is uint8[T, H, W] as a reader sees them."""
        self._tracker = JointTracker(frames)
        self._settings = PropagateSettings()

    def boxes(self, sequence: Sequence, placed: Iterable[Box]) -> list[Box]:
        """The placed boxes, and a tracked one in each other frame of the optimal interval."""
        lesions: dict[int, list[Box]] = defaultdict(list)
        for box in sorted(placed, key=lambda box: box.frame_index):
            lesions[box.instance_id].append(box)
        found = [box for boxes in lesions.values() for box in boxes]
        for lesion, boxes in lesions.items():
            keys = [KeyBox(frame_index=b.frame_index, box_xyxy=b.box_xyxy) for b in boxes]
            found += [
                Box(
                    sequence_id=sequence.sequence_id,
                    frame_index=tracked.frame_index,
                    box_xyxy=tracked.box_xyxy,
                    instance_id=lesion,
                    source=BoxSource.TRACKED,
                    confidence=round(tracked.confidence, 4),
                    verdict=self._settings.verdict(tracked.confidence),
                )
                for tracked in self._tracker.track(keys, sequence.frames_in(Phase.OPTIMAL))
            ]
        return found
