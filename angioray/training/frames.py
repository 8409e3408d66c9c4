"""The frames of a run as uint8 near the device, and how a batch is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from angioray.models.backbone import GREY_MEAN, GREY_STD
from angioray.training.augmentation import Tone
from angioray.training.frame_placement import Residence, Share, allocate, choose_residence

if TYPE_CHECKING:
    from preprocess.cohort import Cohort

FrameKey = tuple[str, int]
"""A sequence's id and a 0-based frame index."""

TrackLoading = Callable[[Iterable[str], int], Iterable[str]]

GAIN = 1 / (255 * GREY_STD)
OFFSET = -GREY_MEAN / GREY_STD
"""A grey level from 0 to 255 times GAIN plus OFFSET has ImageNet's grey mean and deviation."""

BROUGHT_AT_ONCE = 16
"""Sequences of a cohort in an object store that are copied here together."""

CACHED_FRAMES = 4
"""Frames that a CPU turns from uint8 into floats at a time, so that they stay in its cache."""


@dataclass(frozen=True)
class FrameStore:
    """Frames of many sequences, resized once, kept where the device finds them fast.

    Attributes:
        pixels: uint8[N, 1, S, S], on the device, in host memory or on disk.
        means: float32[N] on the host, each frame's mean grey level from 0 to 255.
        rows: where each frame lies in ``pixels``.
        scales: for each sequence, network pixels per stored pixel (x, y).
        device: where batches are made.
        residence: where ``pixels`` lie, and why.
    """

    pixels: Tensor
    means: Tensor
    rows: dict[FrameKey, int]
    scales: dict[str, tuple[float, float]]
    device: torch.device
    residence: Residence

    @property
    def size(self) -> int:
        """The side S of the square frames, in pixels."""
        return int(self.pixels.shape[-1])

    def rows_of(self, keys: Sequence[FrameKey]) -> NDArray[np.int64]:
        """Where frames lie in ``pixels`` (int64[len(keys)])."""
        return np.array([self.rows[key] for key in keys], dtype=np.int64)

    def images(
        self,
        rows: NDArray[np.int64],
        tone: Tone | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Normalised frames on the device (dtype[len(rows), 1, S, S], channels last).

        Args:
            rows: int64[B], which ones.
            tone: a change of each one's grey levels, on the host.
            dtype: rounded to from float32; what the first layer would round them to anyway.
        """
        gain = torch.full((len(rows),), GAIN)
        offset = torch.full((len(rows),), OFFSET)
        if tone is not None:
            mean = self.means[torch.from_numpy(rows)] * GAIN + OFFSET
            offset = offset * tone.gain + mean * (1 - tone.gain) + tone.shift
            gain = gain * tone.gain
        affine = sent(torch.stack([gain, offset]), self.device)
        return _scaled(self._gathered(rows), affine[0], affine[1], dtype)

    def _gathered(self, rows: NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(rows)
        # By type: `cuda` and `cuda:0` are one device and compare as two.
        if self.pixels.device.type == self.device.type:
            return self.pixels.index_select(0, sent(index, self.device))
        # A fresh page-locked buffer each time: torch reuses one once its copy is through.
        staged = torch.empty((len(rows), *self.pixels.shape[1:]), dtype=torch.uint8).pin_memory()
        torch.index_select(self.pixels, 0, index, out=staged)
        return staged.to(self.device, non_blocking=True)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Host values on their way to a device, without making the host wait for what runs there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8[N, 1, H, W] as the networks take them: ImageNet's grey mean and std, channels last."""
    count = len(pixels)
    gain, offset = (torch.full((count,), v, device=pixels.device) for v in (GAIN, OFFSET))
    return _scaled(pixels, gain, offset, dtype)


def _scaled(pixels: Tensor, gain: Tensor, offset: Tensor, dtype: torch.dtype) -> Tensor:
    """``pixels * gain + offset`` for each image, in float32 and rounded once to ``dtype``."""
    images = torch.empty(pixels.shape, dtype=dtype, device=pixels.device)
    gain, offset = gain[:, None, None, None], offset[:, None, None, None]
    at_once = CACHED_FRAMES if pixels.device.type == "cpu" else max(1, len(pixels))
    for first in range(0, len(pixels), at_once):
        part = slice(first, first + at_once)
        images[part] = pixels[part].to(torch.float32).mul_(gain[part]).add_(offset[part])
    # With one channel, rows in C order are channels last already; only the strides say otherwise.
    return images.contiguous(memory_format=torch.channels_last)


def load_frames(
    cohort: Cohort,
    keys: Iterable[FrameKey],
    *,
    size: int,
    device: torch.device,
    share: Share | None = None,
    track: TrackLoading | None = None,
) -> FrameStore:
    """Read frames from a cohort, each cine once and in order, to where they are kept.

    Args:
        cohort: where the cines lie.
        keys: the frames wanted; duplicates are loaded once.
        size: side of the network's square input in pixels.
        device: where batches are made.
        share: the part of this machine that is the caller's; all of it if None.
        track: shows progress over the sequences, given them and their number.

    Raises:
        ValueError: the frames fit neither in memory nor on disk.
    """
    wanted: dict[str, list[int]] = {}
    for sequence_id, frame_index in sorted(set(keys)):
        wanted.setdefault(sequence_id, []).append(frame_index)
    shape = (sum(len(indices) for indices in wanted.values()), 1, size, size)
    residence = choose_residence(shape, device, share or Share())
    pixels = allocate(shape, device, residence)
    means = torch.empty(shape[0])
    rows: dict[FrameKey, int] = {}
    scales: dict[str, tuple[float, float]] = {}
    sequence_ids = list(wanted)
    for i, sequence_id in enumerate(track(wanted, len(wanted)) if track else wanted):
        if i % BROUGHT_AT_ONCE == 0:
            cohort.bring(sequence_ids[i : i + BROUGHT_AT_ONCE])
        indices = wanted[sequence_id]
        cine = torch.from_numpy(cohort.cine_8bit(sequence_id)[indices])
        scales[sequence_id] = (size / cine.shape[2], size / cine.shape[1])
        part = slice(len(rows), len(rows) + len(indices))
        frames = resize(cine[:, None], size)
        means[part] = mean_grey(frames)
        pixels[part] = frames.to(pixels.device)
        rows.update({(sequence_id, t): part.start + i for i, t in enumerate(indices)})
    return FrameStore(pixels, means, rows, scales, device, residence)


def mean_grey(frames: Tensor) -> Tensor:
    """Each frame's mean grey level (float32[N]) of uint8[N, 1, S, S], exact to float32."""
    sums: NDArray[Any] = frames.cpu().numpy().sum(axis=(1, 2, 3), dtype=np.int64)
    return torch.from_numpy((sums / (frames.shape[-1] * frames.shape[-2])).astype(np.float32))


def resize(frames: Tensor, size: int) -> Tensor:
    """uint8[N, 1, H, W] as networks of one input size take them: uint8[N, 1, size, size]."""
    if frames.shape[-2:] == (size, size):
        return frames
    resized: Tensor = transforms.resize(frames, [size, size], antialias=True)
    return resized
