"""TensorBoard's event file of a run: the lines of ``metrics.jsonl`` as curves to watch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

EVENTS_FILE = "events.out.tfevents"
"""TensorBoard finds the file by this word in its name."""


class EventFile:
    """Appends a scalar per value of a line; nothing is written where tensorboardX is missing."""

    def __init__(self, folder: Path, lines: Iterable[Mapping[str, float]]) -> None:
        """Begin anew with ``lines``: what a crash left beyond them is gone."""
        path = folder / EVENTS_FILE
        path.unlink(missing_ok=True)
        self._writer = _writer(path)
        for line in lines:
            self.append(line)

    def append(self, line: Mapping[str, float]) -> None:
        """Add one line: its ``step``, and every other value under its name."""
        if self._writer is None:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in line.items():
            if name != "step":
                event = Event(
                    wall_time=time.time(), step=int(line["step"]), summary=scalar(name, value)
                )
                self._writer.write(event.SerializeToString())
        self._writer.flush()


def _writer(path: Path) -> Any:
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter
    except ImportError:  # the training core needs PyTorch and NumPy alone
        return None
    writer = RecordWriter(str(path))
    writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
    return writer
