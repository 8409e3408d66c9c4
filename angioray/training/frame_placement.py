"""The place of a run's frames: on the device, in host memory, on disk, or in the cohort."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from angioray.training import host_memory

DEVICE_SHARE = 0.5
"""Of a GPU's free memory that frames may take; the rest is for weights and activations."""
HOST_SHARE = 0.5
"""Of the machine's free memory that frames may take."""
DISK_SHARE = 0.8
"""Of the free space of the folder for temporary files that frames may take."""

GIB = 2**30

Place = Literal["device", "host", "disk", "cohort"]


@dataclass(frozen=True)
class Residence:
    """Where frames are kept, and the reason in words.

    In ``cohort`` they are read while a run trains, through a cache of so many bytes.
    """

    place: Place
    reason: str
    cache: int = 0


@dataclass(frozen=True)
class Share:
    """The part of a machine that one process may count on, lest several fill it twice (0 to 1)."""

    device: float = 1.0
    """Of its GPU's memory."""
    host: float = 1.0
    """Of the machine's memory and disk."""
    frames: float = 0.0
    """Likewise, for frames that other processes use as well; ``host`` if that is more."""


@dataclass(frozen=True)
class Room:
    """Free bytes by place; ``device`` is None where the device is the host itself."""

    device: int | None
    host: int
    disk: int


def room_for(device: torch.device) -> Room:
    """What is free on this machine now."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    return Room(on_device, host_memory.free(), shutil.disk_usage(tempfile.gettempdir()).free)


def decide(shape: tuple[int, ...], room: Room, share: Share) -> Residence:
    """The fastest place that has room: device, host memory, a file on disk, the cohort itself.

    Args:
        shape: of all frames together.
        room: what is free on this machine.
        share: the part of it that is the caller's.
    """
    needed = math.prod(shape)
    need = describe(shape)
    passed = []
    if room.device is not None:
        free = room.device * share.device * DEVICE_SHARE
        if needed <= free:
            return Residence("device", f"{need}: kept on the GPU, which has {_gib(free)} for them")
        passed.append(f"the GPU has {_gib(free)} for them")
    part = max(share.host, share.frames)
    free = room.host * part * HOST_SHARE
    if needed <= free:
        place = f"kept in host memory, which has {_gib(free)} for them"
        return Residence("host", "; ".join([f"{need}: {place}", *passed]))
    passed.append(f"host memory has {_gib(free)} for them")
    free = room.disk * part * DISK_SHARE
    if needed <= free:
        place = f"kept in a temporary file on disk, which has {_gib(free)} for them"
        return Residence("disk", "; ".join([f"{need}: {place}", *passed]))
    cache = int(room.host * share.host * HOST_SHARE)
    return Residence(
        "cohort",
        f"{need}, and there is no place for all of them: {'; '.join(passed)}, and "
        f"{tempfile.gettempdir()} has {_gib(free)}. They are read from the cohort while training, "
        f"{_gib(cache)} of them kept at a time, which is slower. To keep them all, set TMPDIR to a "
        "folder on a larger disk, train fewer runs at once (`--lanes.lanes`), or lower the size or "
        "the frames per sequence.",
        cache,
    )


def describe(shape: tuple[int, ...]) -> str:
    """The number, size and bytes of frames of uint8[shape], in words."""
    return f"{shape[0]} frames of {shape[-1]} x {shape[-2]} take {math.prod(shape) / GIB:.2f} GiB"


def allocate(shape: tuple[int, ...], device: torch.device, residence: Residence) -> Tensor:
    """Room for uint8[shape] at that place, for this process alone.

    Raises:
        ValueError: there is none.
    """
    if residence.place == "cohort":
        nowhere = residence.reason.partition(". They are read")[0]
        raise ValueError(
            f"{nowhere}. Set TMPDIR to a folder on a larger disk, or give fewer cines."
        )
    if residence.place == "device":
        return torch.empty(shape, dtype=torch.uint8, device=device)
    if residence.place == "host":
        return torch.empty(shape, dtype=torch.uint8)
    # The file has no name: nobody else can read it, and it goes with the process, however it ends.
    with tempfile.TemporaryFile(prefix="angioray-") as file:
        return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="w+", shape=shape))


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
