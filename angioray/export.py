"""``python -m angioray.export``: the trained networks of a study for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage
from preprocess.console.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from angioray.report.runs import Group, ReportedStudy
    from preprocess.cohort import Cohort

SCHEMA_VERSION = 1
COMPARED_FRAMES = 4
"""On which each file is compared with PyTorch."""
ARCHITECTURE = ("network", "backbone", "frozen_batch_norm", "levels", "channels", "anchors")
"""Settings that a reader of the weights needs; a path of the weights that a run began with is
private."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """What is exported."""

    models: tuple[str, ...] = ()
    """Such as `detector-RCA-B-512`; without it all that have a finished fold."""


@usage(positional=("runs",), again="starts anew")
def export(
    runs: str = "runs",
    *,
    format: Literal["onnx"] = "onnx",
    out: Path = Path("exported"),
    settings: ExportSettings,
) -> None:
    """Write a study's trained networks for other programs, each model with its card.

    A folder for each model, ready for the Hugging Face Hub: an ONNX file and a safetensors file for
    each finished fold, config.json with what a program must know, and README.md, which is the
    model's card and shows how it is used. Where onnxruntime is installed, each ONNX file is
    compared with PyTorch on frames of the cohort; one that answers otherwise is not written.

    Args:
        runs: the study's runs folder, also in an object store. Its report must have been made.
        format: of the networks.
        out: the folder to write.

    Raises:
        ValueError: nothing of that name is finished, the report lacks its card, a network cannot be
            exported, or the folder is there already.

    Examples:
      python -m angioray.export runs --format onnx
      python -m angioray.export runs --models '[detector-RCA-B-512, view-224]' --out rca
    """
    del format  # there is one so far
    from angioray.inference.onnx_graphs import require_onnx
    from angioray.report.model_cards import read_model_card
    from angioray.report.runs import ReportedStudy
    from preprocess.storage.atomic import whole_folder

    require_onnx()
    study = ReportedStudy.open(runs)
    models = _chosen(study, settings.models)
    cards = [read_model_card(study, model) for model in models]
    cohort, _ = study.cohort()
    if cohort is None:
        print("Note: the cohort is not at hand; files are compared on random pixels.")
    with whole_folder(out) as folder:
        for model, card in zip(models, cards, strict=True):
            print(_write_model(folder / model.name, study, model, card, cohort))
    print(f"Wrote {out}. Each README.md shows how its model is used.")


def _chosen(study: ReportedStudy, wanted: Sequence[str]) -> list[Group]:
    from preprocess.console.names import instead

    finished = {group.name: group for group in study.groups if group.finished}
    for name in wanted or [""] * (not finished):
        if name not in finished:
            raise ValueError(
                f"{study.folder} has no finished network{f' {name}' * bool(name)}: "
                f"{instead(name, finished)}."
            )
    return [finished[name] for name in wanted or finished]


def _write_model(
    folder: Path,
    study: ReportedStudy,
    model: Group,
    card: Mapping[str, Any],
    cohort: Cohort | None,
) -> str:
    """Write the folder of one model; how many files it has, and how like PyTorch they are."""
    from angioray.inference.onnx_graphs import compare, greatest, write_graph
    from angioray.inference.trained import load_classifier, load_detector
    from angioray.models.weights_file import packed
    from angioray.report.hugging_face import hugging_face_card
    from preprocess.storage.atomic import write_bytes, write_json, write_text

    folder.mkdir()
    frames = _frames(cohort, model.size)
    differences = []
    for run in model.finished:
        network = (load_classifier if model.task == "view" else load_detector)(run.folder)
        path = folder / f"fold{run.fold}.onnx"
        write_graph(path, network, model.size)
        write_bytes(path.with_suffix(".safetensors"), packed(network.state_dict()))
        if find_spec("onnxruntime") is not None:
            differences.append(compare(path, network, frames))
            if not differences[-1].small:
                raise ValueError(f"{run.name} as ONNX {differences[-1]}; nothing was written.")
    apart = (
        str(greatest(differences))
        if differences
        else ("was not compared with PyTorch: pip install onnxruntime")
    )
    write_json(folder / "config.json", _config(study, model))
    write_text(folder / "README.md", hugging_face_card(card))
    return f"{model.title}: {len(model.finished)} of {len(model.runs)} folds; as ONNX it {apart}."


def _frames(cohort: Cohort | None, size: int) -> Tensor:
    """Some frames as networks of one input size take them (uint8[N, 1, size, size])."""
    import torch

    from angioray.study.selection import view_frame
    from angioray.training.frames import load_frames

    if cohort is None:
        shape = (COMPARED_FRAMES, 1, size, size)
        pixels = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=pixels)
    cines = list(cohort.sequences.values())[:COMPARED_FRAMES]
    keys = [(cine.sequence_id, view_frame(cine)) for cine in cines]
    return load_frames(cohort, keys, size=size, device=torch.device("cpu")).pixels


def _config(study: ReportedStudy, model: Group) -> dict[str, Any]:
    """What a program must know to use the files."""
    import angioray
    from angioray.inference.onnx_graphs import OPSET
    from preprocess.cohort import CATEGORY

    settings = study.document["settings"][model.task]
    result = model.finished[0].result or {}
    config = {
        "schema_version": SCHEMA_VERSION,
        "angioray": angioray.__version__,
        "model": model.title,
        "task": model.task,
        "classes": [CATEGORY["name"]] if model.task == "detector" else result["classes"],
        "folds": [f"fold{run.fold}" for run in model.finished],
        "opset": OPSET,
        "input_px": model.size,
        "architecture": {name: settings[name] for name in ARCHITECTURE if name in settings},
    }
    if model.task == "detector":
        config |= {name: settings[name] for name in ("nms_iou", "max_predictions")}
    return config


if __name__ == "__main__":
    run_command(export, prog="python -m angioray.export")
