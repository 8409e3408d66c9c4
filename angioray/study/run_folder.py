"""The folder of a run: its files, and the order in which they are written."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from angioray.evaluation.measures import Metrics
from angioray.study.matrix import Run
from angioray.study.settings import StudySettings
from angioray.training.loop import CHECKPOINT
from angioray.training.step import Alive, nobody_waits
from preprocess.storage import Location, Storage, open_storage

SCHEMA_VERSION = 1
HEALTHY_IMAGES = "healthy_images.json"
BEAT_S = 1.0
"""Between two signs of life of a process that waits for a lock."""
REPORTED_PACKAGES = ("angioray", "torch", "torchvision", "ray", "numpy", "zarr")


@dataclass(frozen=True)
class Judgement:
    """What a trained run says of its validation part, and how good that is.

    Attributes:
        predictions: COCO results of a detector; class probabilities by image of a classifier.
        image_ids: the images that were judged, those without a prediction included.
        metrics: by name; None where undefined.
        details: what else belongs into the result.
        healthy: a row for each frame of a healthy artery that a detector was judged on beside
            ``image_ids``: its ``image_id``, and whether ``patient_is_healthy``: has no lesion in
            this view. Its predictions are among the others.
    """

    predictions: list[dict[str, Any]]
    image_ids: list[int]
    metrics: Metrics
    details: dict[str, Any]
    healthy: list[dict[str, Any]] | None = None


class RunFolder:
    """The files of one run, by name.

    Attributes:
        files: where they lie.
    """

    def __init__(self, location: Location) -> None:
        """``location`` is the run's own folder."""
        self.files: Storage = open_storage(location)

    @classmethod
    def of(cls, runs: Location, run: Run) -> RunFolder:
        """The folder of a run within a runs folder."""
        return cls(open_storage(runs) / run.name)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.files.name

    @property
    def checkpoint(self) -> Storage:
        """Weights, optimiser and state of the last checkpoint."""
        return self.files / CHECKPOINT

    @property
    def finished(self) -> bool:
        """Whether the run is complete: its result is written last."""
        return self.files.exists("result.json")

    def result(self) -> dict[str, Any]:
        """The finished run's result."""
        result: dict[str, Any] = self.files.read_json("result.json")
        return result

    def failure(self) -> str | None:
        """Why the last attempt failed, or None."""
        document = self.files.read_json("failure.json")
        return None if document is None else str(document["reason"])

    def begin(
        self,
        run: Run,
        settings: StudySettings,
        device: torch.device,
        dtype: torch.dtype,
        frames: str,
    ) -> None:
        """Write what the run is made with, before it starts.

        Args:
            run: which.
            settings: its study's.
            device: where it trains.
            dtype: of its forward passes.
            frames: where they lie, in words.
        """
        resolved = {"run": {**run.as_json(), "name": run.name}, "settings": asdict(settings)}
        # Through JSON, so that tuples are plain lists in the YAML.
        plain = json.loads(json.dumps(resolved))
        self.files.write_text("settings.yaml", yaml.safe_dump(plain, sort_keys=False))
        made_in = environment(device) | {
            "forward_passes": str(dtype).removeprefix("torch."),
            "frames": frames,
        }
        self.files.write_json("environment.json", made_in)

    def finish(self, run: Run, judgement: Judgement, steps: int, seconds: float) -> None:
        """Write what the run found, its result last; an earlier failure is forgotten."""
        self.files.write_json("predictions.json", judgement.predictions)
        self.files.write_json("evaluated_images.json", judgement.image_ids)
        if judgement.healthy is not None:
            self.files.write_json(HEALTHY_IMAGES, judgement.healthy)
        result = {
            "schema_version": SCHEMA_VERSION,
            **run.as_json(),
            "steps": steps,
            "seconds": round(seconds, 3),
            "metrics": judgement.metrics,
            **judgement.details,
        }
        self.files.write_json("result.json", result)
        self.files.delete("failure.json")

    def add(self, name: str, document: dict[str, Any] | None) -> None:
        """Write what else the run found; where it found nothing of that kind, remove the file."""
        if document is None:
            self.files.delete(name)
        else:
            self.files.write_json(name, document)

    def fail(self, reason: str, traceback: str) -> None:
        """Record why an attempt failed."""
        self.files.write_json("failure.json", {"reason": reason, "traceback": traceback})

    @contextmanager
    def locked(self, alive: Alive = nobody_waits) -> Iterator[None]:
        """Keep every other process out while this one trains; the lock ends with its process.

        A killed driver's workers live on for seconds, so a restarted study waits here for them. In
        an object store it waits until the lock has lapsed; by then a worker that still lives has
        stopped writing, for it could not renew it or finds it taken (``preprocess/storage/lease``).

        Args:
            alive: is called again and again while this waits: whoever holds the lock is alive.
        """
        with ExitStack() as held:
            with _beating(alive):
                held.enter_context(self.files.locked(wait=True))
            yield


@contextmanager
def _beating(alive: Alive) -> Iterator[None]:
    """Call ``alive`` again and again from a thread of its own, where this one can only wait."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            alive()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def alone_in(folder: Location, *, what: str = "study") -> Iterator[None]:
    """Refuse to run what another process is running; the lock ends with its process.

    Args:
        folder: which only one process may work in.
        what: it is, in errors.

    Raises:
        ValueError: another process is at it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(open_storage(folder).locked(wait=False))
        except BlockingIOError as problem:
            raise ValueError(
                f"Another process is running the {what} in {folder}. Wait for it, or stop it."
            ) from problem
        yield


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
    """Commit of the checkout that the package is part of, and whether it was changed since."""
    here = Path(__file__).parents[1]
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
