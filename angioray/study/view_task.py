"""The view task: how one view classifier is trained and judged (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from angioray.evaluation.views import view_metrics
from angioray.models.classifier import set_stage, view_classifier, view_loss
from angioray.study.coverage import judged_on, trained_on
from angioray.study.matrix import Run
from angioray.study.run_folder import Judgement
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from angioray.training.batches import Batches
from angioray.training.frames import FrameKey, FrameStore
from angioray.training.optimiser import Plateau
from angioray.training.precision import forward_passes
from angioray.training.step import Alive, World, nobody_waits

JUDGING_BATCH = 64


class ViewTask:
    """A ResNet, its training frames and labels, and which batch each step takes."""

    def __init__(
        self, study: Study, index: CohortIndex, run: Run, store: FrameStore, world: World
    ) -> None:
        torch.manual_seed(run.seed)
        settings = study.settings.view
        self._settings = settings
        self._index = index
        self._classes = index.classes
        network = view_classifier(settings.backbone, settings.weights, len(self._classes))
        self.model = network.to(memory_format=torch.channels_last).to(world.device)
        keys = trained_on(study, index, run)
        self._judged = judged_on(study, index, run)
        labels = [self._classes.index(index.view_class[sequence_id]) for sequence_id, _ in keys]
        self._labels = torch.tensor(labels, device=world.device)
        self.batches = Batches(
            store, keys, store.rows_of(keys), settings.batch_size, settings.augmentation, run.seed
        )
        self._steps_per_epoch = -(-len(keys) // settings.batch_size)
        self.steps = settings.epochs * self._steps_per_epoch
        self.optimiser = settings.optimiser
        self.plateau: Plateau | None = None
        if settings.plateau_factor < 1:
            self.plateau = Plateau(
                learning_rate=settings.optimiser.learning_rate,
                factor=settings.plateau_factor,
                patience=settings.plateau_patience,
                threshold=settings.plateau_threshold,
                steps_per_epoch=self._steps_per_epoch,
            )

    @staticmethod
    def frames(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
        """Every frame that any fold trains on or is judged on."""
        fold = study.fold(run)
        sequences = [*fold.train, *fold.validation]
        training = index.view_frames(sequences, study.settings.view.frames_per_sequence)
        return [key for key, _ in training] + [index.view_frame(s) for s in sequences]

    @property
    def compiled_for(self) -> Hashable:
        """The settings and shapes that its losses are compiled for."""
        settings = self._settings
        size = self.batches.store.size
        return (settings.backbone, len(self._classes), size, settings.batch_size)

    def enter(self, step: int) -> None:
        """Freeze or free the early layers, by the epoch that this step lies in."""
        epoch = step // self._steps_per_epoch
        set_stage(self.model, frozen=epoch < self._settings.frozen_epochs)

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """This rank's share of the step's frames (dtype[B, 1, S, S]) and labels (int64[B])."""
        batch = self.batches.take(step, rank=world.rank, ranks=world.size, dtype=dtype)
        return batch.images, self._labels.index_select(0, batch.positions)

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The cross entropy of a batch."""
        return view_loss(self.model, images, labels)

    def judge(self, precision: torch.dtype, alive: Alive = nobody_waits) -> Judgement:
        """Probabilities on one frame of each validation sequence, and the paper's measures."""
        keys = self._judged
        probabilities = view_probabilities(self.model, self.batches.store, keys, precision, alive)
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


def view_probabilities(
    model: nn.Module,
    store: FrameStore,
    keys: Sequence[FrameKey],
    precision: torch.dtype,
    alive: Alive = nobody_waits,
) -> NDArray[np.float64]:
    """Each frame's probability of each class (float64[N, K]; rows sum to 1), in large batches."""
    model.eval()
    answers = []
    for start in range(0, len(keys), JUDGING_BATCH):
        alive()
        rows = store.rows_of(keys[start : start + JUDGING_BATCH])
        answers.append(image_probabilities(model, store.images(rows, dtype=precision)))
    return np.concatenate(answers)


@torch.no_grad()
def image_probabilities(model: nn.Module, images: Tensor) -> NDArray[np.float64]:
    """A judging model's probability of each class (float64[N, K]) of images.

    Args:
        model: in its mode for judging.
        images: dtype[N, 1, S, S], normalised, in the precision of the forward pass.
    """
    with forward_passes(images.device, images.dtype):
        logits = model(images)
    probabilities: NDArray[np.float64] = logits.double().softmax(dim=1).cpu().numpy()
    return probabilities
