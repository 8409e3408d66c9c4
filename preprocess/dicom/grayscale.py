"""The grey-scale display of a DICOM header (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from preprocess.cohort.display import LEAST_GREY_RANGE, Display
from preprocess.dicom.acceptance import numbers_of, value_of
from preprocess.dicom.parsing import swapped_pairs

PERCENTILES = (0.5, 99.5)
NARROWEST = 32
"""Values between black and white at the least, or noise around one value would fill the scale."""
LEAST_SHARE = 0.19
"""Of the contrast that a window from the pixels gives; a display with less was meant for other
pixels, as a window of 10 bits for pixels of 8."""
LEAST_SLOPE = 1e-9
"""A rescale slope nearer to 0 leaves one value of all."""
SAMPLE_EVERY = 8
"""Rows and columns skipped between samples when a window has to be found from the pixels."""

Find = Callable[[str], Any]
"""The first value of a keyword anywhere in the header, or None."""


def sample_of(frames: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Of frames [T, H, W], the pixels that a window is found from and a display is judged by."""
    return frames[:, ::SAMPLE_EVERY, ::SAMPLE_EVERY]


def display_of(
    find: Find, sample: NDArray[np.unsignedinteger[Any]], *, bits_stored: int
) -> Display:
    """The grey-scale pipeline that the header asks for, or a robust window where it asks nothing.

    ``sample`` is any part of the stored values (:func:`sample_of` the frames). Where the header's
    window leaves hardly any contrast, its table is taken, else a window from the pixels, and the
    display says that it ``replaces_header``.

    Of several windows or tables the first that can be used counts. SIGMOID (0028,1056) is drawn as
    a line.
    """
    for_display = is_for_display(find)
    stored = np.arange(2**bits_stored)
    table = next(tables_of(find("ModalityLUTSequence")), None) if for_display else None
    modality = () if table is None else table.of(stored)
    slope, intercept = rescale_of(find) if for_display and table is None else (1.0, 0.0)
    monochrome1 = find("PhotometricInterpretation") == "MONOCHROME1"

    def between(edges: tuple[float, float], lut: tuple[int, ...]) -> Display:
        # A negative slope turns black and white round.
        inverted = monochrome1 != (slope < 0)
        return Display(lower=min(edges), upper=max(edges), inverted=inverted, modality_lut=lut)

    displays = []
    if window := next(windows_of(find), None):
        lower, upper = ((edge - intercept) / slope for edge in _edges(*window, find))
        displays.append(between((lower, upper), modality))
    if voi := next(tables_of(find("VOILUTSequence")), None):
        outputs = np.asarray(modality) if modality else stored
        # Many declare 16 bits for values of 12: the values themselves say what is white.
        displays.append(
            Display(
                lower=float(voi.outputs.min()),
                upper=float(voi.outputs.max()),
                inverted=monochrome1,
                modality_lut=voi.of(outputs * slope + intercept),
            )
        )
    found = [
        between(_percentiles(sample, np.asarray(lut) if lut else stored), lut)
        for lut in dict.fromkeys((modality, ()))
    ]
    displays += found
    possible = max(display.grey_range(sample) for display in found)
    least = max(LEAST_GREY_RANGE, LEAST_SHARE * possible)
    shown = next((d for d in displays if d.grey_range(sample) >= least), displays[0])
    return shown if shown is displays[0] else replace(shown, replaces_header=True)


def is_for_display(find: Find) -> bool:
    """Whether the modality table or rescale is part of the display.

    Where Pixel Intensity Relationship (0028,1040) is LOG or DISP it is not: there it leads back to
    X-ray intensity (C.8.7.1.1.2).
    """
    return str(find("PixelIntensityRelationship") or "").strip() not in ("LOG", "DISP")


def windows_of(find: Find) -> Iterator[tuple[float, float]]:
    """Centre and width of the windows that can be used (C.11.2.1.2)."""
    for pair in zip(_values(find("WindowCenter")), _values(find("WindowWidth")), strict=False):
        numbers = numbers_of(pair)
        # LINEAR counts whole values. The others are also for rescaled ones, all between 0 and 1.
        if numbers and numbers[1] > 0 and (numbers[1] >= 1 or _is_exact(find)):
            yield numbers[0], numbers[1]


