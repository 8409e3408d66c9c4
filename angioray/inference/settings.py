"""The settings of inference. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flip = Literal["horizontal", "vertical"]


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings:
    """How the answers of several detectors, or of one to flipped frames, become one."""

    flips: tuple[Flip, ...] = ()
    """Also look at each frame mirrored so; every flip is one more opinion of every detector. Views
    are never named from mirrored frames: a mirrored artery is another one."""
    fusion_iou: float = 0.5
    """Boxes of several opinions that overlap by more than this IoU are of one lesion, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 < self.fusion_iou < 1:
            raise ValueError(f"fusion_iou is {self.fusion_iou}, expected a number between 0 and 1.")
        if len(set(self.flips)) < len(self.flips):
            raise ValueError("flips names one flip twice; name each once.")


@dataclass(frozen=True, kw_only=True)
class PredictSettings(EnsembleSettings):
    """What is looked at, by which models, and how their answers are put together."""

    frames: Literal["optimal", "reference"] = "optimal"
    """Frames that boxes are looked for on: the whole optimal interval, or the reference frame."""
    variant: str | None = None
    """The detectors' variant; the study's first if null."""
    view_size: int | None = None
    """Input side of the view classifier in pixels; the study's first if null."""
    score: float = 0.5
    """Boxes whose score is greater are counted in sequences.csv and drawn; all are kept."""
