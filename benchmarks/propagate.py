"""Box propagation: ours beside plain CSR-DCF, from one key box per lesion to every other frame.

By default it is scored on a phantom archive's truth; with ``--cohort`` on a cohort in which a
reader boxed every frame, such as an imported Danilov set. The key box is the one of the middle
frame; no other box is seen by either. Some cines are corrected besides, as in a review: they are
tracked from one key box, then again with a second one.

    python benchmarks/propagate.py --out benchmarks/results/propagate_phantom.json
    python benchmarks/propagate.py --cohort danilov --out benchmarks/results/propagate_danilov.json
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import BoxSource, Cohort, Verdict
from preprocess.dicom.reader import read_cine
from preprocess.phantom.archive import write_archive
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.truth import read_truth
from preprocess.tracking.boxes import BoxXyxy, KeyBox, overlap
from preprocess.tracking.methods import TRACKERS
from preprocess.tracking.propagate import PropagateSettings

SEED = 11
CORRECTED, CORRECTED_FRAMES = 6, 60
"""Lesions that are corrected, and how long their cines are made by playing there and back."""
MISSED, FOUND = 0.2, 0.5
"""IoU below which a box is off its lesion, and from which it is on it."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion of one cine, and every box that would be right in each frame."""

    name: str
    frames: NDArray[np.uint8]
    boxes: dict[int, list[BoxXyxy]]


@dataclass(kw_only=True)
class Score:
    """What one method did with all lesions."""

    seconds: float = 0.0
    ious: list[float] = field(default_factory=list)
    doubted: list[bool] = field(default_factory=list)
    anew: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    def numbers(self) -> dict[str, tuple[float, str, bool]]:
        """Value, unit and whether higher is better, by name."""
        iou, doubted = np.asarray(self.ious), np.asarray(self.doubted)
        missed, found = iou < MISSED, iou >= FOUND
        return {
            "mean IoU": (float(iou.mean()), "IoU", True),
            f"IoU >= {MISSED}": (float((iou >= MISSED).mean()), "share of frames", True),
            f"IoU >= {FOUND}": (float(found.mean()), "share of frames", True),
            f"IoU < {MISSED}": (float(missed.sum()), "frames", False),
            f"IoU < {MISSED} marked check or lost": (
                float(doubted[missed].mean()) if missed.any() else 1.0,
                "share of those frames",
                True,
            ),
            f"IoU >= {FOUND} marked check or lost": (
                float(doubted[found].mean()),
                "share of those frames",
                False,
            ),
            "speed": (len(iou) / self.seconds, "frames/s on one core", True),
            f"{CORRECTED_FRAMES} frames from one key box": (
                float(np.median(self.anew)),
                "s on one core",
                False,
            ),
            "a corrected box there, tracked again": (
                float(np.median(self.again)),
                "s on one core",
                False,
            ),
        }


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--cohort", type=Path, help="a cohort with a reader's box on every frame")
    parser.add_argument("--sequences", type=int, default=24, help="of the phantom")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    lesions = of_cohort(options.cohort) if options.cohort else of_phantom(options.sequences)
    ours, peer = Score(), Score()
    print(f"{'mean IoU of each lesion':<44}{'ours':>8}{'CSR-DCF':>10}{'frames':>8}")
    for number, lesion in enumerate(lesions):
        if number < CORRECTED:
            correct(lesion, "joint", ours)
            correct(lesion, "csrt", peer)
        means = [follow(lesion, "joint", ours), follow(lesion, "csrt", peer)]
        print(f"{lesion.name:<44}{means[0]:>8.2f}{means[1]:>10.2f}{len(lesion.boxes):>8}")
    rows = []
    print(f"\n{'':<44}{'ours':>8}{'CSR-DCF':>10}")
    for (name, (value, unit, higher)), (other, _, _) in zip(
        ours.numbers().items(), peer.numbers().values(), strict=True
    ):
        rows.append(
            {
                "name": name,
                "ours": round(value, 3),
                "peer": round(other, 3),
                "ratio": round(value / other, 2) if other else None,
                "unit": unit,
                "higher_is_better": higher,
            }
        )
        print(f"{name:<44}{value:>8.3g}{other:>10.3g}   {unit}")
    machine = {"processor": platform.processor() or platform.machine(), "opencv": cv2.__version__}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(f"Wrote {options.out}")


