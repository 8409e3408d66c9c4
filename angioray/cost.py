"""What a run costs: counted operations, and the time they take at a measured or assumed rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from angioray.backbone import Backbone
from angioray.classifier import view_classifier
from angioray.detector import RetinaNet, RetinaNetSettings
from angioray.run_folder import RunFolder
from angioray.selection import CohortIndex
from angioray.study import Run, Study, StudySettings

TRAINING_PASSES = 3
"""A training step costs the forward pass and about twice that for the gradients."""

CPU_CORE_FLOP_PER_S = 1.2e11
"""Assumed until a run has finished: one core with bfloat16 units."""
GPU_FLOP_PER_S = 2.0e14
"""Assumed until a run has finished: a quarter of an H100's dense bfloat16 peak."""


@dataclass(frozen=True)
class Rate:
    """Operations per second of one lane, and where the number comes from."""

    flop_per_s: float
    source: str


def run_flop(study: Study, index: CohortIndex, run: Run) -> float:
    """Floating-point operations of a run's training."""
    if run.task == "detector":
        frames = study.settings.detector.steps * study.settings.detector.batch_size
    else:
        view = study.settings.view
        sequences = study.fold(run).train
        frames = view.epochs * len(index.view_frames(sequences, view.frames_per_sequence))
    return frames * frame_flop(study.settings, run)


def frame_flop(settings: StudySettings, run: Run) -> float:
    """Floating-point operations of training on one frame, on the average of a run."""
    if run.task == "detector":
        return TRAINING_PASSES * _detector_flop(_architecture(settings.detector))
    view = settings.view
    # In the frozen stage gradients stop at layer4; a third of the passes is a fair account of it.
    frozen = view.frozen_epochs / view.epochs if view.epochs else 0
    return _view_flop(view.backbone, run.size) * (TRAINING_PASSES - frozen)


def measured_rate(study: Study, index: CohortIndex, *, gpus_per_lane: float, cpus: float) -> Rate:
    """The rate of this study's finished runs, or an assumption where none is finished."""
    done = [run for run in study.runs if RunFolder.of(study.folder, run).finished]
    seconds = sum(RunFolder.of(study.folder, run).result()["seconds"] for run in done)
    if seconds > 0:
        flop = sum(run_flop(study, index, run) for run in done)
        return Rate(flop / seconds, f"measured on {len(done)} finished runs")
    if gpus_per_lane:
        return Rate(GPU_FLOP_PER_S * gpus_per_lane, "assumed for a recent data-centre GPU")
    return Rate(CPU_CORE_FLOP_PER_S * cpus, "assumed for recent CPU cores")


def run_steps(study: Study, index: CohortIndex, run: Run) -> int:
    """Optimiser steps of a run."""
    if run.task == "detector":
        return study.settings.detector.steps
    view = study.settings.view
    frames = len(index.view_frames(study.fold(run).train, view.frames_per_sequence))
    return view.epochs * -(-frames // view.batch_size)


def _architecture(settings: RetinaNetSettings) -> RetinaNetSettings:
    """The settings that operations depend on, so that they are counted once for all others."""
    return RetinaNetSettings(
        size=settings.size,
        backbone=settings.backbone,
        weights=settings.weights,
        frozen_batch_norm=settings.frozen_batch_norm,
        levels=settings.levels,
        channels=settings.channels,
        anchors=settings.anchors,
    )


@lru_cache
def _detector_flop(settings: RetinaNetSettings) -> float:
    with torch.device("meta"):
        return _forward_flop(RetinaNet(settings, pretrained=False), settings.size)


@lru_cache
def _view_flop(backbone: Backbone, size: int) -> float:
    with torch.device("meta"):
        return _forward_flop(view_classifier(backbone, "none", 2), size)


def _forward_flop(model: nn.Module, size: int) -> float:
    model.eval()  # batch norms refuse to learn from a single value per channel
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.empty(1, 1, size, size, device="meta"))
    return float(counter.get_total_flops())
