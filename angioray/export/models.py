"""The folders of exported models: networks, weights, config.json and README.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import angioray
from angioray.export.hugging_face import hugging_face_card
from angioray.export.onnx_graphs import OPSET, compare, greatest, require_onnx, write_graph
from angioray.inference.trained import load_classifier, load_detector
from angioray.models.weights_file import packed
from angioray.report.model_cards import read_model_card
from angioray.report.runs import Group, ReportedStudy
from angioray.study.selection import view_frame
from angioray.training.frames import load_frames
from preprocess.cohort import CATEGORY, Cohort
from preprocess.console.names import instead
from preprocess.storage import Location
from preprocess.storage.atomic import whole_folder, write_bytes, write_json, write_text

SCHEMA_VERSION = 1
COMPARED_FRAMES = 4
"""On which each file is compared with PyTorch."""
ARCHITECTURE = ("network", "backbone", "frozen_batch_norm", "levels", "channels", "anchors")
"""Settings that a reader of the weights needs; a path of the weights that a run began with is
private."""


def export_models(runs: Location, out: Path, wanted: Sequence[str]) -> Iterator[str]:
    """Write a folder for each model into ``out``, which appears whole or not at all.

    Args:
        runs: the study's runs folder.
        out: the folder to write.
        wanted: names of models; without any all that have a finished fold.

    Yields:
        What was done, in sentences.

    Raises:
        ValueError: nothing of that name is finished, the report lacks its card, a network cannot be
            exported, or the folder is there already.
    """
    require_onnx()
    study = ReportedStudy.open(runs)
    models = _chosen(study, wanted)
    readmes = [_readme(study, model) for model in models]
    cohort, _ = study.cohort()
    if cohort is None:
        yield "Note: the cohort is not at hand; files are compared on random pixels."
    with whole_folder(out) as folder:
        for model, readme in zip(models, readmes, strict=True):
            (folder / model.name).mkdir()
            write_text(folder / model.name / "README.md", readme)
            write_json(folder / model.name / "config.json", _config(study, model))
            apart = _write_networks(folder / model.name, model, _frames(cohort, model.size))
            folds = f"{len(model.members)} of {len(model.folds)} folds"
            yield f"{model.title}: {folds}; as ONNX it {apart}."


def _chosen(study: ReportedStudy, wanted: Sequence[str]) -> list[Group]:
    finished = {group.name: group for group in study.groups if group.members}
    unknown = [name for name in wanted if name not in finished]
    if compared := {group.name for group in study.systems} & set(unknown):
        raise ValueError(
            f"{min(compared)} is a system, which is there to be compared. Give its settings to "
            "`detector` in a study, whose models can be written and predict."
        )
    if unknown or not finished:
        name = unknown[0] if unknown else "model"
        raise ValueError(f"{study.folder} has no finished {name}: {instead(name, finished)}.")
    return [finished[name] for name in wanted or finished]


def _readme(study: ReportedStudy, model: Group) -> str:
    try:
        return hugging_face_card(read_model_card(study, model))
    except (AttributeError, LookupError, TypeError) as problem:
        raise ValueError(
            f"The card of {model.name} in {study.folder / 'report'} is not what was written "
            f"({problem!r:.100}). Make the report again: `python -m angioray.report "
            f"{study.folder}`."
        ) from problem


def _write_networks(folder: Path, model: Group, frames: Tensor) -> str:
    """Write the networks of a model's folds; what sets them apart from PyTorch, in words."""
    differences = []
    for run in model.members:
        network = (load_classifier if model.task == "view" else load_detector)(run.folder)
        path = folder / f"fold{run.fold}.onnx"
        write_graph(path, network, model.size)
        write_bytes(path.with_suffix(".safetensors"), packed(network.state_dict()))
        if find_spec("onnxruntime") is not None:
            differences.append(compare(path, network, frames))
            if not differences[-1].small:
                raise ValueError(f"{run.name} as ONNX {differences[-1]}; nothing was written.")
    if not differences:
        return "was not compared with PyTorch: pip install onnxruntime"
    return str(greatest(differences))


def _frames(cohort: Cohort | None, size: int) -> Tensor:
    """Some frames as networks of one input size take them (uint8[N, 1, size, size])."""
    if cohort is None:
        shape = (COMPARED_FRAMES, 1, size, size)
        pixels = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=pixels)
    cines = list(cohort.sequences.values())[:COMPARED_FRAMES]
    keys = [(cine.sequence_id, view_frame(cine)) for cine in cines]
    return load_frames(cohort, keys, size=size, device=torch.device("cpu")).pixels


def _config(study: ReportedStudy, model: Group) -> dict[str, Any]:
    """What a program must know to use the files."""
    settings = study.document["settings"][model.task]
    result = model.members[0].result or {}
    config = {
        "schema_version": SCHEMA_VERSION,
        "angioray": angioray.__version__,
        "model": model.title,
        "task": model.task,
        "classes": [CATEGORY["name"]] if model.task == "detector" else result["classes"],
        "folds": [f"fold{run.fold}" for run in model.members],
        "opset": OPSET,
        "input_px": model.size,
        "architecture": {name: settings[name] for name in ARCHITECTURE if name in settings},
    }
    if model.task == "detector":
        config |= {name: settings[name] for name in ("nms_iou", "max_predictions")}
    return config
