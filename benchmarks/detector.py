"""What makes the detector better: other settings, and other answers of the same networks.

Every system of the settings trains on the folds, seeds and steps of the study's own detector. What
needs no training is tried on the networks of the study's own: non-maximum suppression at other
IoUs, and test-time flips. A measure is the mean over views and seeds, over the frames of all folds.
Beside it stands the 95 % interval of its difference from the base, by leaving patients out.

    python -m angioray.demo --out demo
    python benchmarks/detector.py demo/cohort RUNS benchmarks/results/detector_phantom.json \
        --config configs/demo.yaml --config benchmarks/detectors/phantom.yaml

Likewise with ``arcade.yaml``, on what ``python -m preprocess import arcade`` makes of that set.
Runs are kept in RUNS, and the same command continues.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from measuring import best_device, machine
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from angioray.evaluation.detection import Matched
from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.matching import Detections
from angioray.evaluation.measures import Measure, means, value
from angioray.evaluation.subgroups import subgroup_recalls
from angioray.inference.ensemble import flipped_boxes, flipped_images, fuse
from angioray.inference.trained import load_detector
from angioray.models import architectures
from angioray.models.retinanet import RetinaNet
from angioray.study.detector_task import detect_images, in_stored_pixels
from angioray.study.executor import Executor
from angioray.study.frame_index import FrameIndex
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from angioray.training.frames import load_frames
from angioray.training.precision import dtype_here, forward_passes
from angioray.training.step import World
from preprocess.cohort import Cohort
from preprocess.console.command_line import run as run_command

RECALL = "recall@IoU0.20/score0.00/max5"
NAMES = (
    "sensitivity@IoU0.20/mean",
    "AP@IoU0.20",
    "AP@IoU0.50/max100",
    "recall@IoU0.20/score0.50/max5",
    "precision@IoU0.20/score0.50/max5",
    RECALL,
)
BY_NUMBER = ("lesions-1", "lesions-2", "lesions-3+")
"""Recall, whatever the score, of the lesions of frames that have so many."""
SUPPRESSION = (0.2, 0.3, 0.4, 0.5)
"""IoUs above which, of two boxes, the better one stays."""
SECONDS = "processor_seconds.json"
NO_BOXES: Detections = (np.empty((0, 4)), np.empty(0))

Found = dict[str, dict[tuple[str, int], dict[int, Detections]]]
"""Boxes by what was tried, by view and seed, and by image."""


class Attentive(RetinaNet):
    """RetinaNet with squeeze and excitation on every pyramid level, which changes nothing at first.

    Hu et al. 2018, doi:10.1109/CVPR.2018.00745.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        first, last = self.settings.levels
        channels = self.settings.channels
        with torch.random.fork_rng():
            gates = [SqueezeExcitation(channels, channels // 4) for _ in range(first, last + 1)]
        for gate in gates:
            gate.scale_activation = nn.Sigmoid()
            nn.init.zeros_(gate.fc2.weight)
            nn.init.zeros_(gate.fc2.bias)
        self.gates = nn.ModuleList(gates)

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """The pyramid's maps, each channel weighed by what its whole level shows."""
        # The sigmoid of 0 is a half.
        return [2 * gate(m) for gate, m in zip(self.gates, super().maps(features), strict=True)]


def compare(cohort: str, runs: str, out: Path, settings: StudySettings) -> None:
    """Train what is not trained yet, judge all of it, print a table and write the JSON.

    Args:
        cohort: the cohort folder.
        runs: the folder of the runs.
        out: the JSON file to write.
        settings: of the study, with its systems.
    """
    opened = Cohort.open(cohort)
    study = Study.plan(opened, runs, settings)
    study.freeze(opened)
    frames = FrameIndex(cohort=opened)
    found: Found = defaultdict(lambda: defaultdict(dict))
    with mock.patch.object(architectures, "part", lambda kind, name: attentive):
        seconds = trained(study, opened)
        for run in study.runs:
            for name, answers in answered(study, frames, run):
                found[name][run.view, run.repeat] |= answers
    took: dict[str, float] = defaultdict(float)
    for run in study.runs:
        took[run.system] += seconds[run.name]
    rows = list(compared(frames, found, took))
    given = {"steps": settings.detector.steps, "seeds": settings.seeds, "systems": settings.systems}
    document = {"machine": {**machine(best_device()), **given}, "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(f"Wrote {out}.")


def attentive(settings: Any, pretrained: bool) -> RetinaNet:
    """The architecture that no package declares."""
    return Attentive(settings, pretrained=pretrained)


def trained(study: Study, cohort: Cohort) -> Mapping[str, float]:
    """The processor's seconds of each run, trained now or earlier."""
    seconds: dict[str, float] = study.folder.read_json(SECONDS) or {}
    executor = Executor(study, cohort, World(best_device()))
    for run in study.runs:
        if run.name not in seconds:
            start = time.process_time()
            executor.execute(run, lambda *_: None)
            seconds[run.name] = round(time.process_time() - start, 2)
            study.folder.write_json(SECONDS, seconds)
    return seconds


def answered(
    study: Study, frames: FrameIndex, run: Run
) -> Iterator[tuple[str, dict[int, Detections]]]:
    """What a run's network finds on the frames that judge it, by what was tried."""
    folder, device = RunFolder.of(study.folder, run), best_device()
    ids = folder.files.read_json("evaluated_images.json")
    keys = [frames.frame(i) for i in ids]
    store = load_frames(frames.cohort, keys, size=run.size, device=device)
    images = store.images(store.rows_of(keys), dtype=dtype_here("auto", device))
    scales = [store.scales[sequence] for sequence, _ in keys]
    model = load_detector(folder.files).to(device)
    assert isinstance(model, RetinaNet)
    settings = model.settings
    with torch.no_grad(), forward_passes(device, images.dtype):
        logits, offsets = model(images)

    def suppressed_at(iou: float) -> dict[int, Detections]:
        model.settings = replace(settings, nms_iou=iou)
        best = in_stored_pixels(model.best_boxes(logits, offsets), scales)
        return dict(zip(ids, best, strict=True))

    plain = suppressed_at(settings.nms_iou)
    yield run.system, plain
    if run.system:
        return
    for iou in sorted(set(SUPPRESSION) - {settings.nms_iou}):
        yield f"suppression at IoU {iou}", suppressed_at(iou)
    model.settings = settings
    mirrored = detect_images(model, flipped_images(images, "horizontal"), scales)
    back = [
        (flipped_boxes(boxes, "horizontal", frames.cohort.sequences[sequence].width), scores)
        for (boxes, scores), (sequence, _) in zip(mirrored, keys, strict=True)
    ]
    fused = fuse([[*plain.values()], back], iou=settings.nms_iou, most=settings.max_predictions)
    yield "test-time flips", dict(zip(ids, fused, strict=True))


def compared(
    frames: FrameIndex, found: Found, took: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """A row for each measure of everything that was tried, beside the base."""
    judged = sorted({i for each in found[""].values() for i in each})
    jackknife = Jackknife.of(frames.patients(judged))
    measures = {name: measured(frames, judged, each) for name, each in found.items()}
    base = measures.pop("")
    for name, tried in measures.items():
        print(name)
        for metric in tried:
            values = [value(each[metric], len(judged)) for each in (tried, base)]
            apart = jackknife.difference(tried[metric], base[metric])
            ends = apart.ci95 and [round(end, 4) for end in apart.ci95]
            ours, peer = (None if v is None else round(v, 4) for v in values)
            print(f"  {metric:<42} {ours}   base {peer}   difference {ends}")
            row = {"name": f"{name}: {metric}", "ours": ours, "peer": peer, "unit": "share"}
            yield row | {"higher_is_better": True, "difference_ci95": ends}
        if name in took:
            row = {"name": f"{name}: training", "ours": round(took[name]), "peer": round(took[""])}
            print(f"  processor seconds {row['ours']}   base {row['peer']}", flush=True)
            yield row | {"unit": "processor s", "higher_is_better": False, "difference_ci95": None}


def measured(
    frames: FrameIndex, judged: list[int], found: Mapping[Any, dict[int, Detections]]
) -> dict[str, Measure]:
    """The mean of each measure over views and seeds, all over the same frames."""
    whole = frames.judged(judged)
    tables = []
    for answers in found.values():  # frames of the other view count for nothing
        truth, ignored = (
            {i: boxes for i, boxes in areas.items() if i in answers}
            for areas in (whole.truth, whole.ignored)
        )
        of_view = replace(whole, truth=truth, ignored=ignored)
        matched = Matched.of(of_view, {i: answers.get(i, NO_BOXES) for i in judged})
        best, measures = matched.best, matched.measures()
        recalls = subgroup_recalls(best, np.ones(len(best.score), dtype=bool), truth, {})
        table: dict[str, Measure] = {name: measures[name] for name in NAMES}
        tables.append(table | {f"{RECALL}/{name}": recalls[name] for name in BY_NUMBER})
    return means(tables)


if __name__ == "__main__":
    run_command(compare, prog="python benchmarks/detector.py")
