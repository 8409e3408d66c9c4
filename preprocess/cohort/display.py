"""How stored pixel values become the 8-bit picture that a reader sees and a network learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_GREY_RANGE = 24
"""Of 256; pictures with a smaller :func:`grey_range` are nearly one grey: nothing is seen in
them."""
DARK_AND_BRIGHT = (0.05, 0.95)
"""Shares of the pixels that are darker than the dark part, and than the bright part."""


@dataclass(frozen=True, kw_only=True)
class Display:
    """The grey-scale pipeline of DICOM PS3.4 N.2: modality table, window, inversion, 8 bits.

    ``lower`` and ``upper`` are the values shown as black and white, after the modality table;
    ``modality_lut`` holds one output per stored value (0028,3000), or is empty.
    ``replaces_header`` says that the header's own display has hardly any contrast, so that this one
    was found from the pixels.
    """

    lower: float
    upper: float
    inverted: bool = False
    modality_lut: tuple[int, ...] = ()
    replaces_header: bool = False

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Display:
        """Rebuild from JSON."""
        return cls(**{**attributes, "modality_lut": tuple(attributes.get("modality_lut") or ())})

    def lookup(self, values: int) -> NDArray[np.uint8]:
        """The picture's grey level for every stored value below ``values`` (uint8[values])."""
        stored = np.arange(values)
        if self.modality_lut:
            table = np.asarray(self.modality_lut)
            stored = table[np.minimum(stored, len(table) - 1)]
        scaled = (stored - self.lower) / max(self.upper - self.lower, 1e-9)
        grey: NDArray[np.uint8] = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
        return np.invert(grey) if self.inverted else grey

    def apply(self, frames: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint8]:
        """Stored frames (uint8 or uint16, any shape) as 8-bit pictures of the same shape."""
        # Angiograms have 8 to 12 bits: a table of all 16 would take longer than one frame.
        values = 256 if frames.dtype.itemsize == 1 else int(frames.max(initial=0)) + 1
        lookup = self.lookup(values)
        identity = len(lookup) == 256 and bool((lookup == np.arange(256)).all())
        return frames.astype(np.uint8, copy=False) if identity else lookup[frames]

    def grey_range(self, frames: NDArray[np.unsignedinteger[Any]]) -> int:
        """The :func:`grey_range` of stored frames as pictures, 0 to 254."""
        return grey_range(self.apply(frames))


def grey_range(pictures: NDArray[np.uint8]) -> int:
    """Grey levels between the dark and the bright part of 8-bit pictures of any shape.

    Black and white pixels do not count: the border of a cine is black, whatever its display. The
    range is multiplied by the share of the others, so that a picture of black and white has none.
    """
    shown = np.bincount(pictures.reshape(-1), minlength=256)[1:-1]
    darker = np.cumsum(shown)
    if not darker[-1]:
        return 0
    dark, bright = np.searchsorted(darker, np.array(DARK_AND_BRIGHT) * darker[-1])
    return round(float(bright - dark) * float(darker[-1]) / pictures.size)
