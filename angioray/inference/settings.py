"""The settings of inference. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from preprocess.console.settings import EACH_ONCE, Count, Proportion, Settings, bounds

Flip = Literal["horizontal", "vertical"]


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings(Settings):
    """How the answers of several detectors, or of one to flipped frames, become one."""

    flips: Annotated[tuple[Flip, ...], EACH_ONCE] = ()
    """Also look at each frame mirrored so; every flip is one more opinion of every detector. Views
    are never named from mirrored frames: a mirrored artery is another one."""
    fusion_iou: Annotated[float, bounds(above=0, below=1)] = 0.5
    """Boxes of several opinions that overlap by more than this IoU are of one lesion, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings(EnsembleSettings):
    """What is looked at, by which models, and how their answers are put together."""

    frames: Literal["optimal", "reference"] = "optimal"
    """Frames that boxes are looked for on: the whole optimal interval, or the reference frame."""
    variant: str | None = None
    """The detectors' variant; the study's first if null."""
    view_size: Count | None = None
    """Input side of the view classifier in pixels; the study's first if null."""
    score: Proportion = 0.5
    """Lesions whose score is greater are drawn and reported, and boxes counted, 0 to 1; the tables
    keep all."""
