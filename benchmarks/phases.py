"""Proposed phase bounds and reference frames against a phantom's truth.

Each cine is scored whole, and once more cut: it then begins anywhere up to the frame in which the
arteries are full, and ends anywhere after contrast begins to leave. Two naive peers: thresholds on
the mean darkness of a frame, and bounds at fixed shares of the length. The phantom draws its
bounds around these very shares, so only the cut cines tell what the second is worth.

    python benchmarks/phases.py --out benchmarks/results/phases.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.contrast.filling import measure_filling
from preprocess.contrast.phases import phase_bounds, quiet_frame
from preprocess.dicom.reader import read_cine
from preprocess.phantom.archive import write_archive
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.truth import SequenceTruth, read_truth

NAMES = ("introducing_start", "optimal_start", "vanishing_start", "reference_frame")
FIXED_SHARES = (0.14, 0.33, 0.73, 0.53)
"""The phantom's own means; the last is the middle of the optimal interval."""
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cine, whole or cut, and its truth in the order of ``NAMES``."""

    kind: str
    frames: Frames
    truth: NDArray[np.int64]


def main() -> None:
    """Write a phantom, propose, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--sequences", type=int, default=48, help="cines of the phantom")
    parser.add_argument("--seed", type=int, default=77, help="the phantom's seed")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    settings = PhantomSettings(
        patients=(options.sequences + 1) // 2,
        sequences=options.sequences,
        frames_min=30,
        frames_max=60,
        seed=options.seed,
        implant_fraction=0,
        pacemaker_fraction=0,
        ifr_wire_fraction=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_archive(Path(folder), settings)
        rows = measure(Path(folder), np.random.default_rng(options.seed))
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "opencv": cv2.__version__,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(f"{'':76} {'ours':>8} {'peer':>8}")
    for row in rows:
        print(f"{row['name']:76} {row['ours']:8.2f} {row['peer']:8.2f}  {row['unit']}")
    print(f"Wrote {options.out}")


def measure(archive: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Every cine decoded, judged by all three, and scored."""
    found: dict[str, list[tuple[Case, list[NDArray[np.int64]]]]] = {"whole": [], "cut": []}
    seconds = {"decoding": 0.0, "proposing": 0.0}
    frames = 0
    for truth in read_truth(archive / "truth" / "truth.json"):
        start = time.perf_counter()
        cine = read_cine(archive / "dicom" / truth.file)
        seconds["decoding"] += time.perf_counter() - start
        for case in cases(cine.acquisition.display.apply(cine.frames), truth, rng):
            start = time.perf_counter()
            ours = proposed(case.frames)
            seconds["proposing"] += (time.perf_counter() - start) * (case.kind == "whole")
            guesses = [ours, by_darkness(case.frames), by_shares(len(case.frames))]
            found[case.kind].append((case, guesses))
        frames += truth.frames
    rows = [row for kind, judged in found.items() for row in scores(kind, judged)]
    speed = [round(frames / seconds[name], 1) for name in ("proposing", "decoding")]
    rows.append(_row("proposing beside decoding, one core", *speed, "frames/s", True))
    return rows


def cases(frames: Frames, truth: SequenceTruth, rng: np.random.Generator) -> Iterator[Case]:
    """The cine whole, and cut at both ends."""
    whole = np.array([getattr(truth, name) for name in NAMES])
    yield Case(kind="whole", frames=frames, truth=whole)
    first = int(rng.integers(0, truth.optimal_start + 1))
    end = int(rng.integers(truth.vanishing_start, truth.frames + 1))
    cut = np.clip(whole - first, 0, end - first)
    yield Case(kind="cut", frames=frames[first:end], truth=cut)


def proposed(frames: Frames) -> NDArray[np.int64]:
    """What ingest proposes; nothing found counts as no contrast at all."""
    filling = measure_filling(frames)
    bounds = phase_bounds(filling)
    if bounds is None:
        return np.full(4, len(frames))
    return np.array([*bounds, quiet_frame(filling, range(*bounds[1:]))])


def by_darkness(frames: Frames) -> NDArray[np.int64]:
    """Filled where a frame is darker than half-way; contrast begins at a tenth of the way."""
    dark = -frames.mean(axis=(1, 2))
    dark = (dark - dark.min()) / max(float(np.ptp(dark)), 1e-9)
    filled = np.flatnonzero(dark >= 0.5)
    return np.array([np.argmax(dark >= 0.1), filled[0], filled[-1] + 1, np.argmax(dark)])


def by_shares(length: int) -> NDArray[np.int64]:
    """Bounds that never look at the frames."""
    return np.rint(np.array(FIXED_SHARES) * length).astype(np.int64)


def scores(
    kind: str, judged: list[tuple[Case, list[NDArray[np.int64]]]]
) -> Iterator[dict[str, Any]]:
    """Mean absolute errors and shares of one kind of cine, beside each peer."""
    truths = np.stack([case.truth for case, _ in judged])
    guesses = np.stack([guess for _, guess in judged], axis=1)
    errors = np.abs(guesses - truths).mean(axis=1)
    precise, held = zip(
        *(_overlap(guess[:, 1:3], truths[:, 1:3]) for guess in guesses), strict=True
    )
    bare = [_overlap(_opening(guess), _opening(truths))[0] for guess in guesses]
    for peer, peer_name in ((1, "darkness"), (2, "fixed shares")):
        for column, name in enumerate(NAMES):
            title = f"{kind}: error of {name}, beside {peer_name}"
            yield _row(title, errors[0, column], errors[peer, column], "frames", False)
        title = f"{kind}: proposed frames without contrast that have none, beside {peer_name}"
        yield _row(title, bare[0], bare[peer], "share", True)
        title = f"{kind}: proposed optimal frames that are optimal, beside {peer_name}"
        yield _row(title, precise[0], precise[peer], "share", True)
        title = f"{kind}: optimal frames that are proposed, beside {peer_name}"
        yield _row(title, held[0], held[peer], "share", True)


def _opening(bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The intervals without contrast: first frame and the one after the last."""
    return np.stack([np.zeros_like(bounds[:, 0]), bounds[:, 0]], axis=1)


def _overlap(guess: NDArray[np.int64], truth: NDArray[np.int64]) -> tuple[float, float]:
    """The shares of the guessed and of the true intervals' frames (int64[N, 2]) that are both."""
    both = np.minimum(guess[:, 1], truth[:, 1]) - np.maximum(guess[:, 0], truth[:, 0])
    common = float(both.clip(0).sum())
    guessed, true = (float((ends[:, 1] - ends[:, 0]).sum()) for ends in (guess, truth))
    return common / max(guessed, 1), common / max(true, 1)


def _row(name: str, ours: float, peer: float, unit: str, higher: bool) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(float(ours), 3),
        "peer": round(float(peer), 3),
        "ratio": round(float(ours) / max(float(peer), 1e-9), 3),
        "unit": unit,
        "higher_is_better": higher,
    }


if __name__ == "__main__":
    main()
