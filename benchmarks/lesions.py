"""Lesions through time beside single frames, at equal recall, and beside links by overlap alone.

On three sets of cines, each with the truth of every frame: the demo's phantoms, each judged by the
detector that its patient was held out from; longer phantoms of other patients, by all of the
demo's detectors; and with ``--data`` the real cines of Danilov et al., by a detector trained on the
stills of ARCADE alone. The constants of ``angioray/inference/lesions.py`` were set on phantoms of
seed 77, which are in none of them. Intervals of 95 % are over patients. Training takes a quarter
of an hour on two cores; it is kept under ``--work``, and the same command continues.

    python -m angioray.demo --out demo
    python benchmarks/lesions.py --demo demo --data FOLDER --out benchmarks/results/lesions.json

FOLDER holds ``arcade_stenosis_1200.tar`` and ``danilov/`` with ``sequences_8_patients.tar`` and
``labels_8_patients.csv``: frames of both public sets as JPEG, and their labels as published.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, groupby, islice
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from measuring import Row, show, write
from numpy.typing import NDArray

from angioray.evaluation.detection import per_frame
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.matching import FloatArray, Matches, box_iou, match_frames
from angioray.evaluation.measures import COUNTS, SHARES, Ratio
from angioray.evaluation.subgroups import subgroup_recalls
from angioray.inference import lesions
from angioray.inference.chosen import choose
from angioray.inference.findings import FoundBox
from angioray.inference.settings import PredictSettings
from angioray.inference.two_step import TwoStep
from angioray.study.held_out import HeldOut
from angioray.study.selection import CohortIndex, contrast_frames
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.ingest.journal import source_files
from preprocess.phantom.truth import read_truth

RECALLS = (0.2, 0.3, 0.5, 0.7)
"""Of lesions in single frames; a set has rows for those that it reaches without links."""
BOXES = 5
"""A frame, of highest score, as the paper has it."""
ON, SEQ_NMS = 0.2, 0.5
"""IoU with a lesion above which a box is on it; from which Seq-NMS links two boxes."""
HALF = 0.5
FEWEST = 20
"""Recall has a row for groups of so many boxes."""
ALONE, OVERLAP = "single frames", "linked by overlap alone (Seq-NMS)"
OF_LINKS = ("lesions found as one", "pieces of a lesion", "false lesions a cine")
"""What says nothing of boxes that are not linked."""

NO_IMPLANTS = tuple(f"--{name}_fraction=0" for name in ("implant", "pacemaker", "ifr_wire"))

Track = Mapping[int, FloatArray]
"""A lesion: its box (float[4]) by frame."""


@dataclass(frozen=True, kw_only=True)
class Cine:
    """What detectors found in a cine, and what is there."""

    patient: str
    frames: NDArray[np.uint8]
    looked_at: list[int]
    boxes: list[FoundBox]
    truth: list[Track]


@dataclass(frozen=True)
class Measured:
    """A measure and the patient of each of its parts."""

    ratio: Ratio
    patients: list[str]
    unit: str = ""
    higher_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All cines of a set as one method sees them, its boxes scored and matched."""

    cines: Sequence[Cine]
    predicted: Sequence[Sequence[tuple[float, Track]]]
    """Lesions of each cine and their scores; without links each box is one."""

    @cached_property
    def matches(self) -> Matches:
        """Every box in its frame; frames are numbered through all cines."""
        truth, found, image = {}, {}, count()
        for cine, predicted in zip(self.cines, self.predicted, strict=True):
            for t in cine.looked_at:
                there = [(score, track[t]) for score, track in predicted if t in track]
                boxes = np.array([box for _, box in there]).reshape(-1, 4)
                i = next(image)
                found[i] = boxes, np.array([score for score, _ in there])
                if lesions_here := [track[t] for track in cine.truth if t in track]:
                    truth[i] = np.array(lesions_here)
        return match_frames(truth, found, range(next(image)), iou_above=ON, max_detections=BOXES)

    def threshold(self, recall: float) -> float | None:
        """The highest score above which boxes find that share of lesions; None if none does."""
        right = np.sort(self.matches.score[self.matches.is_true_positive])[::-1]
        needed = int(np.ceil(recall * self.matches.frame_truths.sum()))
        return float(np.nextafter(right[needed - 1], 0)) if needed <= len(right) else None

    def measures(self, score: float) -> dict[str, Measured]:
        """What is counted of the boxes and lesions above a score, by name."""
        matches = self.matches
        kept = matches.kept(score_above=score, max_detections=BOXES)
        false = per_frame(matches, kept & ~matches.is_true_positive)
        right = per_frame(matches, kept & matches.is_true_positive)
        truths = matches.frame_truths.astype(float)
        lengths = np.array([len(cine.looked_at) for cine in self.cines])
        patients = np.repeat([cine.patient for cine in self.cines], lengths).tolist()

        def of_frames(above: FloatArray, below: FloatArray, unit: str = "") -> Measured:
            ratio = Ratio(numerator=above, denominator=below)
            return Measured(ratio, patients, unit, higher_is_better=not unit)

        found = {
            "recall": of_frames(right, truths),
            "false boxes a frame": of_frames(false, np.ones(len(false)), "boxes"),
            "false boxes a cine": of_frames(false, np.repeat(1 / lengths, lengths), "boxes"),
        }
        # Only the numbers of lesions are asked for, which no place and no iFR enters.
        somewhere = {i: np.zeros((int(n), 4)) for i, n in enumerate(truths) if n}
        for name, ratio in subgroup_recalls(matches, kept, somewhere, {}).items():
            if name.startswith("lesions-") and ratio.denominator.sum() >= FEWEST:
                there = name.removeprefix("lesions-")
                found[f"recall where a frame has {there}"] = Measured(ratio, patients)
        return found | self._through_time(score)

    def _through_time(self, score: float) -> dict[str, Measured]:
        rows, of_row, false = [], [], []
        for cine, predicted in zip(self.cines, self.predicted, strict=True):
            tracks = [track for s, track in predicted if s > score]
            places = [place(track, cine.truth) for track in tracks]
            false.append(sum(at is None for at in places))
            for number, truth in enumerate(cine.truth):
                hits = np.array([on(truth, track) for track in tracks]).reshape(-1, len(truth))
                seen = np.any(hits, axis=0)
                as_one = (hits.mean(axis=1) >= HALF).any()
                changes = np.count_nonzero(np.diff(seen))
                rows.append(
                    (seen.mean() >= HALF, as_one, places.count(number), changes, len(truth) - 1)
                )
                of_row.append(cine.patient)
        seen, as_one, pieces, changes, steps = np.array(rows, dtype=float).T

        def of_lesions(above: FloatArray, below: FloatArray, unit: str = "") -> Measured:
            rules = COUNTS if unit else SHARES
            ratio = Ratio(numerator=above, denominator=below, rules=rules)
            return Measured(ratio, of_row, unit, higher_is_better=not unit)

        each = np.ones(len(false))
        cines = Ratio(numerator=np.array(false, float), denominator=each, rules=COUNTS)
        return {
            "lesions found": of_lesions(seen, np.ones(len(seen))),
            "lesions found as one": of_lesions(as_one, np.ones(len(seen))),
            "pieces of a lesion": of_lesions(pieces, (pieces > 0).astype(float), "pieces"),
            "flicker": of_lesions(changes, steps, "changes a lesion and frame"),
            "false lesions a cine": Measured(
                cines, [cine.patient for cine in self.cines], "lesions", higher_is_better=False
            ),
        }


