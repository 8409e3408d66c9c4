"""``python -m angioray.pretrain``: weights for studies to start from, learned on phantoms."""

from __future__ import annotations

from angioray import CONFIGS
from angioray.models.settings import RETINANET
from angioray.pretrain.settings import PretrainingSettings
from angioray.study.settings import StudySettings
from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage


@usage(
    common=("pretraining.steps", "pretraining.batch_size", "detector.size", "detector.backbone"),
    configs=CONFIGS,
)
def pretrain(out: str, settings: StudySettings, pretraining: PretrainingSettings) -> None:
    """Pretrain the study's detector and its backbone on phantoms, on all GPUs or all cores.

    Frames are simulated while the network learns from them, and none is shown twice. The weights
    suit any study with the same architecture: give their path as `detector.weights`, and as
    `view.weights` for its backbone, which the architecture `patches` does not have. The same
    command again continues.

    Args:
        out: the folder to write: `weights.safetensors`, `detector.safetensors` (the same for
            detectors alone, small enough to hand on), how they were made, and how good they are
            on phantoms that they have not seen.
        settings: the study's settings: those of `detector` that make its architecture, its input
            size, and `precision`.
        pretraining: how long, and how.

    Examples:
      python -m angioray.pretrain demo/pretrained --config configs/demo.yaml --pretraining.steps 300
      python -m angioray.cv cohort --all-folds --config configs/paper.yaml
        --detector.weights pretrained/weights.safetensors --detector.frozen_batch_norm true
    """
    from angioray.pretrain.run import WEIGHTS, PretrainingRun
    from preprocess.storage import absolute

    made = PretrainingRun(absolute(out), settings, pretraining)
    result = made.result() or made.carry_out()
    print(f"On {result['held_out_frames']} frames of phantoms that it has not seen:")
    for name, value in result["metrics"].items():
        print(f"  {name:<40} {'-' if value is None else f'{value:.3f}'}")
    weights = f"{out}/{WEIGHTS}"
    print(f"Wrote {weights}.")
    own = settings.detector.architecture
    then = f"--view.weights {weights}" if own == RETINANET else f"--detector.architecture {own}"
    print(f"Next: python -m angioray.cv COHORT --all-folds --detector.weights {weights} {then}")


if __name__ == "__main__":
    run_command(pretrain, prog="python -m angioray.pretrain")