def follow(lesion: Lesion, method: str, score: Score) -> float:
    """Track one lesion from its middle boxed frame, and return its mean IoU."""
    boxed = sorted(lesion.boxes)
    middle = boxed[len(boxed) // 2]
    key = KeyBox(frame_index=middle, box_xyxy=lesion.boxes[middle][0])
    start = time.process_time()
    found = TRACKERS[method](lesion.frames).track([key], range(boxed[0], boxed[-1] + 1))
    score.seconds += time.process_time() - start
    ious = []
    for box in found:
        if right := lesion.boxes.get(box.frame_index):
            ious.append(max(overlap(box.box_xyxy, other) for other in right))
            verdict = PropagateSettings().verdict(box.confidence)
            score.doubted.append(verdict is not Verdict.GOOD)
    score.ious += ious
    return float(np.mean(ious))


def correct(lesion: Lesion, method: str, score: Score) -> None:
    """Track a cine of 60 frames from one key box, and again with a second one beside it."""
    missing = max(CORRECTED_FRAMES - len(lesion.frames), 0)
    frames = np.pad(lesion.frames, ((0, missing), (0, 0), (0, 0)), mode="reflect")
    frames = frames[:CORRECTED_FRAMES]
    box = next(iter(lesion.boxes.values()))[0]
    moved = (box[0] + 4, box[1], box[2] + 4, box[3])
    keys = [
        KeyBox(frame_index=CORRECTED_FRAMES * quarter // 4, box_xyxy=placed)
        for quarter, placed in ((2, box), (3, moved))
    ]
    tracker = TRACKERS[method](frames)
    for placed, seconds in ((keys[:1], score.anew), (keys, score.again)):
        start = time.process_time()
        tracker.track(placed, range(CORRECTED_FRAMES))
        seconds.append(time.process_time() - start)


def of_cohort(folder: Path) -> Iterator[Lesion]:
    """The sequences of a cohort with a reader's box on at least three frames."""
    cohort = Cohort.open(folder)
    boxes: dict[str, dict[int, list[BoxXyxy]]] = defaultdict(lambda: defaultdict(list))
    for box in cohort.boxes:
        if box.source is not BoxSource.TRACKED:
            boxes[box.sequence_id][box.frame_index].append(box.box_xyxy)
    for sequence_id, by_frame in boxes.items():
        if len(by_frame) >= 3:
            frames = cohort.cine_8bit(sequence_id)
            yield Lesion(name=sequence_id, frames=frames, boxes=dict(by_frame))


def of_phantom(sequences: int) -> Iterator[Lesion]:
    """Every lesion of a phantom archive, in its optimal frames."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder)
        write_archive(
            archive,
            PhantomSettings(patients=max(sequences // 2, 1), sequences=sequences, seed=SEED),
        )
        for truth in read_truth(archive / "truth" / "truth.json"):
            optimal = range(truth.optimal_start, truth.vanishing_start)
            boxes: dict[int, dict[int, list[BoxXyxy]]] = defaultdict(dict)
            for box in truth.boxes:
                if box.frame_index in optimal:
                    boxes[box.lesion_id][box.frame_index] = [box.box_xyxy]
            if truth.exclude or not boxes:
                continue
            cine = read_cine(archive / "dicom" / truth.file)
            for lesion_id, by_frame in boxes.items():
                if len(by_frame) >= 3:
                    yield Lesion(
                        name=f"{truth.view} {truth.file}, lesion {lesion_id}",
                        frames=cine.acquisition.display.apply(cine.frames),
                        boxes=by_frame,
                    )


if __name__ == "__main__":
    main()
