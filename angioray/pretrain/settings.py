"""The settings of pretraining. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from angioray.training.settings import OptimiserSettings


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """How long a network is pretrained, and how."""

    steps: int = 1800
    """Optimiser steps."""
    batch_size: int = 8
    """Frames of one step, over all ranks; each shows another heart."""
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(
            name="adamw",
            learning_rate=7e-4,
            weight_decay=1e-2,
            warmup_steps=100,
            decay="cosine",
            gradient_norm=2.0,
        )
    )
    """How weights follow gradients."""
    view_weight: float = 0.3
    """Weight of naming the view against finding the lesions."""
    seed: int = 0
    """Of initial weights and phantoms. No archive shows the same hearts, whatever its seed."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected {least} or more"
            for name, least in (("steps", 1), ("batch_size", 1), ("view_weight", 0), ("seed", 0))
            if getattr(self, name) < least
        ]
        if problems:
            raise ValueError(f"Pretraining cannot work like this: {'; '.join(problems)}.")
