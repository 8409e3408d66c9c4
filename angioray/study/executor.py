"""The executor: it trains, judges and writes one run, in a lane as without Ray."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from angioray.evaluation.measures import Metrics
from angioray.study.acquisitions import RECORDED, Acquisitions
from angioray.study.detector_task import DetectorTask, detect_images
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from angioray.study.view_task import ViewTask, image_probabilities
from angioray.training.frames import FrameStore, load_frames
from angioray.training.loop import Progress, nothing_to_validate, train
from angioray.training.precision import able_here, dtype_here, precision_in_words
from angioray.training.step import Alive, Leaving, World, nobody_leaves, nobody_waits
from preprocess.cohort import Cohort
from preprocess.storage import StorageError

TASKS: dict[str, type[ViewTask] | type[DetectorTask]] = {"view": ViewTask, "detector": DetectorTask}
INFERENCE = "inference"
"""Under which a result has what :func:`time_inference` measured."""
TIMED_FRAMES = 8
NO_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE}


class Executor:
    """Carries out runs in one process, keeping the frames that the next may share."""

    def __init__(
        self,
        study: Study,
        cohort: Cohort,
        world: World,
        say: Callable[[str], None] | None = None,
        alive: Alive = nobody_waits,
        leaving: Leaving = nobody_leaves,
    ) -> None:
        """Get ready.

        Args:
            study: whose runs.
            cohort: what they learn from.
            world: where this process trains.
            say: is told, in words, what was decided.
            alive: is called again and again while no step is taken: frames are read here or by
                another process, or a model is judged.
            leaving: whether this machine is about to be taken away: a run then writes a checkpoint.
        """
        self._study = study
        self._say = say
        self._alive = alive
        self._leaving = leaving
        self._world = world
        self._index = CohortIndex.of(cohort, study.settings.view_classes)
        precision, device = study.settings.precision, world.device
        self._precision = dtype_here(precision, device)
        if say is not None:
            say(precision_in_words(precision, device.type, able_here()))
        self._kept: tuple[Hashable, FrameStore] | None = None
        self._compiled_for: Hashable = None

    def turn_to(self, study: Study) -> None:
        """Go on with another study of the same cohort, folds and frames."""
        self._study = study
        self._precision = dtype_here(study.settings.precision, self._world.device)

    def execute(self, run: Run, progress: Progress) -> Metrics:
        """Train, judge and write one run, continuing whatever is there of it.

        Raises:
            ValueError: the run has nothing to train on, or its weights cannot be had.
            FloatingPointError: training diverged.
        """
        folder = RunFolder.of(self._study.folder, run)
        if folder.finished:
            return dict(folder.result()["metrics"])
        return self.advance(run, folder, progress)

    def advance(
        self, run: Run, folder: RunFolder, progress: Progress, *, until: int | None = None
    ) -> Metrics:
        """Train a run up to a step and judge it there; it is finished at its last step alone.

        Args:
            run: which.
            folder: its own, which may lie anywhere.
            progress: is told now and then.
            until: the step; the last one if None.

        Raises:
            ValueError: the run has nothing to train on, or its weights cannot be had.
            FloatingPointError: training diverged.
        """
        settings = self._study.settings
        started = time.perf_counter()
        store = self._frames(run)
        if self._world.leads:
            folder.begin(
                run,
                self._study.settings_of(run),
                self._world.device,
                self._precision,
                store.residence.reason,
            )
        job = TASKS[run.task](self._study, self._index, run, store, self._world)
        compiled_for = job.compiled_for if settings.compile else None
        if compiled_for is not None and compiled_for != self._compiled_for:
            # PyTorch compiles a function for eight kinds of input and then gives up. Runs of one
            # kind share what is compiled; of another kind it is dropped, and its memory with it.
            torch.compiler.reset()
            self._compiled_for = compiled_for
        loaded = time.perf_counter()
        trained_s = train(
            job,
            folder.files,
            self._world,
            precision=self._precision,
            checkpoint_every=settings.checkpoint_every,
            progress=progress,
            compiled=compiled_for is not None,
            until=until,
            leaving=self._leaving,
            validate=partial(job.validate, self._precision, self._alive)
            if isinstance(job, DetectorTask)
            else nothing_to_validate,
        )
        trained = time.perf_counter()
        judgement = job.judge(self._precision, self._alive)
        if self._world.leads and (until is None or until >= job.steps):
            if isinstance(job, DetectorTask):
                folder.add("severity.json", job.severity(self._precision, self._alive))
                folder.add("key_frames.json", job.key_frames(self._precision, self._alive))
                folder.add("segmentation.json", job.segmentation(judgement, self._alive))
            # Training counts all attempts; loading and judging this one.
            seconds = loaded - started + trained_s + time.perf_counter() - trained
            acquired = Acquisitions.of(self._index.cohort, store, job.batches.keys)
            details = judgement.details | {
                RECORDED: acquired.as_json(),
                INFERENCE: time_inference(job, self._precision),
            }
            folder.finish(run, replace(judgement, details=details), job.steps, seconds)
        return judgement.metrics

    def release(self) -> None:
        """Let go of what the last run held on the device; it may have failed for want of room."""
        self._kept = None
        if self._world.device.type == "cuda":
            torch.cuda.empty_cache()

    def _frames(self, run: Run) -> FrameStore:
        """The frames of a run; the last run's where both share them."""
        if self._kept is None or self._kept[0] != run.frames_key:
            self._kept = None  # frees the device before the next frames arrive
            keys = TASKS[run.task].frames(self._study, self._index, run)
            store = load_frames(
                self._index.cohort,
                keys,
                size=run.size,
                device=self._world.device,
                share=self._world.share,
                alive=self._alive,
            )
            self._kept = (run.frames_key, store)
            if self._say is not None:
                self._say(store.residence.reason)
        return self._kept[1]


def time_inference(job: ViewTask | DetectorTask, precision: torch.dtype) -> dict[str, Any]:
    """How many seconds a model takes for some frames that are in memory, from pixels to answers.

    Boxes are there after non-maximum suppression. The first of two passes warms up and does not
    count.
    """
    store = job.batches.store
    keys = job.batches.keys[:TIMED_FRAMES]
    images = store.images(store.rows_of(keys), dtype=precision)
    job.model.eval()
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        if isinstance(job, DetectorTask):
            detect_images(job.model, images, [store.scales[sequence] for sequence, _ in keys])
        else:
            image_probabilities(job.model, images)
        seconds = time.perf_counter() - started  # the answers are in host memory
    return {"frames": len(keys), "seconds": round(seconds, 6)}


def stops_all(problem: Exception) -> bool:
    """Whether the next run would meet it as well: no room on the disk, or no way to the files."""
    return isinstance(problem, StorageError) or (
        isinstance(problem, OSError) and problem.errno in NO_STORAGE
    )


def reason_of(problem: Exception) -> str:
    """Why a run failed, as a sentence that says what to do about it."""
    if isinstance(problem, torch.OutOfMemoryError):
        first_line = str(problem).partition("\n")[0]
        return (
            f"the GPU's memory is too small for it ({first_line}). Give each run a whole GPU "
            "(`--lanes.gpus 1`) or several (`--lanes.ranks 2`), or lower its batch size."
        )
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return f"the disk is full ({problem.filename or 'while writing'}). Make room."
    if isinstance(problem, StorageError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}"
