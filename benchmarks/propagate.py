"""Box propagation: ours beside plain CSR-DCF, from one key box per lesion to every other frame.

By default it is scored on a phantom archive's truth; with ``--cohort`` on a cohort in which a
reader boxed every frame, such as an imported Danilov set. Every lesion is tracked from three key
boxes in turn, a quarter, half and three quarters through its frames; no other box is seen.
In a cohort of several patients each patient is left out once: constants are chosen from a few, and
the confidence is fitted, on all others. The numbers are of the patients left out. Some cines
are corrected besides, as in a review: tracked from one key box, then again with a second one.

    python benchmarks/propagate.py --out benchmarks/results/propagate_phantom.json
    python benchmarks/propagate.py --cohort danilov --out benchmarks/results/propagate_danilov.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import Ratio
from preprocess.cohort import BoxSource, Cohort, Verdict
from preprocess.dicom.reader import read_cine
from preprocess.phantom.archive import write_archive
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.truth import read_truth
from preprocess.tracking.boxes import BoxXyxy, KeyBox, Tracker, overlap
from preprocess.tracking.csrt import CsrtTracker
from preprocess.tracking.joint import Constants, JointTracker, confidence
from preprocess.tracking.propagate import PropagateSettings

SEED = 11
STARTS = (1 / 4, 1 / 2, 3 / 4)
"""Key boxes, as a share of the way through a lesion's frames."""
CORRECTED, CORRECTED_FRAMES = 6, 60
"""Lesions that are corrected, and how long their cines are made by playing there and back."""
MISSED, FOUND = 0.2, 0.5
"""IoU below which a box is off its lesion, and from which it is on it."""
CHOICES = [
    Constants(least_window=least, step_cost=cost)
    for least, cost in itertools.product((0.03, 0.04, 0.05), (0.1, 0.2))
]

Make = Callable[[NDArray[np.uint8]], Tracker]


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion of one cine, and every box that would be right in each frame."""

    patient: str
    frames: NDArray[np.uint8]
    boxes: dict[int, list[BoxXyxy]]


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """What one method did with all lesions: N boxes, and the processor seconds for them."""

    patient: NDArray[np.str_]
    start: NDArray[np.float64]
    iou: NDArray[np.float64]
    confidence: NDArray[np.float64]
    evidence: NDArray[np.float64]
    """float[N, E], of which the confidence is made; E = 0 for another method's."""
    seconds: float

    def numbers(self) -> dict[str, tuple[Ratio, str, bool]]:
        """Measure, unit and whether higher is better, by name."""
        judge = PropagateSettings().verdict
        doubted = np.asarray([judge(value) is not Verdict.GOOD for value in self.confidence])
        missed, found, every = self.iou < MISSED, self.iou >= FOUND, np.ones(len(self.iou), bool)

        def mean(of: NDArray[np.float64] | NDArray[np.bool_], within: NDArray[np.bool_]) -> Ratio:
            return Ratio(numerator=of * within, denominator=within.astype(float))

        return {
            "mean IoU": (mean(self.iou, every), "IoU", True),
            f"IoU >= {MISSED}": (mean(~missed, every), "share of boxes", True),
            f"IoU >= {FOUND}": (mean(found, every), "share of boxes", True),
            f"IoU < {MISSED} marked check or lost": (mean(doubted, missed), "share of them", True),
            f"IoU >= {FOUND} marked check or lost": (mean(doubted, found), "share of them", False),
            "mean IoU from the middle frame": (mean(self.iou, self.start == 0.5), "IoU", True),
            f"IoU >= {MISSED} from the middle frame": (
                mean(~missed, self.start == 0.5),
                "share of boxes",
                True,
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
    lesions = list(of_cohort(options.cohort) if options.cohort else of_phantom(options.sequences))
    patients = sorted({lesion.patient for lesion in lesions})
    chosen: dict[str, object] = {}
    if options.cohort and len(patients) > 1:
        tried = {choice: follow(lesions, of(choice)) for choice in CHOICES}
        ours, left_out = without_each(patients, tried)
        chosen = {"left_out": left_out, "all": asdict(choose(tried, without=""))}
    else:
        ours = follow(lesions, JointTracker)
    peer = follow(lesions, CsrtTracker)
    jackknife = Jackknife.of(list(ours.patient))
    rows: list[dict[str, object]] = []

    def add(name: str, value: float, other: float, unit: str, higher: bool) -> None:
        row = {"name": name, "ours": round(value, 3), "peer": round(other, 3), "unit": unit}
        rows.append({**row, "higher_is_better": higher})
        print(f"{name:<44}{value:>8.3g}{other:>10.3g}   {unit}")

    print(f"\n{'':<44}{'ours':>8}{'CSR-DCF':>10}")
    for (name, (measure, unit, higher)), (other, _, _) in zip(
        ours.numbers().items(), peer.numbers().values(), strict=True
    ):
        add(name, measure.value or 0.0, other.value or 0.0, unit, higher)
        interval = jackknife.interval(measure)
        rows[-1]["ci95"] = interval and [round(limit, 3) for limit in interval]
        print(f"{'':<44}{interval}")
    speeds = (len(tracks.iou) / tracks.seconds for tracks in (ours, peer))
    add("speed", *speeds, "frames/s on one core", True)
    corrections = (correct(lesions[:CORRECTED], make) for make in (JointTracker, CsrtTracker))
    for name, value, other in zip(
        (f"{CORRECTED_FRAMES} frames from one key box", "a corrected box there, tracked again"),
        *corrections,
        strict=True,
    ):
        add(name, value, other, "s on one core", False)
    of_patients = [float(ours.iou[ours.patient == name].mean().round(3)) for name in patients]
    machine = {"processor": platform.processor() or platform.machine(), "opencv": cv2.__version__}
    written = {"machine": machine, "rows": rows, "iou_of_each_patient": of_patients, **chosen}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(written, indent=1) + "\n")
    print(f"Wrote {options.out}")


def of(constants: Constants) -> Make:
    """Our tracker with these constants."""
    return lambda frames: JointTracker(frames, constants=constants)


def follow(lesions: list[Lesion], make: Make) -> Tracks:
    """Track every lesion from each start."""
    found, seconds = [], 0.0
    for lesion in lesions:
        boxed = sorted(lesion.boxes)
        for start in STARTS:
            first = boxed[int(start * len(boxed))]
            key = KeyBox(frame_index=first, box_xyxy=lesion.boxes[first][0])
            begun = time.process_time()
            boxes = make(lesion.frames).track([key], range(boxed[0], boxed[-1] + 1))
            seconds += time.process_time() - begun
            for box in boxes:
                if right := lesion.boxes.get(box.frame_index):
                    iou = max(overlap(box.box_xyxy, other) for other in right)
                    found.append((lesion.patient, start, iou, box.confidence, box.evidence))
    patient, start, iou, sure, evidence = (
        np.asarray(column) for column in zip(*found, strict=True)
    )
    return Tracks(
        patient=patient, start=start, iou=iou, confidence=sure, evidence=evidence, seconds=seconds
    )


def choose(tried: dict[Constants, Tracks], without: str) -> Constants:
    """The constants of the highest mean IoU, and a fitted confidence, without one patient.

    The confidence separates what is missed from the rest, with equal weight on both.
    """
    best, tracks = max(
        tried.items(), key=lambda one: float(one[1].iou[one[1].patient != without].mean())
    )
    known = tracks.patient != without
    fitted = LogisticRegression(class_weight="balanced")
    fitted.fit(tracks.evidence[known], tracks.iou[known] >= MISSED)
    weights = (float(fitted.intercept_[0]), *(float(weight) for weight in fitted.coef_[0]))
    return replace(best, weights=(weights[0], weights[1], weights[2]))


def without_each(
    patients: list[str], tried: dict[Constants, Tracks]
) -> tuple[Tracks, list[dict[str, object]]]:
    """The tracks of each patient by constants that were chosen without him, and those constants."""
    parts, constants = [], []
    for patient in patients:
        one = choose(tried, without=patient)
        tracks = tried[replace(one, weights=Constants().weights)]
        here = tracks.patient == patient
        sure = [confidence(one.weights, evidence) for evidence in tracks.evidence[here]]
        parts.append((tracks, here, np.asarray(sure)))
        constants.append(asdict(one))

    def joined(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(tracks, name)[here] for tracks, here, _ in parts])

    seconds = sum(tracks.seconds * float(here.mean()) for tracks, here, _ in parts)
    return Tracks(
        patient=joined("patient"),
        start=joined("start"),
        iou=joined("iou"),
        confidence=np.concatenate([sure for *_, sure in parts]),
        evidence=joined("evidence"),
        seconds=seconds,
    ), constants