def on(truth: Track, track: Track) -> list[bool]:
    """Whether a predicted lesion is on a true one, in each frame of the true one."""
    return [t in track and bool(box_iou(truth[t][None], track[t][None])[0, 0] > ON) for t in truth]


def place(track: Track, truths: Sequence[Track]) -> int | None:
    """The true lesion that most boxes of a predicted one are on, if half of them are."""
    hits = [sum(on(truth, track)) for truth in truths]
    best = int(np.argmax(hits)) if hits else 0
    return best if hits and hits[best] >= HALF * len(track) else None


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="a finished demo")
    parser.add_argument("--data", type=Path, help="the folder of both public sets")
    parser.add_argument("--work", type=Path, default=Path("lesions"), help="what is kept")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    rows = [row for name, cines in sets(options) for row in rows_of(name, cines)]
    for row in rows:
        show(row)
    write(options.out, rows, torch.device("cpu"))


def sets(options: argparse.Namespace) -> Iterator[tuple[str, list[Cine]]]:
    """The sets of cines by name."""
    demo, work = options.demo, options.work
    yield "phantoms held out", detected(demo / "cohort", demo / "runs", demo / "archive")
    yield "longer phantoms", detected(long_cohort(work), demo / "runs", work / "long")
    if options.data:
        yield "Danilov", detected(danilov(options.data, work), arcade(options.data, work), None)


