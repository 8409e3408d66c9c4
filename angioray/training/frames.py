"""The frames of a run as uint8 near the device, and how a batch is made of them."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from angioray.models.backbone import GREY_MEAN, GREY_STD
from angioray.training import shared_memory
from angioray.training.augmentation import Tone
from angioray.training.frame_placement import (
    Place,
    Residence,
    Share,
    allocate,
    decide,
    describe,
    room_for,
)
from angioray.training.frame_stream import FrameStream

if TYPE_CHECKING:
    from preprocess.cohort import Cohort

FrameKey = tuple[str, int]
"""A sequence's id and a 0-based frame index."""

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
        gathered = self._gathered(rows)
        gain = torch.full((len(rows),), GAIN)
        offset = torch.full((len(rows),), OFFSET)
        if tone is not None:
            mean = self.means[torch.from_numpy(rows)] * GAIN + OFFSET
            offset = offset * tone.gain + mean * (1 - tone.gain) + tone.shift
            gain = gain * tone.gain
        affine = sent(torch.stack([gain, offset]), self.device)
        return _scaled(gathered, affine[0], affine[1], dtype)

    def read_ahead(self, step: int, rows_of: Callable[[int], NDArray[np.int64]]) -> None:
        """Be told which rows a step and the following ones need: of use to frames that are read.

        Args:
            step: the one that comes next.
            rows_of: the rows of a step.
        """

    def _gathered(self, rows: NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(rows)
        # By type: `cuda` and `cuda:0` are one device and compare as two.
        if self.pixels.device.type == self.device.type:
            return self.pixels.index_select(0, sent(index, self.device))
        # A fresh page-locked buffer each time: torch reuses one once its copy is through.
        staged = torch.empty((len(rows), *self.pixels.shape[1:]), dtype=torch.uint8).pin_memory()
        torch.index_select(self.pixels, 0, index, out=staged)
        return staged.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class StreamedFrames(FrameStore):
    """Frames for which there is no place: ``pixels`` has none of them, they are read when needed.

    Attributes:
        stream: reads them, and ``means`` on the way.
    """

    stream: FrameStream

    def read_ahead(self, step: int, rows_of: Callable[[int], NDArray[np.int64]]) -> None:
        self.stream.read_ahead(step, rows_of)

    def _gathered(self, rows: NDArray[np.int64]) -> Tensor:
        return sent(self.stream.take(rows), self.device)


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
    alive: Callable[[], None] = lambda: None,
) -> FrameStore:
    """Frames of a cohort for batches: each cine is read once and in order, once on a machine.

    Where there is no place for all of them, they are read while they are needed.

    Args:
        cohort: where the cines lie.
        keys: the frames wanted; duplicates are loaded once.
        size: side of the network's square input in pixels.
        device: where batches are made.
        share: the part of this machine that is the caller's, who has one copy of the frames with
            other processes. Without it, all is the caller's, and so are the frames.
        alive: is called again and again.

    Raises:
        ValueError: a cine is damaged; or without a share, there is no place for the frames.
    """
    wanted = _Wanted(cohort, sorted(set(keys)), size)
    room = room_for(device)
    residence = decide(wanted.shape, room, share or Share())
    shared = None
    if share is not None:
        place = residence.place
        if place == "device" and share.host < 1:
            # Others want them on their devices too: one reads them for all, if memory has room.
            place = decide(wanted.shape, replace(room, device=None, disk=0), share).place
        shared = _shared(wanted, place, alive)
        if shared is None and residence.place == "cohort":
            return wanted.streamed(device, residence)
    if shared is None:
        means = torch.empty(len(wanted.keys))
        pixels = allocate(wanted.shape, device, residence)
        wanted.read(means, pixels, alive)
    else:
        means, pixels = shared
        if residence.place == "device":  # and let go of what the host has
            pixels, means = pixels.to(device), means.clone()
        elif residence.place == "cohort":
            residence = Residence("host", f"{describe(wanted.shape)}: another process has them")
    return FrameStore(pixels, means, wanted.rows, wanted.scales, device, residence)


