"""Random changes of training frames, for a whole batch at once and on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from angioray.backbone import GREY_STD
from angioray.sampler import step_generator

SMALLEST_VISIBLE_SHARE = 0.5
"""A box that keeps less of its area than this inside the frame is no longer a lesion to learn."""


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How much a training frame may change, drawn anew each time it is used.

    The paper changes brightness and contrast (section 3.2); the geometric ones are ours and off
    unless set.
    """

    brightness: float = 0.2
    """Greatest shift of brightness, as a share of the grey range, 0 to 1."""
    contrast: float = 0.2
    """Greatest relative change of contrast around the frame's mean, 0 to 1."""
    zoom: float = 0.0
    """Greatest relative change of size, 0 to below 1."""
    shift: float = 0.0
    """Greatest shift along each axis, as a share of the frame's side, 0 to 1."""
    flip: float = 0.0
    """Probability of mirroring left and right, 0 to 1."""


def augment(
    images: Tensor, boxes: Tensor | None, settings: AugmentationSettings, *, seed: int, step: int
) -> tuple[Tensor, Tensor | None]:
    """Change each image, and its boxes with it; the same seed and step give the same changes.

    Args:
        images: float32[B, 1, S, S], normalised.
        boxes: float32[B, G, 4] xyxy in pixels, padded with boxes of no area; None without any.
        settings: how much.
        seed: of the run.
        step: which batch of the run.
    """
    generator = step_generator(seed=seed, step=step)
    draws = torch.rand(6, len(images), generator=generator).to(images.device)
    images = _grey(images, draws[:2], settings)
    if not (settings.zoom or settings.shift or settings.flip):
        return images, boxes
    reach = draws[2:5] * 2 - 1
    scale_y = 1 + settings.zoom * reach[0]
    scale_x = torch.where(draws[5] < settings.flip, -scale_y, scale_y)
    # In coordinates from -1 to 1, so that a shift by the whole side is 2.
    shift = 2 * settings.shift * reach[1:3]
    images = _resample(images, scale_x, scale_y, shift)
    if boxes is not None:
        boxes = _move(boxes, scale_x, scale_y, shift, images.shape[-1])
    return images, boxes


def _grey(images: Tensor, draws: Tensor, settings: AugmentationSettings) -> Tensor:
    if not (settings.brightness or settings.contrast):
        return images
    reach = (draws * 2 - 1)[:, :, None, None, None]
    mean = images.mean(dim=(2, 3), keepdim=True)
    gain = 1 + settings.contrast * reach[1]
    return (images - mean) * gain + mean + settings.brightness / GREY_STD * reach[0]


def _resample(images: Tensor, scale_x: Tensor, scale_y: Tensor, shift: Tensor) -> Tensor:
    """Images at their new place: each output pixel looks up where it came from."""
    zero = torch.zeros_like(scale_x)
    back = torch.stack(
        [
            torch.stack([1 / scale_x, zero, -shift[0] / scale_x], dim=1),
            torch.stack([zero, 1 / scale_y, -shift[1] / scale_y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(back, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)


def _move(boxes: Tensor, scale_x: Tensor, scale_y: Tensor, shift: Tensor, size: int) -> Tensor:
    """Boxes at their new place, cut to the frame; those mostly outside become padding."""
    scale = torch.stack([scale_x, scale_y], dim=1)[:, None, :]
    offset = shift.T[:, None, :]
    corners = [
        ((2 * corner / size - 1) * scale + offset + 1) * size / 2
        for corner in (boxes[..., :2], boxes[..., 2:])
    ]
    low, high = torch.minimum(*corners), torch.maximum(*corners)
    whole = (high - low).prod(dim=-1)
    low, high = low.clamp(0, size), high.clamp(0, size)
    visible = (high - low).prod(dim=-1) >= SMALLEST_VISIBLE_SHARE * whole
    keep = (visible & (whole > 0))[..., None]
    return torch.where(keep, torch.cat([low, high], dim=-1), 0.0)
