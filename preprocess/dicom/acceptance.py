"""The checks of a DICOM header before decoding, and the reasons to reject a file."""

from __future__ import annotations

import re
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

ACCEPTED_CLASSES = (uid.XRayAngiographicImageStorage, uid.EnhancedXAImageStorage)
MODALITY = re.compile("[A-Z]{2}")
LARGEST = 1e12
"""A larger number is none that a device wrote; sums and quotients of smaller ones are finite."""
GREY = ("MONOCHROME1", "MONOCHROME2")


class Rejection(ValueError):  # noqa: N818 - it is what happens to the file
    """A file that is no usable cine; its text is the reason, free of identifiers."""


def value_of(dataset: Dataset, keyword: str | BaseTag) -> Any:
    """A value, or None where it is absent, empty or so malformed that it cannot be read."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
    except Exception:  # noqa: BLE001 - a malformed optional value is a missing one
        return None
    return None if value in ("", b"") else value


def items_of(dataset: Dataset, keyword: str | BaseTag) -> list[Dataset]:
    """The items of a sequence; none where it is absent, or no sequence."""
    value = value_of(dataset, keyword)
    return list(value) if isinstance(value, Sequence) else []


def value_in_groups(dataset: Dataset, keyword: str) -> Any:
    """A value at the top, or in the functional groups of an enhanced image; None without one."""
    if (value := value_of(dataset, keyword)) is not None:
        return value
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items_of(dataset, groups)[:1]:
            tags = list(group.keys())  # to iterate over its elements would read every value
            for macro in (item for tag in tags for item in items_of(group, tag)[:1]):
                if (value := value_of(macro, keyword)) is not None:
                    return value
    return None


def numbers_of(value: Any) -> list[float]:
    """A number or several as floats; none at all where one is no number, or beyond ``LARGEST``."""
    several = isinstance(value, MultiValue | list | tuple)
    try:
        numbers = [float(number) for number in (value if several else [value])]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(abs(number) <= LARGEST for number in numbers) else []


def check_object(dataset: Dataset) -> None:
    """Refuse what is no XA cine that may be shown, by SOP class, modality and image type."""
    found = UID(str(value_of(dataset, "SOPClassUID") or ""))
    if found not in ACCEPTED_CLASSES:
        # Of a damaged header any value may hold a name: only words of the standard are repeated.
        name = "unknown" if found.name == str(found) else found.name
        raise Rejection(f"not an XA image (its SOP class is {name})")
    if (modality := str(value_of(dataset, "Modality") or "XA")) != "XA":
        known = modality if MODALITY.fullmatch(modality) else "unknown"
        raise Rejection(f"not an XA image (its modality is {known})")
    if "DOSE" in str(value_of(dataset, "ImageType") or "").upper():
        raise Rejection("a dose map or dose report, not a cine (its image type says so)")
    if str(value_of(dataset, "BurnedInAnnotation") or "").strip().upper() == "YES":
        raise Rejection("text is burned into its pixels (Burned In Annotation is YES)")
    syntax = UID(str(getattr(dataset.file_meta, "TransferSyntaxUID", None) or ""))
    if not syntax:
        raise Rejection("damaged: no transfer syntax")
    if syntax.name == str(syntax):
        raise Rejection("no decoder reads its frames (their transfer syntax is unknown)")


def frame_count(dataset: Dataset) -> int:
    """(0028,0008); an image without it is one frame."""
    number = value_of(dataset, "NumberOfFrames")
    try:
        length = 1 if number is None else int(number)
    except (TypeError, ValueError):
        raise Rejection("damaged: its number of frames is no number") from None
    if length < 1:
        raise Rejection("it has no frames")
    return length


def check_pixels(dataset: Dataset, size: int) -> None:
    """Refuse what is not grey, unsigned, of 8 to 16 bits and ``size`` x ``size`` (0: any)."""
    names = ("Rows", "Columns", "BitsAllocated", "BitsStored")
    values = [value_of(dataset, name) for name in names]
    if missing := [n for n, v in zip(names, values, strict=True) if not isinstance(v, int)]:
        raise Rejection(f"damaged: no {missing[0]}")
    rows, columns, allocated, stored = (int(value) for value in values)
    samples = int(value_of(dataset, "SamplesPerPixel") or 1)
    if samples != 1 or value_of(dataset, "PhotometricInterpretation") not in GREY:
        raise Rejection("not grey-scale")
    if size and (rows, columns) != (size, size):
        raise Rejection(f"size {columns} x {rows}, not {size} x {size}")
    if rows < 1 or columns < 1:
        raise Rejection("damaged: frames of no size")
    if allocated not in (8, 16) or not 8 <= stored <= allocated:
        raise Rejection(f"{stored} bits stored in {allocated}; 8 to 16 are read")
    if value_of(dataset, "PixelRepresentation"):
        raise Rejection("its pixel values are signed; unsigned ones are read")
    if (high := value_of(dataset, "HighBit")) not in (None, stored - 1):
        found = high if isinstance(high, int) else "no number"
        raise Rejection(
            f"its pixel values are shifted (High Bit is {found}; with {stored} bits stored, "
            f"{stored - 1} is read)"
        )
