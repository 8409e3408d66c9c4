"""Random changes of training frames: drawn on the host, made on the device for a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from angioray.models.backbone import GREY_STD
from angioray.training.sampler import step_generator
from angioray.training.settings import AugmentationSettings

SMALLEST_VISIBLE_SHARE = 0.5
"""A box that keeps less of its area than this inside the frame is no longer a lesion to learn."""


@dataclass(frozen=True)
class Tone:
    """A change of grey levels, per image: ``(image - mean) * gain + mean + shift``.

    Attributes:
        gain: float32[B], contrast around the image's own mean.
        shift: float32[B], brightness in normalised grey levels.
    """

    gain: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Movement:
    """Where the pixels of each image go: ``scale`` around its centre, then ``shift``.

    Attributes:
        scale: float32[2, B] along x and y; a negative one mirrors.
        shift: float32[2, B] along x and y, in half sides.
    """

    scale: Tensor
    shift: Tensor


def draw_changes(
    settings: AugmentationSettings, count: int, *, seed: int, step: int
) -> tuple[Tone | None, Movement | None]:
    """What happens to the ``count`` images of a step, on the host; None where nothing does.

    The same seed and step give the same changes, whenever and wherever they are drawn.
    """
    draws = torch.rand(6, count, generator=step_generator(seed=seed, step=step))
    tone = movement = None
    if settings.brightness or settings.contrast:
        reach = draws[:2] * 2 - 1
        gain = 1 + settings.contrast * reach[1]
        tone = Tone(gain, settings.brightness / GREY_STD * reach[0])
    if settings.moves:
        reach = draws[2:5] * 2 - 1
        scale = 1 + settings.zoom * reach[0]
        mirrored = torch.where(draws[5] < settings.flip, -scale, scale)
        # Half sides run from -1 to 1, so a shift by the whole side is 2.
        movement = Movement(torch.stack([mirrored, scale]), 2 * settings.shift * reach[1:3])
    return tone, movement


def move_images(images: Tensor, movement: Movement) -> Tensor:
    """Images (float32[B, 1, S, S]) at their new place; what comes from outside repeats the rim."""
    (scale_x, scale_y), (shift_x, shift_y) = movement.scale, movement.shift
    zero = torch.zeros_like(scale_x)
    # Each output pixel looks up where it came from.
    back = torch.stack(
        [
            torch.stack([1 / scale_x, zero, -shift_x / scale_x], dim=1),
            torch.stack([zero, 1 / scale_y, -shift_y / scale_y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(back, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)


def move_boxes(boxes: Tensor, movement: Movement, size: int) -> Tensor:
    """Boxes (float32[B, G, 4] xyxy in pixels) at their new place in frames of side ``size``.

    They are cut to the frame; those that lie mostly outside become padding, and padding stays so.
    """
    scale, shift = movement.scale.T[:, None, :], movement.shift.T[:, None, :]
    corners = [
        ((2 * corner / size - 1) * scale + shift + 1) * size / 2
        for corner in (boxes[..., :2], boxes[..., 2:])
    ]
    low, high = torch.minimum(*corners), torch.maximum(*corners)
    whole = (high - low).prod(dim=-1)
    low, high = low.clamp(0, size), high.clamp(0, size)
    visible = (high - low).prod(dim=-1) >= SMALLEST_VISIBLE_SHARE * whole
    keep = (visible & (whole > 0))[..., None]
    return torch.where(keep, torch.cat([low, high], dim=-1), 0.0)