def correct(lesions: list[Lesion], make: Make) -> tuple[float, float]:
    """The median seconds for 60 frames from one key box, and again with a second one beside it."""
    seconds: list[list[float]] = [[], []]
    for lesion in lesions:
        missing = max(CORRECTED_FRAMES - len(lesion.frames), 0)
        frames = np.pad(lesion.frames, ((0, missing), (0, 0), (0, 0)), mode="reflect")
        frames = frames[:CORRECTED_FRAMES]
        box = next(iter(lesion.boxes.values()))[0]
        moved = (box[0] + 4, box[1], box[2] + 4, box[3])
        keys = [
            KeyBox(frame_index=CORRECTED_FRAMES * quarter // 4, box_xyxy=placed)
            for quarter, placed in ((2, box), (3, moved))
        ]
        tracker = make(frames)
        for placed, into in ((keys[:1], seconds[0]), (keys, seconds[1])):
            start = time.process_time()
            tracker.track(placed, range(CORRECTED_FRAMES))
            into.append(time.process_time() - start)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))


def of_cohort(folder: Path) -> Iterator[Lesion]:
    """The sequences of a cohort with a reader's box on at least three frames."""
    cohort = Cohort.open(folder)
    boxes: dict[str, dict[int, list[BoxXyxy]]] = defaultdict(lambda: defaultdict(list))
    for box in cohort.boxes:
        if box.source is not BoxSource.TRACKED:
            boxes[box.sequence_id][box.frame_index].append(box.box_xyxy)
    for sequence_id, by_frame in boxes.items():
        if len(by_frame) >= 3:
            yield Lesion(
                patient=cohort.sequences[sequence_id].patient_id,
                frames=cohort.cine_8bit(sequence_id),
                boxes=dict(by_frame),
            )


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
            for by_frame in boxes.values():
                if len(by_frame) >= 3:
                    yield Lesion(
                        patient=truth.patient_id,
                        frames=cine.acquisition.display.apply(cine.frames),
                        boxes=by_frame,
                    )


if __name__ == "__main__":
    main()
