"""The settings of pretraining. Nothing here imports PyTorch, so that a command starts at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from angioray.training.settings import OptimiserSettings
from preprocess.console.settings import Count, NotNegative, Seed, Settings


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings(Settings):
    """How long a network is pretrained, and how."""

    steps: Count = 1800
    """Optimiser steps."""
    batch_size: Count = 8
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
    view_weight: NotNegative = 0.3
    """Weight of naming the view against finding the lesions."""
    seed: Seed = 0
    """Of initial weights and phantoms. No archive shows the same hearts, whatever its seed."""
