"""Training and judging one view classifier (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from angioray.augmentation import augment
from angioray.classifier import set_stage, view_classifier, view_loss
from angioray.frames import FrameKey, FrameStore
from angioray.optimiser import Plateau
from angioray.run_folder import Judgement
from angioray.sampler import batch_positions
from angioray.selection import CohortIndex
from angioray.study import Run, Study
from angioray.training import World
from angioray.view_metrics import view_metrics

JUDGING_BATCH = 64


class ViewJob:
    """A ResNet, its training frames and labels on the device, and which batch each step takes."""

    def __init__(
        self, study: Study, index: CohortIndex, run: Run, store: FrameStore, device: torch.device
    ) -> None:
        torch.manual_seed(run.seed)
        self._settings = study.settings.view
        self._index = index
        self._fold = study.fold(run)
        self._store = store
        self._seed = run.seed
        self._classes = index.classes
        network = view_classifier(
            self._settings.backbone, self._settings.weights, len(self._classes)
        )
        self.model = network.to(memory_format=torch.channels_last).to(device)
        training = index.view_frames(self._fold.train, self._settings.frames_per_sequence)
        self._keys = [key for key, _ in training]
        self._rows = torch.tensor([store.rows[key] for key, _ in training], device=device)
        labels = [self._classes.index(label) for _, label in training]
        self._labels = torch.tensor(labels, device=device)
        self.batch_size = self._settings.batch_size
        self._steps_per_epoch = -(-len(training) // self.batch_size)
        self.steps = self._settings.epochs * self._steps_per_epoch
        self.optimiser = self._settings.optimiser
        self.plateau: Plateau | None = Plateau(
            factor=self._settings.plateau_factor,
            patience=self._settings.plateau_patience,
            steps_per_epoch=self._steps_per_epoch,
        )

    @staticmethod
    def frames(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
        """Every frame that any fold trains on or is judged on."""
        fold = study.fold(run)
        sequences = [*fold.train, *fold.validation]
        training = index.view_frames(sequences, study.settings.view.frames_per_sequence)
        return [key for key, _ in training] + [index.view_frame(s) for s in sequences]

    def enter(self, step: int) -> None:
        """Freeze or free the early layers, by the epoch that this step lies in."""
        epoch = step // self._steps_per_epoch
        set_stage(self.model, frozen=epoch < self._settings.frozen_epochs)

    def batch(self, step: int, world: World) -> tuple[Tensor, Tensor]:
        """This rank's share of the step's frames (float32[B, 1, S, S]) and labels (int64[B])."""
        positions = self._positions(step)
        chosen = torch.from_numpy(positions).to(world.device)
        images = self._store.images(self._rows[chosen])
        images, _ = augment(images, None, self._settings.augmentation, seed=self._seed, step=step)
        share = slice(world.rank, None, world.size)
        return images[share], self._labels[chosen][share]

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The cross entropy of a batch."""
        return view_loss(self.model, images, labels)

    def frames_of(self, step: int) -> list[FrameKey]:
        """The frames of a step, over all ranks."""
        return [self._keys[position] for position in self._positions(step)]

    def _positions(self, step: int) -> NDArray[np.int64]:
        return batch_positions(
            population=len(self._keys), batch_size=self.batch_size, seed=self._seed, step=step
        )

    def judge(self, precision: torch.dtype) -> Judgement:
        """Probabilities on one frame of each validation sequence, and the paper's measures."""
        keys = [self._index.view_frame(sequence_id) for sequence_id in self._fold.validation]
        probabilities = view_probabilities(self.model, self._store, keys, precision)
        labels = [self._index.view_class[sequence_id] for sequence_id, _ in keys]
        image_ids = [self._index.cohort.image_id(*key) for key in keys]
        predictions = [
            {
                "image_id": image_id,
                "probabilities": dict(zip(self._classes, row.round(6).tolist(), strict=True)),
            }
            for image_id, row in zip(image_ids, probabilities, strict=True)
        ]
        metrics = view_metrics(labels, probabilities, self._classes)
        return Judgement(predictions, image_ids, metrics, {"classes": self._classes})


@torch.no_grad()
def view_probabilities(
    model: nn.Module, store: FrameStore, keys: Sequence[FrameKey], precision: torch.dtype
) -> NDArray[np.float64]:
    """Each frame's probability of each class (float64[N, K]; rows sum to 1), in large batches."""
    model.eval()
    device = store.pixels.device
    rows = torch.tensor([store.rows[key] for key in keys], device=device)
    answers = []
    for batch in rows.split(JUDGING_BATCH):
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = model(store.images(batch))
        answers.append(logits.double().softmax(dim=1).cpu())
    return torch.cat(answers).numpy()