def detected(folder: Path, runs: Path, archive: Path | None) -> list[Cine]:
    """The optimal frames of every cine, by the models that never saw its patient.

    The truth is a phantom archive's, or the boxes of a cohort's readers.
    """
    study, cohort = Study.open(str(runs)), Cohort.open(str(folder))
    settings = PredictSettings()
    chosen, held_out = choose(study, settings), HeldOut.of(study, None, cohort)
    system = TwoStep(study, settings, torch.device("cpu"))
    index = CohortIndex.of(cohort, study.settings.view_classes)
    truth = drawn(cohort) if archive is None else simulated(folder, archive)
    cines = []
    for name, sequence in cohort.sequences.items():
        frames, looked_at = cohort.cine_8bit(name), list(contrast_frames(sequence))
        detectors = chosen.judges(held_out, name).of(index.view_class.get(name))
        boxes = system.boxes(frames, looked_at, detectors or ())
        by_frame = groupby(boxes, key=lambda box: box.frame_index)
        there = [{t: track[t] for t in looked_at if t in track} for track in truth[name]]
        if looked_at:
            cines.append(
                Cine(
                    patient=sequence.patient_id,
                    frames=frames,
                    looked_at=looked_at,
                    boxes=[box for _, found in by_frame for box in islice(found, BOXES)],
                    truth=[track for track in there if track],
                )
            )
    return cines


def simulated(folder: Path, archive: Path) -> dict[str, list[Track]]:
    """The lesions of each sequence of a phantom cohort."""
    truths = {truth.file: truth for truth in read_truth(archive / "truth" / "truth.json")}
    tracks: dict[str, list[Track]] = {}
    for sequence_id, file in source_files(folder).items():
        by_lesion: dict[int, dict[int, FloatArray]] = defaultdict(dict)
        for box in truths[file].boxes:
            by_lesion[box.lesion_id][box.frame_index] = np.array(box.box_xyxy)
        tracks[sequence_id] = list(by_lesion.values())
    return tracks


def drawn(cohort: Cohort) -> dict[str, list[Track]]:
    """The readers' boxes of each sequence; the set says of two in a frame not which is which."""
    tracks: dict[str, list[Track]] = {}
    for sequence_id in cohort.sequences:
        first: dict[int, FloatArray] = {}
        second: dict[int, FloatArray] = {}
        for t in range(cohort.sequences[sequence_id].length):
            boxes = cohort.boxes_by_frame.get((sequence_id, t), [])
            for track, box in zip((first, second), boxes, strict=False):
                track[t] = np.array(box.box_xyxy)
        tracks[sequence_id] = [first, second] if second else [first]
    return tracks


def alone(cine: Cine) -> list[tuple[float, Track]]:
    """Each box as it was found."""
    return [(box.score, {box.frame_index: np.array(box.box_xyxy)}) for box in cine.boxes]


def linked(cine: Cine) -> list[tuple[float, Track]]:
    """The lesions of a cine, as prediction finds them."""
    return [
        (lesion.score, {box.frame_index: np.array(box.box_xyxy) for box in lesion.boxes})
        for lesion in lesions.link_lesions(cine.frames, cine.boxes, cine.looked_at)
    ]


def by_overlap(
    found: Sequence[FoundBox], corners: FloatArray, side: int, pictures: FloatArray
) -> lesions.Steps:
    """The links of Seq-NMS (arXiv:1602.08465): boxes of neighbouring frames that overlap."""
    times = np.array([box.frame_index for box in found])
    near = (box_iou(corners, corners) >= SEQ_NMS) & (times[:, None] - times == 1)
    return [[(int(j), 0.0) for j in np.flatnonzero(row)] for row in near]


