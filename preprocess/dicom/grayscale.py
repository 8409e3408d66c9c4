"""The grey-scale display of a DICOM header (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from preprocess.cohort.display import Display

PERCENTILES = (0.5, 99.5)
SAMPLE_EVERY = 8
"""Rows and columns skipped between samples when a window has to be found from the pixels."""

Find = Callable[[str], Any]
"""The first value of a keyword anywhere in the header, or None."""


def sample_of(frame: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Of a frame, the pixels that a window may be found from (a copy)."""
    return frame[::SAMPLE_EVERY, ::SAMPLE_EVERY].copy()


def display_of(
    find: Find, sample: NDArray[np.unsignedinteger[Any]], *, bits_stored: int
) -> Display:
    """The grey-scale pipeline that the header asks for, or a robust window where it asks nothing.

    ``sample`` is any part of the stored values (:func:`sample_of` each frame).

    The modality table or rescale is left out where Pixel Intensity Relationship (0028,1040) is
    LOG or DISP: there it leads back to X-ray intensity and is not for display (C.8.7.1.1.2).
    Of several windows the first counts. SIGMOID (0028,1056) is drawn as a line.
    """
    inverted = find("PhotometricInterpretation") == "MONOCHROME1"
    for_display = str(find("PixelIntensityRelationship") or "").strip() not in ("LOG", "DISP")
    modality = _table(find("ModalityLUTSequence"), 2**bits_stored) if for_display else None
    slope, intercept = _rescale(find) if for_display and modality is None else (1.0, 0.0)
    window = _window(find)
    if window is None and (voi := find("VOILUTSequence")):
        first = np.arange(2**bits_stored) if modality is None else np.asarray(modality)
        composed = _table(voi, int(first.max()) + 1, wanted=np.rint(first * slope + intercept))
        if composed is not None:
            return Display(
                lower=0, upper=_full_scale(voi), inverted=inverted, modality_lut=composed
            )
    if window is None:
        outputs = np.arange(2**16) if modality is None else np.asarray(modality)
        lower, upper = _percentiles(sample, outputs)
    else:
        lower, upper = ((edge - intercept) / slope for edge in window)
    if lower > upper:  # a negative slope turns black and white round
        lower, upper, inverted = upper, lower, not inverted
    return Display(lower=lower, upper=upper, inverted=inverted, modality_lut=modality or ())


def _window(find: Find) -> tuple[float, float] | None:
    """The values shown as black and white (C.11.2.1.2: LINEAR, or LINEAR_EXACT where it says)."""
    centre, width = _first_number(find("WindowCenter")), _first_number(find("WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    if find("VOILUTFunction") == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _rescale(find: Find) -> tuple[float, float]:
    slope, intercept = (_first_number(find(f"Rescale{name}")) for name in ("Slope", "Intercept"))
    return slope or 1.0, intercept or 0.0


def _table(
    sequence: Any, values: int, *, wanted: NDArray[np.floating[Any]] | None = None
) -> tuple[int, ...] | None:
    """A LUT (0028,3002 and 0028,3006) resampled to one output per input, or None if unusable."""
    if not sequence:
        return None
    item: Dataset = sequence[0]
    if "LUTDescriptor" not in item or "LUTData" not in item:
        return None
    data = item.LUTData
    outputs = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(data)
    if len(outputs) == 0:
        return None
    inputs = np.arange(values) if wanted is None else wanted
    position = np.clip(inputs - item.LUTDescriptor[1], 0, len(outputs) - 1).astype(int)
    return tuple(int(v) for v in np.asarray(outputs)[position])


def _full_scale(sequence: Any) -> float:
    return float(2 ** int(sequence[0].LUTDescriptor[2]) - 1)


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
    return float(lower), float(upper)


def _first_number(value: Any) -> float | None:
    first = value[0] if isinstance(value, MultiValue | list | tuple) and value else value
    try:
        return float(first)
    except (TypeError, ValueError):
        return None
