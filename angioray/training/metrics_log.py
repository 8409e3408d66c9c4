"""A run's own history: the losses and rates of its steps, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator

from angioray.training.tensorboard import EventFile
from preprocess.storage import Storage

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """``metrics.jsonl``: a run's own history, one line per logged step, in the order of steps.

    TensorBoard's event file beside it holds the same.
    """

    def __init__(self, folder: Storage, *, from_step: int) -> None:
        """Continue at ``from_step``; lines of later steps, written before a crash, are dropped."""
        self._files = folder
        kept = [line for line in self.lines(folder) if line["step"] <= from_step]
        self._files.write_text(METRICS_FILE, "".join(json.dumps(line) + "\n" for line in kept))
        self._events = EventFile(folder, kept)

    def append(self, line: dict[str, float]) -> None:
        """Add one line."""
        self._files.append(METRICS_FILE, f"{json.dumps(line)}\n".encode())
        self._events.append(line)

    @staticmethod
    def lines(folder: Storage) -> Iterator[dict[str, float]]:
        """The whole lines that a run has logged so far."""
        for text in (folder.read_text(METRICS_FILE) or "").splitlines():
            try:
                yield json.loads(text)
            except json.JSONDecodeError:
                return  # the line that a crash cut short, and nothing follows it