def _edges(centre: float, width: float, find: Find) -> tuple[float, float]:
    """The values shown as black and white (LINEAR, or exact where it says so)."""
    if _is_exact(find):
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _is_exact(find: Find) -> bool:
    return find("VOILUTFunction") in ("LINEAR_EXACT", "SIGMOID")


def rescale_of(find: Find) -> tuple[float, float]:
    """Slope and intercept; (1, 0) changes nothing."""
    slope, intercept = (
        next(iter(numbers_of(find(f"Rescale{name}"))), 0.0) for name in ("Slope", "Intercept")
    )
    return slope if abs(slope) > LEAST_SLOPE else 1.0, intercept


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


@dataclass(frozen=True, kw_only=True, eq=False)
class LookupTable:
    """A LUT (C.11.1.1): ``outputs`` (int[N]) for the inputs from ``first`` on, in ``bits`` each."""

    first: int
    bits: int
    outputs: NDArray[np.integer[Any]]

    def of(self, inputs: NDArray[Any]) -> tuple[int, ...]:
        """One output for each input; those below the first and beyond the last get the ends'."""
        negative = self.first >= 2**15 and inputs.min() < 0  # signed, and written as unsigned
        first = self.first - 2**16 if negative else self.first
        position = np.clip(np.rint(inputs) - first, 0, len(self.outputs) - 1).astype(int)
        return tuple(self.outputs[position].tolist())


def tables_of(sequence: Any) -> Iterator[LookupTable]:
    """The LUTs of a sequence whose descriptor (0028,3002) and data (0028,3006) fit together."""
    for item in sequence if isinstance(sequence, Sequence) else ():
        descriptor = numbers_of(value_of(item, "LUTDescriptor"))
        if len(descriptor) != 3:
            continue
        count, first, bits = map(int, descriptor)
        outputs = _outputs(item, count % 2**16 or 2**16, bits)  # 0 says 65536
        if outputs is not None:
            yield LookupTable(first=first, bits=bits, outputs=outputs)


def _outputs(item: Dataset, count: int, bits: int) -> NDArray[np.integer[Any]] | None:
    """The first ``count`` entries of LUT Data, or None where there are fewer.

    Entries of 8 bits lie one or two to a word: the length of the data says which.
    """
    data = value_of(item, "LUTData")
    if data is None:
        return None
    big = isinstance(data, bytes) and item.original_encoding[1] is False
    if not isinstance(data, bytes):  # words (VR US), which pydicom has read already
        data = (np.asarray(_values(data)).astype(int) & 0xFFFF).astype("<u2").tobytes()
    size = len(data)
    if size == 2 * count or (bits > 8 and size > 2 * count):
        return np.frombuffer(data, ">u2" if big else "<u2", count=count).astype(int)
    if size >= count and (bits <= 8 or size <= count + 1):
        paired = big and item["LUTData"].VR == "OW"
        return np.frombuffer(swapped_pairs(data) if paired else data, np.uint8, count=count)
    return None


def _percentiles(sample: NDArray[Any], outputs: NDArray[Any]) -> tuple[float, float]:
    """PERCENTILES of what stored values are shown as, counted: sorting them takes far longer."""
    stored = np.bincount(sample.reshape(-1))
    shown = outputs[np.minimum(np.arange(len(stored)), len(outputs) - 1)]
    order = np.argsort(shown, kind="stable")
    below = np.cumsum(stored[order])
    positions = np.asarray(PERCENTILES) / 100 * (below[-1] - 1)
    first, last = (
        shown[order[np.searchsorted(below, edge, side="right")]]
        for edge in (np.floor(positions), np.ceil(positions))
    )
    lower, upper = first + (last - first) * (positions % 1)
    return float(lower), max(float(upper), float(lower) + NARROWEST)
