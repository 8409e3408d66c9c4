"""Frames of several processes of one machine, held once; and frames read while a run trains.

Four processes of one thread load the same frames of a cohort. Ours share them in memory; the peers
have a copy each. Counted are the seconds until the last has them, and the proportional memory
(PSS) that they add. Then batches are made of frames that are read meanwhile, with memory for two
batches or for half of all frames; the peer has all of them there.

    python benchmarks/shared_frames.py --out benchmarks/results/shared_frames.json
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as processes
from measuring import Row, show, side_by_side, write

from angioray.training.batches import Batches
from angioray.training.frame_placement import Share
from angioray.training.frame_stream import FrameStream
from angioray.training.frames import FrameStore, StreamedFrames, load_frames
from angioray.training.settings import AugmentationSettings
from preprocess.cohort import Cohort, Sequence, frames_digest, store_cine, write_annotations
from preprocess.cohort.display import Display

CINES, LENGTH, SIZE, BATCH = 16, 40, 512, 16
LANES = 4
CPU = torch.device("cpu")
MIB = 2**20


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--turns", type=int, default=5, help="timed turns of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_cohort(Path(folder))
        found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for turn in range(options.turns + 1):
            for shared in (True, False):
                measured = load_together(folder, shared=shared)
                if turn:
                    found[shared].append(measured)
        what = f"{LANES} processes load {CINES * LENGTH} frames of {SIZE} x {SIZE}"
        rows = [
            compared(f"{what}: the last one has them", "s", lambda m: m[0], found),
            compared(f"{what}: memory for them", "MiB", lambda m: m[1], found),
        ]
        for row in rows:
            show(row)
        cohort, all_of_it = Cohort.open(folder), CINES * LENGTH
        resident = batches_of(load(cohort, None))
        for room in (2 * BATCH, all_of_it // 2):
            name = f"batches of {BATCH} frames of {SIZE} x {SIZE}, memory for {room} of {all_of_it}"
            streamed = batches_of(stream(cohort, room))
            rows.append(compare_batches(name, streamed, resident, options.turns))
    write(options.out, rows, CPU)


def write_cohort(folder: Path) -> None:
    """Cines of a grey with the noise of an angiogram (sigma 6)."""
    generator, sequences = np.random.default_rng(0), []
    for number in range(CINES):
        noise = generator.normal(128, 6, (LENGTH, SIZE, SIZE))
        frames = noise.clip(0, 255).astype(np.uint8)
        sequence = Sequence(
            sequence_id=f"S{number}",
            patient_id=f"P{number}",
            view=None,
            length=LENGTH,
            height=SIZE,
            width=SIZE,
            bits_stored=8,
            display=Display(lower=0, upper=255),
            frames_digest=frames_digest(frames),
        )
        sequences.append(sequence)
        store_cine(folder, sequence, frames)
    write_annotations(folder, sequences, [])


def load(cohort: Cohort, share: Share | None) -> FrameStore:
    """All frames of the cohort."""
    keys = [(name, t) for name in cohort.sequences for t in range(LENGTH)]
    return load_frames(cohort, keys, size=SIZE, device=CPU, share=share)


def stream(cohort: Cohort, room: int) -> FrameStore:
    """The same frames, of which so many are in memory at a time."""
    store = load(cohort, Share(host=1e-8))
    assert isinstance(store, StreamedFrames)
    threads = torch.get_num_threads()
    return replace(store, stream=FrameStream(store.stream.read, room=room, threads=threads))


def load_together(folder: str, *, shared: bool) -> tuple[float, float]:
    """Seconds until the last process has its frames, and MiB that all of them take for it."""
    context = processes.get_context("spawn")
    ready, answers = context.Barrier(LANES), context.Queue()
    workers = [
        context.Process(target=load_here, args=(folder, shared, ready, answers))
        for _ in range(LANES)
    ]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return max(seconds for seconds, _ in found), sum(memory for _, memory in found)


def load_here(folder: str, shared: bool, ready: Any, answers: Any) -> None:
    """In a process of its own: load once all are ready, and count memory once all have loaded."""
    torch.set_num_threads(1)
    cohort = Cohort.open(folder)
    cohort.cine("S0")  # Zarr is imported
    ready.wait()
    before = proportional_memory()
    ready.wait()
    began = time.perf_counter()
    store = load(cohort, Share(host=1 / LANES, frames=1) if shared else None)
    seconds = time.perf_counter() - began
    store.pixels.sum()  # every page is mapped
    ready.wait()
    answers.put((seconds, proportional_memory() - before))
    ready.wait()


def proportional_memory() -> float:
    """MiB of this process, of pages that several have its part alone."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / MIB


def compared(
    name: str,
    unit: str,
    value: Callable[[tuple[float, float]], float],
    found: dict[bool, list[tuple[float, float]]],
) -> Row:
    """A row of medians, of which less is better."""
    ours, peer = ([value(measured) for measured in found[shared]] for shared in (True, False))
    spread = {
        who: [round(min(v), 3), round(max(v), 3)] for who, v in (("ours", ours), ("peer", peer))
    }
    medians = statistics.median(ours), statistics.median(peer)
    return Row(name, *medians, unit, spread, higher_is_better=False)


def batches_of(store: FrameStore) -> Batches:
    """Batches as the paper's detector takes them."""
    keys = list(store.rows)
    return Batches(store, keys, store.rows_of(keys), BATCH, AugmentationSettings(), seed=0)


def compare_batches(name: str, ours: Batches, peer: Batches, turns: int) -> Row:
    """Rates in turn; an epoch before that, in which ours reads each cine whole once."""
    epoch = CINES * LENGTH // BATCH
    numbers = itertools.count()
    others = itertools.count()
    for _ in range(epoch):
        ours.take(next(numbers), rank=0, ranks=1, dtype=torch.float32)
    return side_by_side(
        name,
        lambda: ours.take(next(numbers), rank=0, ranks=1, dtype=torch.float32),
        lambda: peer.take(next(others), rank=0, ranks=1, dtype=torch.float32),
        items=BATCH,
        unit="frames/s",
        device=CPU,
        turns=turns,
        steps=epoch,
    )


if __name__ == "__main__":
    main()
