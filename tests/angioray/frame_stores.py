"""Frame stores made of given pixels."""

from typing import Literal

import torch

from angioray.training.frame_placement import Residence
from angioray.training.frames import FrameStore, mean_grey

CPU = torch.device("cpu")


def store_of(pixels: torch.Tensor, place: Literal["host", "disk"] = "host") -> FrameStore:
    """A store of uint8[N, 1, S, S], each a frame of its own sequence S0, S1 and so on."""
    count = len(pixels)
    rows = {(f"S{i}", 0): i for i in range(count)}
    scales = {f"S{i}": (1.0, 1.0) for i in range(count)}
    return FrameStore(pixels, mean_grey(pixels), rows, scales, CPU, Residence(place, ""))