def _shared(
    wanted: _Wanted, place: Place, alive: Callable[[], None]
) -> tuple[Tensor, Tensor] | None:
    """Mean grey levels and frames that the processes of this machine hold once.

    None if no process has them, and they are not to be kept in host memory or on disk.
    """
    count = len(wanted.keys)
    length = 4 * count + math.prod(wanted.shape)

    def parts(content: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        with warnings.catch_warnings(action="ignore"):  # that nobody may write to them
            both = torch.from_numpy(content)
        return both[: 4 * count].view(torch.float32), both[4 * count :].view(wanted.shape)

    with shared_memory.turn(wanted.name, alive):
        content = shared_memory.find(wanted.name, length)
        if content is None and place in ("host", "disk"):
            with suppress(shared_memory.NoRoomError):  # then each process has its own
                content = shared_memory.make(
                    wanted.name,
                    length,
                    lambda empty: wanted.read(*parts(empty), alive),
                    on_disk=place == "disk",
                )
    return None if content is None else parts(content)


@dataclass(frozen=True)
class _Wanted:
    """Frames of a cohort at one size, in the order of their rows.

    Attributes:
        cohort: where the cines lie.
        keys: the frames, sorted, so that those of a cine are together.
        size: side of the network's square input in pixels.
    """

    cohort: Cohort
    keys: Sequence[FrameKey]
    size: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all of them: [N, 1, S, S]."""
        return len(self.keys), 1, self.size, self.size

    @cached_property
    def rows(self) -> dict[FrameKey, int]:
        """The row of each frame."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def by_cine(self) -> dict[str, list[int]]:
        """The indices of the frames of each sequence."""
        wanted: dict[str, list[int]] = {}
        for sequence_id, frame_index in self.keys:
            wanted.setdefault(sequence_id, []).append(frame_index)
        return wanted

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """For each sequence, network pixels per stored pixel (x, y)."""
        cines = ((name, self.cohort.sequences[name]) for name in self.by_cine)
        return {name: (self.size / cine.width, self.size / cine.height) for name, cine in cines}

    @property
    def name(self) -> str:
        """A digest of all that the pixels depend on."""
        digest = hashlib.sha256(f"{torch.__version__} {self.size}".encode())
        for sequence_id, indices in self.by_cine.items():
            cine = self.cohort.sequences[sequence_id]
            stored = (cine.frames_digest, cine.height, cine.width, cine.display, indices)
            digest.update(repr(stored).encode())
        return digest.hexdigest()[:32]

    def read(self, means: Tensor, pixels: Tensor, alive: Callable[[], None]) -> None:
        """Write all frames (uint8[N, 1, S, S]) and their mean grey levels (float32[N])."""
        names, first = list(self.by_cine), 0
        for i, (sequence_id, indices) in enumerate(self.by_cine.items()):
            alive()
            if i % BROUGHT_AT_ONCE == 0:
                self.cohort.bring(names[i : i + BROUGHT_AT_ONCE])
            cine = torch.from_numpy(self.cohort.cine_8bit(sequence_id)[indices])
            frames = resize(cine[:, None], self.size)
            part = slice(first, first + len(indices))
            means[part] = mean_grey(frames)
            pixels[part] = frames.to(pixels.device)
            first = part.stop

    def streamed(self, device: torch.device, residence: Residence) -> FrameStore:
        """A store that reads frames when they are needed."""
        means = torch.empty(len(self.keys))

        def read(row: int) -> Tensor:
            frame = torch.from_numpy(self.cohort.frame_8bit(*self.keys[row]))
            resized = resize(frame[None, None], self.size)
            means[row] = mean_grey(resized)[0]
            return resized[0]

        stream = FrameStream(
            read,
            room=residence.cache // self.size**2,
            threads=torch.get_num_threads(),
        )
        nothing = torch.empty((0, *self.shape[1:]), dtype=torch.uint8)
        return StreamedFrames(nothing, means, self.rows, self.scales, device, residence, stream)


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
