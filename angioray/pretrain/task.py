"""The pretraining task: a detector, and a view classifier on its backbone, on simulated frames.

ImageNet shows no arteries. A phantom does, with a perfect box on each lesion and a view that is
known, and never shows the same heart twice.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from angioray.models.backbone import BACKBONE_PREFIX, grey_resnet
from angioray.models.detector import DetectionBatch
from angioray.models.patch_detector import PatchDetector
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import RETINANET, RetinaNetSettings
from angioray.pretrain.settings import PretrainingSettings
from angioray.training.frames import FrameKey, normalise, resize
from angioray.training.optimiser import Plateau
from angioray.training.step import World
from preprocess.phantom.examples import ARTERIES, EXAMPLES, MOST_LESIONS, examples

STEM = ("conv1", "bn1")
STAGES = ("layer1", "layer2", "layer3", "layer4")

Targets = tuple[Tensor, Tensor]
"""Boxes (float32[B, G, 4] xyxy in network pixels, padded with boxes of no area) and arteries
(int64[B], positions in ``ARTERIES``)."""


class PretrainingNetwork(nn.Module):
    """A detector, and a classifier of views that shares its backbone."""

    def __init__(self, settings: RetinaNetSettings, view_weight: float) -> None:
        """Random weights.

        Args:
            settings: of the detector; its weights and frozen norms are for what comes afterwards.
            view_weight: of the classifier's loss.
        """
        super().__init__()
        resnet = grey_resnet(settings.backbone, "none")
        self.detector = RetinaNet(
            replace(settings, weights="none", frozen_batch_norm=False), resnet=resnet
        )
        # The stages that no level of the pyramid needs still name the view.
        deeper = [getattr(resnet, stage) for stage in STAGES[len(self.detector.stages) :]]
        last = nn.Linear(resnet.fc.in_features, len(ARTERIES))
        self.classifier = nn.Sequential(*deeper, resnet.avgpool, nn.Flatten(), last)
        self._view_weight = view_weight

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The detector's logits and offsets, and the logits of the arteries (float[B, 2])."""
        features = self.detector.features(images)
        return (*self.detector.answers(features), self.classifier(features[-1]))

    def detect(self, images: Tensor) -> tuple[DetectionBatch, Tensor]:
        """The detector's boxes, and the logits of the arteries (float[B, 2])."""
        scores, offsets, logits = self(images)
        return self.detector.best_boxes(scores, offsets), logits

    def loss(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Losses of one batch, float32: the detector's two, and ``view_loss``.

        Args:
            images: float[B, 1, S, S], normalised.
            targets: their boxes and arteries.
        """
        boxes, arteries = targets
        features = self.detector.features(images)
        logits = self.classifier(features[-1]).float()
        losses = self.detector.loss_of(features, boxes)
        return {**losses, "view_loss": self._view_weight * F.cross_entropy(logits, arteries)}

    def weights(self, *, compact: bool = False) -> dict[str, Tensor]:
        """What `weights` settings take: the ResNet under torchvision's names, and the detector.

        ``compact`` leaves out the layers that no level of the pyramid needs, and halves the rest
        to float16; a view classifier needs them all.
        """
        built = len(self.detector.stages)
        names = {f"stem.{i}": name for i, name in enumerate(STEM)}
        names |= {f"stages.{i}": name for i, name in enumerate(STAGES[:built])}
        deeper = {str(i): name for i, name in enumerate(STAGES[built:])}
        found: dict[str, Tensor] = {}
        parts: list[tuple[dict[str, str], nn.Module]] = [
            (names, self.detector),
            (deeper, self.classifier),
        ]
        for own, module in parts[:1] if compact else parts:
            for key, value in module.state_dict().items():
                if place := next((p for p in own if key.startswith(f"{p}.")), None):
                    found[f"{BACKBONE_PREFIX}{own[place]}{key.removeprefix(place)}"] = value
                elif module is self.detector:
                    found[key] = value
        return _to_write(found, compact)


class PatchPretraining(nn.Module):
    """A classifier of patches, which shares nothing with a view classifier."""

    def __init__(self, settings: RetinaNetSettings) -> None:
        """Random weights; those of the settings and frozen norms are for what comes afterwards."""
        super().__init__()
        self.detector = PatchDetector(replace(settings, weights="none", frozen_batch_norm=False))

    def detect(self, images: Tensor) -> tuple[DetectionBatch, None]:
        """The detector's boxes; it names no artery."""
        return self.detector.detect(images), None

    def loss(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The detector's loss of one batch."""
        return self.detector.loss(images, targets[0])

    def weights(self, *, compact: bool = False) -> dict[str, Tensor]:
        """What `detector.weights` takes; ``compact`` halves it to float16."""
        return _to_write(self.detector.state_dict(), compact)


def _to_write(tensors: dict[str, Tensor], compact: bool) -> dict[str, Tensor]:
    if compact:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def pretraining_network(
    settings: RetinaNetSettings, view_weight: float
) -> PretrainingNetwork | PatchPretraining:
    """What is pretrained for an architecture, with random weights."""
    if settings.architecture == RETINANET:
        return PretrainingNetwork(settings, view_weight)
    return PatchPretraining(settings)


@dataclass(frozen=True)
class Block:
    """Whole batches of examples: each shows one frame of every chest of the block.

    Attributes:
        pixels: uint8[E, B, 1, S, S].
        boxes: float32[E, B, G, 4] in network pixels.
        arteries: int64[B].
    """

    pixels: Tensor
    boxes: Tensor
    arteries: Tensor


class Blocks(Dataset[Block]):
    """Blocks by number: what the phantom shows in ``EXAMPLES`` steps of one rank."""

    def __init__(self, seed: int, chests: int, size: int, rank: int, ranks: int) -> None:
        """A rank takes its share of the ``chests`` of a block: neighbours, so both arteries.

        Were its frames all of one artery, batch norms would tell the networks which.
        """
        self._seed, self._chests, self._size = seed, chests, size
        share = chests // ranks
        self._mine = range(rank * share, (rank + 1) * share)

    def __getitem__(self, number: int) -> Block:
        first = number * self._chests
        filmed = [examples(self._seed, first + chest) for chest in self._mine]
        frames = torch.from_numpy(np.array([[e.frame for e in each] for each in filmed]))
        boxes = torch.zeros(len(filmed), EXAMPLES, MOST_LESIONS, 4)
        for chest, each in enumerate(filmed):
            for i, example in enumerate(each):
                found = torch.from_numpy(example.boxes_xyxy)
                boxes[chest, i, : len(found)] = found * (self._size / example.frame.shape[-1])
        pixels = resize(frames.flatten(0, 1)[:, None], self._size)
        arteries = [ARTERIES.index(each[0].artery) for each in filmed]
        return Block(
            pixels.unflatten(0, frames.shape[:2]).transpose(0, 1).contiguous(),
            boxes.transpose(0, 1).contiguous(),
            torch.tensor(arteries),
        )


class ExampleSteps:
    """Which examples each step takes, for messages."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def keys_of(self, step: int) -> list[FrameKey]:
        """The chests of a step, and which of their frames it took."""
        first = step // EXAMPLES * self.batch_size
        return [(f"chest {first + i}", step % EXAMPLES) for i in range(self.batch_size)]


class PretrainingTask:
    """A training task (``angioray.training.step``) over phantoms made by worker processes."""

    plateau: Plateau | None = None

    def __init__(
        self,
        detector: RetinaNetSettings,
        settings: PretrainingSettings,
        device: torch.device,
        workers: int,
    ) -> None:
        """Get ready; the workers start with the first step.

        Args:
            detector: what is pretrained.
            settings: how.
            device: where.
            workers: processes that make frames ahead.
        """
        torch.manual_seed(settings.seed)
        network = pretraining_network(detector, settings.view_weight)
        self.model = network.to(memory_format=torch.channels_last).to(device)
        self.steps, self.optimiser = settings.steps, settings.optimiser
        self.batches = ExampleSteps(settings.batch_size)
        self._settings, self._size, self._workers = settings, detector.size, workers
        self._blocks: Iterator[Block] | None = None
        self._block: tuple[int, Block] | None = None

    def enter(self, step: int) -> None:
        """All layers train all the time."""
        self.model.train()

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Targets]:
        """This rank's share of a step's frames (dtype[B, 1, S, S]) and what is true of them."""
        number, i = divmod(step, EXAMPLES)
        if self._block is None or self._block[0] != number:
            self._block = number, self._next(number, world)
        block = self._block[1]
        images = normalise(block.pixels[i].to(world.device), dtype)
        return images, (block.boxes[i].to(world.device), block.arteries.to(world.device))

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Those of the detector and, where there is one, of the view classifier."""
        return self.model.loss(images, targets)

    def _next(self, number: int, world: World) -> Block:
        if self._blocks is None:
            settings = self._settings
            blocks = Blocks(settings.seed, settings.batch_size, self._size, world.rank, world.size)
            last = -(-settings.steps // EXAMPLES)
            self._blocks = iter(
                DataLoader(
                    blocks,
                    batch_size=None,
                    sampler=range(number, last),
                    num_workers=self._workers,
                    prefetch_factor=1 if self._workers else None,
                    multiprocessing_context=(
                        multiprocessing.get_context("forkserver") if self._workers else None
                    ),
                )
            )
        return next(self._blocks)
