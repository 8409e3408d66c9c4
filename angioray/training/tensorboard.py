"""TensorBoard's event file of a run: the lines of ``metrics.jsonl`` as curves to watch."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from preprocess.storage import Storage

EVENTS_FILE = "events.out.tfevents"
"""TensorBoard finds the file by this word in its name."""


class EventFile:
    """Appends a scalar per value of a line; nothing is written where tensorboardX is missing."""

    def __init__(self, folder: Storage, lines: Iterable[Mapping[str, float]]) -> None:
        """Begin anew with ``lines``: what a crash left beyond them is gone."""
        self._folder = folder
        try:
            import tensorboardX  # noqa: F401
        except ImportError:  # the training core needs PyTorch and NumPy alone
            self._works = False
            return
        self._works = True
        records = [_record(file_version="brain.Event:2")]
        records += [record for line in lines for record in _records(line)]
        folder.write(EVENTS_FILE, b"".join(records))

    def append(self, line: Mapping[str, float]) -> None:
        """Add one line: its ``step``, and every other value under its name."""
        if self._works:
            self._folder.append(EVENTS_FILE, b"".join(_records(line)))


def _records(line: Mapping[str, float]) -> Iterator[bytes]:
    from tensorboardX.summary import scalar

    for name, value in line.items():
        if name != "step":
            yield _record(step=int(line["step"]), summary=scalar(name, value))


def _record(**fields: Any) -> bytes:
    """An event of now in a TFRecord: length and content, each followed by its masked CRC-32C."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    content: bytes = Event(wall_time=time.time(), **fields).SerializeToString()
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + next(checks) + content + next(checks)
