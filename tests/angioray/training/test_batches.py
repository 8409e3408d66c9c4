"""Batches: what ranks take together is what one rank takes alone."""

import numpy as np
import torch

from angioray.training.augmentation import move_boxes, move_images
from angioray.training.batches import Batches
from angioray.training.settings import AugmentationSettings
from tests.angioray.frame_stores import store_of

STILL = AugmentationSettings()
MOVING = AugmentationSettings(zoom=0.2, shift=0.1, flip=0.5)


def batches(augmentation: AugmentationSettings) -> Batches:
    """Batches of 4 out of 10 noisy frames, of which the last two are left out."""
    generator = torch.Generator().manual_seed(0)
    store = store_of(torch.randint(0, 256, (10, 1, 16, 16), dtype=torch.uint8, generator=generator))
    keys = [(f"S{i}", 0) for i in range(7, -1, -1)]
    return Batches(store, keys, store.rows_of(keys), 4, augmentation, seed=3)


def test_ranks_share_a_step_and_its_changes() -> None:
    for augmentation in (STILL, MOVING):
        of = batches(augmentation)
        whole = of.take(5, rank=0, ranks=1, dtype=torch.float32)
        parts = [of.take(5, rank=rank, ranks=2, dtype=torch.float32) for rank in range(2)]
        for rank, part in enumerate(parts):
            assert torch.equal(part.images, whole.images[rank::2])
            assert torch.equal(part.positions, whole.positions[rank::2])
        assert (whole.movement is None) == (augmentation is STILL)


def test_what_a_batch_needs_at_most_is_counted_for_the_share_of_a_rank() -> None:
    of, counts = batches(STILL), np.full(8, 20)
    # Four frames a batch; rounded up to a multiple of 16.
    assert of.most_in_a_batch(counts, steps=6) == 80
    assert of.most_in_a_batch(counts, steps=6, ranks=2) == 48
    one = np.array([100, 0, 0, 0, 0, 0, 0, 0])
    assert of.most_in_a_batch(one, steps=6, ranks=4) == 112, "some rank gets it"
    assert batches(MOVING).most_in_a_batch(counts, steps=6) is None


def test_a_batch_holds_the_frames_it_names() -> None:
    of = batches(AugmentationSettings(brightness=0, contrast=0))
    for step in range(4):
        batch = of.take(step, rank=0, ranks=1, dtype=torch.float32)
        names = [of.keys[position] for position in batch.positions.tolist()]
        assert names == of.keys_of(step)
        # Keys run backwards, so row and position differ.
        rows = np.array([int(sequence_id[1:]) for sequence_id, _ in names])
        assert torch.equal(batch.images, of.store.images(rows))


def test_boxes_can_follow_the_movement_of_a_batch() -> None:
    of = batches(AugmentationSettings(brightness=0, contrast=0, flip=1.0))
    batch = of.take(0, rank=0, ranks=1, dtype=torch.bfloat16)
    assert batch.movement is not None
    still = of.store.images(of.rows[batch.positions.numpy()])
    torch.testing.assert_close(batch.images, move_images(still, batch.movement))
    boxes = torch.tensor([[[2.0, 4, 6, 8]]]).expand(4, 1, 4)
    expected = torch.tensor([[[10.0, 4, 14, 8]]]).expand(4, 1, 4)
    torch.testing.assert_close(move_boxes(boxes, batch.movement, 16), expected)
