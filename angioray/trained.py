"""Trained networks, read back from the folders of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import nn
from torchvision.models import ResNet

from angioray.checkpoint import load_weights
from angioray.classifier import view_classifier
from angioray.detector import RetinaNet
from angioray.run_folder import RunFolder
from angioray.study import StudySettings, settings_from_dict

Model = TypeVar("Model", bound=nn.Module)


def load_classifier(run_folder: Path) -> ResNet:
    """The view classifier of a finished run, for judging, on the CPU.

    Its input is float[N, 1, S, S] as :func:`angioray.frames.normalise` gives it; its output has one
    logit per class of the run's result.

    Raises:
        ValueError: the run is not finished.
    """
    result, settings = _read(run_folder)
    model = view_classifier(settings.view.backbone, "none", len(result["classes"]))
    return _filled(model, run_folder)


def load_detector(run_folder: Path) -> RetinaNet:
    """The detector of a finished run, for judging, on the CPU.

    Raises:
        ValueError: the run is not finished.
    """
    _, settings = _read(run_folder)
    return _filled(RetinaNet(settings.detector, pretrained=False), run_folder)


def _read(run_folder: Path) -> tuple[dict[str, Any], StudySettings]:
    folder = RunFolder(run_folder)
    if not folder.finished:
        raise ValueError(f"{run_folder} holds no finished run: it has no result.json.")
    resolved = yaml.safe_load((run_folder / "settings.yaml").read_text("utf-8"))
    return folder.result(), settings_from_dict(resolved["settings"])


def _filled(model: Model, run_folder: Path) -> Model:
    load_weights(run_folder / "checkpoint", model)
    return model.to(memory_format=torch.channels_last).eval()
