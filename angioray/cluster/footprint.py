"""The memory that a run needs where it trains, and the disk that its weights need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from angioray.models.architectures import build_detector
from angioray.models.classifier import view_classifier
from angioray.models.settings import RetinaNetSettings
from angioray.study.executor import TASKS
from angioray.study.matrix import Run
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from angioray.training.settings import OptimiserSettings

PROCESS_BYTES = 1_500_000_000
"""Of a lane's processes on their node, before any frame: PyTorch, Ray and its trainer."""
DEVICE_BYTES = 1_000_000_000
"""Of a GPU, before any tensor: the context, libraries and the allocator's slack."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a run needs.

    Attributes:
        frames: of its frames, if they are kept where it trains; they may be kept elsewhere.
        training: of weights, gradients, moments and what the backward pass keeps.
        kept: on disk once it is finished.
        peak: on disk at most, while a checkpoint replaces another.
    """

    frames: int
    training: int
    kept: int
    peak: int

    @property
    def device(self) -> int:
        """All that lies where it trains if the frames are there too."""
        return self.frames + self.training

    @classmethod
    def of(cls, study: Study, index: CohortIndex, run: Run, dtype: torch.dtype) -> Footprint:
        """Count them, on one rank; about the same for all folds of a view and variant.

        Args:
            study: the run's.
            index: the study's cohort.
            run: which.
            dtype: of its forward passes.
        """
        settings = study.settings_of(run)
        job = settings.detector if run.task == "detector" else settings.view
        if run.task == "detector":
            weights, saved = _detector_bytes(settings.detector)
        else:
            weights, saved = _view_bytes(settings.view.backbone, run.size)
        saved = saved * dtype.itemsize // torch.float32.itemsize
        moments = _moments(job.optimiser) * weights
        return cls(
            frames=len(set(TASKS[run.task].frames(study, index, run))) * run.size * run.size,
            training=2 * weights + moments + job.batch_size * saved,
            kept=weights,
            peak=2 * (weights + moments),
        )


def _moments(optimiser: OptimiserSettings) -> int:
    return 1 if optimiser.name == "sgd" else 2


@lru_cache
def _detector_bytes(settings: RetinaNetSettings) -> tuple[int, int]:
    with torch.device("meta"):
        return _bytes(build_detector(settings, pretrained=False), settings.size)


@lru_cache
def _view_bytes(backbone: str, size: int) -> tuple[int, int]:
    with torch.device("meta"):
        return _bytes(view_classifier(backbone, "none", 2), size)


def _bytes(model: nn.Module, size: int) -> tuple[int, int]:
    """Of the weights, and of what autograd keeps of one float32 image for the backward pass."""
    model.train()
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.empty(2, 1, size, size, device="meta"))  # batch norms refuse a single image
    tensors = [*model.parameters(), *model.buffers()]
    own = {id(tensor) for tensor in tensors}
    saved = _total(tensor for tensor in kept.values() if id(tensor) not in own)
    return _total(model.state_dict().values()), saved // 2


def _total(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
