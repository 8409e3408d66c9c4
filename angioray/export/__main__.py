"""``python -m angioray.export``: the trained networks of a study for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage
from preprocess.console.settings import EACH_ONCE, Settings


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """What is exported."""

    models: Annotated[tuple[str, ...], EACH_ONCE] = ()
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
    from angioray.export.models import export_models

    for line in export_models(runs, out, settings.models):
        print(line)
    print(f"Wrote {out}. Each README.md shows how its model is used.")


if __name__ == "__main__":
    run_command(export, prog="python -m angioray.export")
