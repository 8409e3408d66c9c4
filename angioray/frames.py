"""Frames on the device: every frame of a run as uint8, and how a batch is made of them there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from angioray.backbone import GREY_MEAN, GREY_STD

if TYPE_CHECKING:
    from preprocess.cohort import Cohort

FrameKey = tuple[str, int]
"""A sequence's id and a 0-based frame index."""

TrackLoading = Callable[[Iterable[str], int], Iterable[str]]


@dataclass(frozen=True)
class FrameStore:
    """Frames of many sequences, resized once and kept on one device.

    Attributes:
        pixels: uint8[N, 1, S, S] on the device that trains.
        rows: where each frame lies in ``pixels``.
        scales: for each sequence, network pixels per stored pixel (x, y).
    """

    pixels: Tensor
    rows: dict[FrameKey, int]
    scales: dict[str, tuple[float, float]]

    @property
    def size(self) -> int:
        """The side S of the square frames, in pixels."""
        return int(self.pixels.shape[-1])

    def images(self, rows: Tensor) -> Tensor:
        """Normalised frames (float32[len(rows), 1, S, S], channels last)."""
        return normalise(self.pixels.index_select(0, rows))


def normalise(pixels: Tensor) -> Tensor:
    """uint8[N, 1, H, W] as the networks take them: float32, ImageNet's grey mean and std."""
    images = pixels.to(torch.float32).sub_(255 * GREY_MEAN).div_(255 * GREY_STD)
    return images.contiguous(memory_format=torch.channels_last)


def load_frames(
    cohort: Cohort,
    keys: Sequence[FrameKey],
    *,
    size: int,
    device: torch.device,
    track: TrackLoading | None = None,
) -> FrameStore:
    """Read frames from a cohort, each cine once and in order, onto a device.

    Args:
        cohort: where the cines lie.
        keys: the frames wanted; duplicates are loaded once.
        size: side of the network's square input in pixels.
        device: where the frames stay.
        track: shows progress over the sequences, given them and their number.
    """
    wanted: dict[str, list[int]] = {}
    for sequence_id, frame_index in sorted(set(keys)):
        wanted.setdefault(sequence_id, []).append(frame_index)
    count = sum(len(indices) for indices in wanted.values())
    pixels = torch.empty((count, 1, size, size), dtype=torch.uint8, device=device)
    rows: dict[FrameKey, int] = {}
    scales: dict[str, tuple[float, float]] = {}
    for sequence_id in track(wanted, len(wanted)) if track else wanted:
        indices = wanted[sequence_id]
        cine = torch.from_numpy(cohort.cine_8bit(sequence_id)[indices])
        scales[sequence_id] = (size / cine.shape[2], size / cine.shape[1])
        first = len(rows)
        pixels[first : first + len(indices)] = _resize(cine[:, None], size).to(device)
        rows.update({(sequence_id, t): first + i for i, t in enumerate(indices)})
    return FrameStore(pixels, rows, scales)


def _resize(frames: Tensor, size: int) -> Tensor:
    if frames.shape[-2:] == (size, size):
        return frames
    resized: Tensor = transforms.resize(frames, [size, size], antialias=True)
    return resized
