"""The archive on disk: files, labels and truth, written in parallel and resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from preprocess.console.progress import track
from preprocess.phantom import dicom_file, labels, reader
from preprocess.phantom.film import Film
from preprocess.phantom.plan import ArchivePlan, make
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.truth import SequenceTruth, write_truth
from preprocess.storage.atomic import write_bytes, write_json, write_text

SCHEMA_VERSION = 1
FINISHED = "phantom.json"
STARTED = "phantom.unfinished.json"


@dataclass(frozen=True, kw_only=True)
class ArchiveSummary:
    """What an archive holds."""

    folder: Path
    patients: int
    sequences: int
    """Usable ones."""
    discarded: int
    healthy: int
    """Usable sequences without a lesion."""
    frames: int
    dicom_bytes: int
    already_there: bool = False
    """The folder held this very archive; nothing was written."""


def write_archive(out: Path, settings: PhantomSettings) -> ArchiveSummary:
    """Write a synthetic archive: DICOM files, labels, regions and truth.

    ``phantom.json`` comes last and says that the archive is complete. The same call continues an
    unfinished archive, and leaves a finished one as it is.

    Args:
        out: a new or empty folder, or one that holds this archive in part or whole.
        settings: what it is to hold.

    Raises:
        ValueError: ``out`` holds something else, or an archive of other settings.
    """
    if _finished(out, settings):
        return _summary(out, already_there=True)
    _claim(out, settings)
    plans = make(settings)
    truths = _write_sequences(out, plans, settings)
    (out / "truth").mkdir(exist_ok=True)
    write_truth(out / "truth" / "truth.json", truths)
    write_text(out / "labels" / "sequences.csv", labels.sequences_csv(truths))
    key = hashlib.sha256(f"phantom key {settings.seed}".encode()).hexdigest()
    write_text(out / "phantom.key", key + "\n", mode=0o600)
    usable = [t for t in truths if not t.exclude]
    write_json(
        out / FINISHED,
        {
            "schema_version": SCHEMA_VERSION,
            "settings": _identity(settings),
            "patients": len({t.patient_id for t in truths}),
            "sequences": len(usable),
            "discarded": len(truths) - len(usable),
            "healthy": sum(not t.lesions for t in usable),
            "frames": sum(t.frames for t in truths),
            "dicom_bytes": sum((out / "dicom" / t.file).stat().st_size for t in truths),
        },
    )
    (out / STARTED).unlink()
    return _summary(out, already_there=False)


def _identity(settings: PhantomSettings) -> dict[str, Any]:
    """The settings that decide about the bytes."""
    return {name: value for name, value in asdict(settings).items() if name != "processes"}


def _finished(out: Path, settings: PhantomSettings) -> bool:
    if not (out / FINISHED).is_file():
        return False
    _compare(out, out / FINISHED, settings)
    return True


def _claim(out: Path, settings: PhantomSettings) -> None:
    """Mark the folder as an archive in the making, if it may become one."""
    mark = out / STARTED
    if mark.is_file():
        _compare(out, mark, settings)
        return
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected a new or empty folder. Name another one.")
    if out.is_dir() and (others := sorted(p.name for p in out.iterdir())):
        raise ValueError(
            f"{out} is not empty (it holds {', '.join(others[:3])}) and no phantom archive; "
            "expected a new or empty folder. Name another one."
        )
    for part in ("dicom", "labels/rois"):
        (out / part).mkdir(parents=True, exist_ok=True)
    write_json(mark, {"schema_version": SCHEMA_VERSION, "settings": _identity(settings)})


def _compare(out: Path, mark: Path, settings: PhantomSettings) -> None:
    document = json.loads(mark.read_text(encoding="utf-8"))
    found, wanted = document.get("settings", {}), _identity(settings)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{out} holds a phantom archive of schema version {document.get('schema_version')!r}; "
            f"this version writes {SCHEMA_VERSION}. Name another folder, or remove that one first."
        )
    if found != wanted:
        differences = ", ".join(
            f"{name} is {found.get(name)!r} there and {wanted.get(name)!r} here"
            for name in sorted({*found, *wanted})
            if found.get(name) != wanted.get(name)
        )
        raise ValueError(
            f"{out} holds a phantom archive of other settings: {differences}. Name another folder, "
            "or remove that one first."
        )


def _summary(out: Path, *, already_there: bool) -> ArchiveSummary:
    document = json.loads((out / FINISHED).read_text(encoding="utf-8"))
    counts = {k: v for k, v in document.items() if k not in ("schema_version", "settings")}
    return ArchiveSummary(folder=out, already_there=already_there, **counts)


def _write_sequences(
    out: Path, plans: tuple[ArchivePlan, ...], settings: PhantomSettings
) -> list[SequenceTruth]:
    """Every sequence, in the order of the plans, on as many processes as asked for."""
    processes = min(settings.processes or os.cpu_count() or 1, len(plans))
    run = _in_this_process if processes == 1 else _in_processes
    done = run(out, plans, settings.seed, processes)
    truths = dict(track(done, total=len(plans), label="phantom sequences"))
    return [truths[number] for number in sorted(truths)]


def _in_this_process(
    out: Path, plans: tuple[ArchivePlan, ...], seed: int, processes: int
) -> Iterator[tuple[int, SequenceTruth]]:
    assert processes == 1
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for plan in plans:
            yield plan.number, _write_sequence(out, plan, seed)
    finally:
        cv2.setNumThreads(threads)


def _in_processes(
    out: Path, plans: tuple[ArchivePlan, ...], seed: int, processes: int
) -> Iterator[tuple[int, SequenceTruth]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        tasks = {pool.submit(_write_sequence, out, plan, seed): plan.number for plan in plans}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        except BaseException:
            # Without this, leaving the pool would first finish every sequence still in the queue.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_sequence(out: Path, plan: ArchivePlan, seed: int) -> SequenceTruth:
    """One sequence's region export and DICOM file, unless they are there; its truth in any case."""
    scene = Scene.of(plan, seed)
    truth = reader.sequence_truth(scene)
    path = out / "dicom" / plan.path
    if path.is_file():
        return truth
    frames = list(Film(scene).frames())
    if not plan.exclude and (boxes := reader.drawn_boxes(scene, truth)):
        lumens = reader.drawn_outlines(scene, truth)
        frame = np.asarray(frames[truth.reference_frame])
        name = f"{plan.patient.patient_id}_{Path(plan.path).stem}.xml"
        write_bytes(
            out / "labels" / "rois" / name, labels.osirix_xml(scene, truth, boxes, lumens, frame)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file comes last: where it is, the sequence is complete.
    write_bytes(path, dicom_file.encode(frames, scene))
    return truth
