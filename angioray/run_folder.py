"""A run's folder: what it holds, and the order that makes `finished` mean finished."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from angioray.events import EventFile
from angioray.measures import Metrics
from angioray.study import Run, StudySettings
from preprocess.atomic import write_json, write_text

SCHEMA_VERSION = 1
METRICS_FILE = "metrics.jsonl"
REPORTED_PACKAGES = ("angioray", "torch", "torchvision", "ray", "numpy", "zarr")


@dataclass(frozen=True)
class Judgement:
    """What a trained run says of its validation part, and how good that is.

    Attributes:
        predictions: COCO results of a detector; class probabilities by image of a classifier.
        image_ids: the images that were judged, those without a prediction included.
        metrics: by name; None where undefined.
        details: what else belongs into the result.
    """

    predictions: list[dict[str, Any]]
    image_ids: list[int]
    metrics: Metrics
    details: dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

    @classmethod
    def of(cls, runs: Path, run: Run) -> RunFolder:
        """The folder of a run within a runs folder."""
        return cls(runs / run.name)

    @property
    def checkpoint(self) -> Path:
        """Weights, optimiser and state of the last checkpoint."""
        return self.path / "checkpoint"

    @property
    def finished(self) -> bool:
        """Whether the run is complete: its result is written last."""
        return (self.path / "result.json").is_file()

    def result(self) -> dict[str, Any]:
        """The finished run's result."""
        result: dict[str, Any] = json.loads((self.path / "result.json").read_text("utf-8"))
        return result

    def failure(self) -> str | None:
        """Why the last attempt failed, or None."""
        path = self.path / "failure.json"
        if not path.is_file():
            return None
        return str(json.loads(path.read_text("utf-8"))["reason"])

    def begin(self, run: Run, settings: StudySettings, device: torch.device, frames: str) -> None:
        """Write what the run is made with, before it starts; ``frames`` says where they lie."""
        self.path.mkdir(parents=True, exist_ok=True)
        resolved = {"run": {**asdict(run), "name": run.name}, "settings": asdict(settings)}
        # Through JSON, so that tuples are plain lists in the YAML.
        plain = json.loads(json.dumps(resolved))
        write_text(self.path / "settings.yaml", yaml.safe_dump(plain, sort_keys=False))
        write_json(self.path / "environment.json", {**environment(device), "frames": frames})

    def finish(self, run: Run, judgement: Judgement, steps: int, seconds: float) -> None:
        """Write what the run found, its result last; an earlier failure is forgotten."""
        write_json(self.path / "predictions.json", judgement.predictions)
        write_json(self.path / "evaluated_images.json", judgement.image_ids)
        result = {
            "schema_version": SCHEMA_VERSION,
            **asdict(run),
            "steps": steps,
            "seconds": round(seconds, 3),
            "metrics": judgement.metrics,
            **judgement.details,
        }
        write_json(self.path / "result.json", result)
        (self.path / "failure.json").unlink(missing_ok=True)

    def fail(self, reason: str, traceback: str) -> None:
        """Record why an attempt failed."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "failure.json", {"reason": reason, "traceback": traceback})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out while this one trains; the lock dies with its process.

        A killed driver's workers live on for seconds, so a restarted study waits here for them.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextmanager
def alone_in(folder: Path, *, what: str = "study") -> Iterator[None]:
    """Refuse to run what another process is running; the lock dies with its process.

    Args:
        folder: which only one process may work in.
        what: it is, in errors.

    Raises:
        ValueError: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise ValueError(
                f"Another process is running the {what} in {folder}. Wait for it, or stop it."
            ) from problem
        yield


class MetricsLog:
    """``metrics.jsonl``: a run's own history, one line per logged step, in the order of steps.

    TensorBoard's event file beside it holds the same.
    """

    def __init__(self, folder: RunFolder, *, from_step: int) -> None:
        """Continue at ``from_step``; lines of later steps, written before a crash, are dropped."""
        self._path = folder.path / METRICS_FILE
        kept = [line for line in self.lines(folder) if line["step"] <= from_step]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._events = EventFile(folder.path, kept)

    def append(self, line: dict[str, float]) -> None:
        """Add one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._events.append(line)

    @staticmethod
    def lines(folder: RunFolder) -> Iterator[dict[str, float]]:
        """The whole lines that a run has logged so far."""
        path = folder.path / METRICS_FILE
        if not path.is_file():
            return
        for text in path.read_text("utf-8").splitlines():
            try:
                yield json.loads(text)
            except json.JSONDecodeError:
                return  # the line that a crash cut short, and nothing follows it


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and git state: what a reader needs to repeat a number."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in REPORTED_PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "git": _git_state(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this file lies in, and whether it was changed since."""
    here = Path(__file__).parent
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "changed": bool(status)}