def rows_of(name: str, cines: list[Cine]) -> Iterator[Row]:
    """Linked beside both others, at each recall that single frames reach."""
    with mock.patch.object(lesions, "_steps", by_overlap):
        overlap = Judged(cines=cines, predicted=[linked(cine) for cine in cines])
    start = time.process_time()
    ours = Judged(cines=cines, predicted=[linked(cine) for cine in cines])
    speed = sum(len(cine.looked_at) for cine in cines) / (time.process_time() - start)
    frames = Judged(cines=cines, predicted=[alone(cine) for cine in cines])
    for recall in RECALLS:
        label = f"{name}, recall {recall}"
        if (at := frames.threshold(recall)) is None or (here := ours.threshold(recall)) is None:
            continue
        measured = ours.measures(here)
        for measure, peer in frames.measures(at).items():
            if measure not in OF_LINKS:
                yield _row(f"{label}: {measure}", ALONE, measured[measure], peer)
        if (there := overlap.threshold(recall)) is not None:
            for measure, peer in overlap.measures(there).items():
                if measure in (*OF_LINKS, "false boxes a cine"):
                    yield _row(f"{label}: {measure}", OVERLAP, measured[measure], peer)
    yield Row(f"{name}: links", round(speed), None, "frames/s on one core", {})


def _row(name: str, peer: str, ours: Measured, other: Measured) -> Row:
    jackknife = Jackknife.of(ours.patients)
    limits = {
        "ours": jackknife.interval(ours.ratio),
        "peer": jackknife.interval(other.ratio),
        "difference": jackknife.difference(ours.ratio, other.ratio).ci95,
    }
    return Row(
        f"{name}; peer: {peer}",
        ours.ratio.value or 0.0,
        other.ratio.value or 0.0,
        ours.unit,
        {who: [round(end, 3) for end in ends] for who, ends in limits.items() if ends},
        ours.higher_is_better,
    )


def long_cohort(work: Path) -> Path:
    """Longer cines of other patients than the demo's."""
    archive, cohort = work / "long", work / "long-cohort"
    if not (cohort / "annotations.json").exists():
        shutil.rmtree(archive, ignore_errors=True)
        size = ("--patients=24", "--sequences=40", "--frames_min=45", "--frames_max=60")
        run("preprocess", "phantom", archive, "--config", "demo", "--seed=88", *size, *NO_IMPLANTS)
        labels = ("--labels", archive / "labels/sequences.csv", "--rois", archive / "labels/rois")
        key = ("--key", archive / "phantom.key")
        run("preprocess", "ingest", archive / "dicom", *labels, *key, "--out", cohort)
    return cohort


def danilov(data: Path, work: Path) -> Path:
    """The cines of Danilov et al."""
    cohort = work / "danilov-cohort"
    if not (cohort / "annotations.json").exists():
        images = unpacked(data / "danilov" / "sequences_8_patients.tar", work / "danilov")
        shutil.copyfile(data / "danilov" / "labels_8_patients.csv", images / "labels.csv")
        run("preprocess", "import", "danilov", images, "--out", cohort)
    return cohort


def arcade(data: Path, work: Path) -> Path:
    """A study of ARCADE's stills with one small detector."""
    cohort, runs = work / "arcade-cohort", work / "arcade-runs"
    if not (cohort / "annotations.json").exists():
        images = unpacked(data / "arcade_stenosis_1200.tar", work / "arcade")
        run("preprocess", "import", "arcade", images, "--out", cohort)
    settings = {
        "size": 256,
        "steps": 700,
        "focal_alpha": 0.5,
        "anchors.base_size_strides": 2,
        "optimiser.warmup_steps": 10,
    }
    chosen = [f"--detector.{name}={value}" for name, value in settings.items()]
    study = ("--config", "demo", "--runs", runs, "--tasks=[detector]", *chosen)
    if not any(runs.glob("*/result.json")):
        run("angioray.cv", cohort, *study)
    return runs


def unpacked(archive: Path, folder: Path) -> Path:
    """The folder with what an archive holds."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run(module: str, *arguments: object) -> None:
    """One of the commands."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
