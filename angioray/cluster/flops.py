"""The operations of a run, counted, and the time that they take at a measured or assumed rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from angioray.cluster.assumed import AssumedGpus
from angioray.models.architectures import build_detector
from angioray.models.classifier import view_classifier
from angioray.models.settings import RetinaNetSettings
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study

Kind = tuple[str, int, str]
"""A run's task and input size."""

TRAINING_PASSES = 3
"""A training step costs the forward pass and about twice that for the gradients."""

CPU_CORE_FLOP_PER_S = {torch.bfloat16: 1.2e11, torch.float32: 5e10}
"""Assumed until a run has finished: one core with bfloat16 units, and one with AVX2."""
GPU_FLOP_PER_S = {torch.bfloat16: 2.0e14, torch.float32: 2.0e13}
"""Assumed until a run has finished: a quarter of an H100's dense bfloat16 peak, and less than half
of its peak in float32."""
STEP_LAUNCH_S = 0.02
"""Assumed of a step that is not compiled: the time that a GPU's host takes to launch it. Less work
than that leaves the GPU idle, which makes sharing it worth while."""


@dataclass(frozen=True)
class Rates:
    """Operations per second of one lane.

    Attributes:
        measured: by kind of run, where one of the kind has finished: networks and sizes differ in
            how near they come to what the hardware can do.
        otherwise: for the kinds of which none has.
        source: where the numbers come from, in words.
        step_s: what a step takes at least; known only where none has finished.
    """

    measured: Mapping[Kind, float]
    otherwise: float
    source: str
    step_s: float = 0.0

    def of(self, run: Run) -> float:
        """The rate expected of a run."""
        return self.measured.get(_kind(run), self.otherwise)

    def seconds(self, run: Run, flop: float, steps: int) -> float:
        """How long a run of so many operations in so many steps takes."""
        return max(flop / self.of(run), steps * self.step_s)


def run_flop(study: Study, index: CohortIndex, run: Run) -> float:
    """Floating-point operations of a run's training."""
    if run.task == "detector":
        detector = study.detector_of(run)
        frames = detector.steps * detector.batch_size
    else:
        view = study.settings.view
        sequences = study.fold(run).train
        frames = view.epochs * len(index.view_frames(sequences, view.frames_per_sequence))
    return frames * frame_flop(study.settings_of(run), run)


def frame_flop(settings: StudySettings, run: Run) -> float:
    """Floating-point operations of training on one frame, on the average of a run."""
    if run.task == "detector":
        return TRAINING_PASSES * forward_flop(settings, run.task, run.size)
    view = settings.view
    # In the frozen stage gradients stop at layer4; a third of the passes is a fair account of it.
    frozen = min(1.0, view.frozen_epochs / view.epochs)
    return forward_flop(settings, run.task, run.size) * (TRAINING_PASSES - frozen)


def forward_flop(settings: StudySettings, task: str, size: int) -> float:
    """Floating-point operations of a network on one frame; a multiplication and an addition are 2.

    Args:
        settings: the study's.
        task: ``view`` or ``detector``.
        size: side of the input of a view classifier; a detector has its own.
    """
    if task == "detector":
        return _detector_flop(_architecture(settings.detector))
    return _view_flop(settings.view.backbone, size)


def parameters(settings: StudySettings, task: str) -> int:
    """The weights of a task's network, frozen ones included."""
    if task == "detector":
        network: nn.Module = _detector_network(_architecture(settings.detector))
    else:
        network = _view_network(settings.view.backbone)
    return sum(weights.numel() for weights in network.parameters())


def lane_rates(
    study: Study,
    index: CohortIndex,
    *,
    gpus_per_lane: float,
    cpus: float,
    dtype: torch.dtype,
    assumed: AssumedGpus | None = None,
) -> Rates:
    """The rates of this study's finished runs, or an assumption where none is finished.

    Of GPUs that are not here nothing was measured in this study.
    """
    step_s = 0.0 if study.settings.compile else STEP_LAUNCH_S
    if assumed is not None and gpus_per_lane:
        rate = assumed.flop_per_s(dtype) * gpus_per_lane
        return Rates({}, rate, assumed.source, step_s)
    flop: defaultdict[Kind, float] = defaultdict(float)
    seconds: defaultdict[Kind, float] = defaultdict(float)
    finished = 0
    for run in study.runs:
        folder = RunFolder.of(study.folder, run)
        if folder.finished:
            finished += 1
            flop[_kind(run)] += run_flop(study, index, run)
            seconds[_kind(run)] += folder.result()["seconds"]
    if took := sum(seconds.values()):
        return Rates(
            {kind: flop[kind] / seconds[kind] for kind in flop if seconds[kind]},
            sum(flop.values()) / took,
            f"measured on {finished} finished run{'s' if finished > 1 else ''}",
        )
    if gpus_per_lane:
        rate = GPU_FLOP_PER_S[dtype] * gpus_per_lane
        return Rates({}, rate, "assumed for a recent data-centre GPU", step_s)
    return Rates({}, CPU_CORE_FLOP_PER_S[dtype] * cpus, "assumed for recent CPU cores")


def _kind(run: Run) -> Kind:
    return (run.task, run.size, run.system)


def run_steps(study: Study, index: CohortIndex, run: Run) -> int:
    """Optimiser steps of a run."""
    if run.task == "detector":
        return study.detector_of(run).steps
    view = study.settings.view
    frames = len(index.view_frames(study.fold(run).train, view.frames_per_sequence))
    return view.epochs * -(-frames // view.batch_size)


def _architecture(settings: RetinaNetSettings) -> RetinaNetSettings:
    """The settings that operations depend on, so that they are counted once for all others."""
    return RetinaNetSettings(
        size=settings.size,
        architecture=settings.architecture,
        backbone=settings.backbone,
        weights=settings.weights,
        frozen_batch_norm=settings.frozen_batch_norm,
        levels=settings.levels,
        channels=settings.channels,
        anchors=settings.anchors,
    )


@lru_cache
def _detector_flop(settings: RetinaNetSettings) -> float:
    return _forward_flop(_detector_network(settings), settings.size)


@lru_cache
def _detector_network(settings: RetinaNetSettings) -> nn.Module:
    with torch.device("meta"):
        return build_detector(settings, pretrained=False)


@lru_cache
def _view_flop(backbone: str, size: int) -> float:
    return _forward_flop(_view_network(backbone), size)


@lru_cache
def _view_network(backbone: str) -> nn.Module:
    with torch.device("meta"):
        return view_classifier(backbone, "none", 2)


def _forward_flop(model: nn.Module, size: int) -> float:
    model.eval()  # batch norms refuse to learn from a single value per channel
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter, torch.no_grad():
        model(torch.empty(1, 1, size, size))
    return float(counter.get_total_flops())
