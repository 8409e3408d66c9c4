"""Trained networks, read from the folders of finished runs."""

from __future__ import annotations

from typing import TypeVar

import torch
import yaml
from torch import nn

from angioray.models.architectures import build_detector
from angioray.models.classifier import view_classifier
from angioray.models.detector import Detector
from angioray.study.run_folder import RunFolder
from angioray.study.settings import StudySettings, settings_from_dict
from angioray.training.checkpoint import load_weights
from preprocess.storage import Location

Model = TypeVar("Model", bound=nn.Module)


class Models:
    """The judging networks of finished runs, read when they are first asked for, and kept."""

    def __init__(self, device: torch.device) -> None:
        """``device`` is where they compute."""
        self._device = device
        self._classifiers: dict[str, tuple[nn.Module, list[str]]] = {}
        self._detectors: dict[str, Detector] = {}

    def classifier(self, folder: RunFolder) -> tuple[nn.Module, list[str]]:
        """The view classifier of a run, and the classes of its logits."""
        if folder.name not in self._classifiers:
            model = load_classifier(folder.files).to(self._device)
            self._classifiers[folder.name] = model, list(folder.result()["classes"])
        return self._classifiers[folder.name]

    def detector(self, folder: RunFolder) -> Detector:
        """The detector of a run."""
        if folder.name not in self._detectors:
            self._detectors[folder.name] = load_detector(folder.files).to(self._device)
        return self._detectors[folder.name]


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


def load_detector(location: Location) -> Detector:
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
