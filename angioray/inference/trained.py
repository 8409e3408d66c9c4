"""Trained networks, read from the folders of finished runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import yaml
from torch import nn

from angioray.models.classifier import view_classifier
from angioray.models.retinanet import RetinaNet, build_detector
from angioray.study.run_folder import RunFolder
from angioray.study.settings import StudySettings, settings_from_dict
from angioray.training.checkpoint import load_weights
from preprocess.storage import Location

Model = TypeVar("Model", bound=nn.Module)


class Models:
    """The networks of a study's finished runs, read when they are asked for.

    Args:
        keep: keep what was read once; otherwise one network at a time is in memory.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._kept: dict[str, nn.Module] | None = {} if keep else None

    def classifier(self, folder: RunFolder, device: torch.device) -> nn.Module:
        """The view classifier of a run, on a device."""
        return self._of(folder, device, load_classifier)

    def detector(self, folder: RunFolder, device: torch.device) -> RetinaNet:
        """The detector of a run, on a device."""
        return self._of(folder, device, load_detector)

    def _of(
        self, folder: RunFolder, device: torch.device, load: Callable[[Location], Model]
    ) -> Model:
        kept = self._kept if self._kept is not None else {}
        if folder.name not in kept:
            kept[folder.name] = load(folder.files).to(device)
        return kept[folder.name]  # type: ignore[return-value]


def load_classifier(location: Location) -> nn.Module:
    """The view classifier of a finished run, for judging, on the CPU.

    Its input is float[N, 1, S, S], normalised (``angioray.training.frames.normalise``); its output
    has one logit per class of the run's result.

    Raises:
        ValueError: the run is not finished.
    """
    folder, settings = _finished(location)
    model = view_classifier(settings.view.backbone, "none", len(folder.result()["classes"]))
    return _filled(model, folder)


def load_detector(location: Location) -> RetinaNet:
    """The detector of a finished run, for judging, on the CPU.

    Raises:
        ValueError: the run is not finished.
    """
    folder, settings = _finished(location)
    return _filled(build_detector(settings.detector, pretrained=False), folder)


def _finished(location: Location) -> tuple[RunFolder, StudySettings]:
    folder = RunFolder(location)
    if not folder.finished:
        raise ValueError(f"{location} holds no finished run: it has no result.json.")
    if (text := folder.files.read_text("settings.yaml")) is None:
        raise ValueError(f"{location} is not whole: its settings.yaml is gone.")
    return folder, settings_from_dict(yaml.safe_load(text)["settings"])


def _filled(model: Model, folder: RunFolder) -> Model:
    load_weights(folder.checkpoint, model)
    return model.to(memory_format=torch.channels_last).eval()
