"""Frames that are read while a run trains, of which a part is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]

READ_AHEAD = 256
"""Frames that are asked for before their step, at most."""


class FrameStream:
    """Frames by row, read by threads in the order of the coming steps.

    The first ones are kept for good, as many as there is room for. No rule of eviction needs fewer
    readings: an epoch takes each frame once, so that what it finds was there as it began.
    """

    def __init__(self, read: Callable[[int], Tensor], *, room: int, threads: int) -> None:
        """Begin with nothing.

        Args:
            read: a frame by its row (uint8[1, S, S]); several threads call it.
            room: frames in memory at most; those of the step at hand and the next if it is less.
            threads: that read.
        """
        self.read = read
        self._threads = ThreadPoolExecutor(threads, "frames")
        self._ahead = min(READ_AHEAD, room // 2)
        self._most_kept = room - self._ahead
        self._kept: dict[int, Future[Tensor]] = {}
        self._coming: deque[tuple[Rows, list[Future[Tensor]]]] = deque()
        self._next = 0

    def read_ahead(self, step: int, rows_of: Callable[[int], Rows]) -> None:
        """Have the frames of a step and of the following ones read.

        Args:
            step: the one that comes next.
            rows_of: the rows of a step (int64[B]), of any from this one on.
        """
        rows = rows_of(step)
        if not self._is_next(rows):  # another run begins
            self._coming.clear()
            self._next = step
        while len(self._coming) < max(2, self._ahead // len(rows)):
            coming = rows_of(self._next)
            self._coming.append((coming, [self._reading(row) for row in coming.tolist()]))
            self._next += 1

    def take(self, rows: Rows) -> Tensor:
        """Frames by their rows (uint8[len(rows), 1, S, S]), whether they were expected or not."""
        if self._is_next(rows):
            reading = self._coming.popleft()[1]
        else:  # a model is judged
            numbers = rows.tolist()
            reading = [self._sound(r) or self._threads.submit(self.read, r) for r in numbers]
        return torch.stack([each.result() for each in reading])

    def _is_next(self, rows: Rows) -> bool:
        return bool(self._coming) and np.array_equal(self._coming[0][0], rows)

    def _reading(self, row: int) -> Future[Tensor]:
        if (kept := self._sound(row)) is not None:
            return kept
        reading = self._threads.submit(self.read, row)
        if row in self._kept or len(self._kept) < self._most_kept:
            self._kept[row] = reading
        return reading

    def _sound(self, row: int) -> Future[Tensor] | None:
        """A frame that is kept; what could not be read once is read again."""
        kept = self._kept.get(row)
        return None if kept is None or (kept.done() and kept.exception()) else kept
