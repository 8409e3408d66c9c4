"""The reader of DICOM files: technical attributes from an allow-list, and frames as stored.

The reader is tolerant and explains: a file that cannot be used raises :class:`Rejection`, whose
text a person understands and which holds nothing that identifies anybody. Tags that the allow-list
does not name are skipped in the file and never looked into.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from preprocess.cohort.display import Display
from preprocess.dicom.acceptance import (
    Rejection,
    check_object,
    check_pixels,
    frame_count,
    numbers_of,
    value_in_groups,
    value_of,
)
from preprocess.dicom.burned_in_text import holds_text
from preprocess.dicom.decoders import NATIVE, decoded_frames, stored_dtype
from preprocess.dicom.fragments import Undecodable
from preprocess.dicom.grayscale import display_of, sample_of
from preprocess.dicom.makers import maker_of
from preprocess.dicom.parsing import Source, parsed, parsing, swapped_pairs

IDENTITY = ["PatientID", "SOPInstanceUID"]
TECHNICAL = [
    *("SOPClassUID", "Modality", "ImageType", "BurnedInAnnotation", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelIntensityRelationship", "ModalityLUTSequence", "RescaleSlope"),
    *("RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PositionerPrimaryAngle", "PositionerSecondaryAngle", "FrameTime", "FrameTimeVector"),
    *("CineRate", "RecommendedDisplayFrameRate", "ImagerPixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("QualityControlImage", "Manufacturer"),
]
OFFSETS = ["ExtendedOffsetTable"]
PIXEL_DATA = (0x7FE0, 0x0010)
PIXEL_VRS = (b"OB", b"OW", b"UN")
UNDEFINED = 0xFFFFFFFF
LEAST_POSITIVE = 1e-6
"""Milliseconds, or frames per second: a number below it is none that a device wrote."""
UNNAMED_CODEC = "its pixel data are compressed, but its header does not say how"
NO_PIXELS = "no pixel data (is the file cut short?)"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who and which: never written as it is, never shown."""

    patient_id: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """What the header says about a cine, and may be kept.

    Angles are (0018,1510) and (0018,1511); ``imager_pixel_spacing_mm`` (rows, columns) is at the
    detector (0018,1164); ``quality_control_image`` says that (0028,0300) is YES. The fields of the
    same name of :class:`preprocess.cohort.Sequence` explain the rest.
    """

    bits_stored: int
    display: Display
    grey_range: int
    cleared_values: int
    may_hold_text: bool
    transfer_syntax_uid: str
    primary_angle_deg: float | None
    secondary_angle_deg: float | None
    frame_time_ms: float | None
    imager_pixel_spacing_mm: tuple[float, float] | None
    quality_control_image: bool
    manufacturer: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cine:
    """A decoded cine; ``frames`` is uint8 or uint16 [T, H, W] as stored."""

    identity: Identity
    frames: NDArray[np.unsignedinteger[Any]]
    acquisition: Acquisition


class Header:
    """A checked file whose frames are not read yet.

    Attributes:
        identity: patient and instance.
        shape: frames, rows and columns.
        dtype: of the frames, uint8 or uint16.
        cleared_values: of how many stored values bits beyond Bits Stored were cleared so far.
    """

    def __init__(self, dataset: Dataset, pixels_at: int, size: int):
        check_object(dataset)
        self._dataset = dataset
        self._pixels_at = pixels_at
        length = frame_count(dataset)
        check_pixels(dataset, size)
        self.identity = _identity(dataset)
        self.shape = (length, int(dataset.Rows), int(dataset.Columns))
        self.dtype = stored_dtype(dataset)
        self.cleared_values = 0

    def frames(self, content: bytes) -> Iterator[NDArray[np.unsignedinteger[Any]]]:
        """Decode frame after frame (uint8 or uint16 [H, W]); each is overwritten by the next.

        Args:
            content: the whole file.

        Raises:
            Rejection: the pixel data are cut short, damaged, or in a form nothing here decodes.
        """
        with parsing():
            pixel_data = self._pixel_data(content)
        try:
            for frame, cleared in decoded_frames(self._dataset, pixel_data, self.shape[0]):
                self.cleared_values += cleared
                yield frame
        except Undecodable as problem:
            raise Rejection(str(problem)) from None

    def acquisition(self, frames: NDArray[np.unsignedinteger[Any]]) -> Acquisition:
        """What the header says, and what all its decoded frames [T, H, W] show."""
        with parsing():
            bits_stored, sample = int(self._dataset.BitsStored), sample_of(frames)
            display = display_of(self._find, sample, bits_stored=bits_stored)
            return Acquisition(
                bits_stored=bits_stored,
                display=display,
                grey_range=display.grey_range(sample),
                cleared_values=self.cleared_values,
                may_hold_text=holds_text(frames, display),
                transfer_syntax_uid=str(self._dataset.file_meta.TransferSyntaxUID),
                primary_angle_deg=self._angle_deg("PositionerPrimaryAngle"),
                secondary_angle_deg=self._angle_deg("PositionerSecondaryAngle"),
                frame_time_ms=self._frame_time_ms(),
                imager_pixel_spacing_mm=self._spacing_mm(),
                quality_control_image=self._is_quality_control(),
                manufacturer=maker_of(str(value_of(self._dataset, "Manufacturer") or "")),
            )

    def _pixel_data(self, content: bytes) -> memoryview:
        """The value of (7FE0,0010), in place: a copy of a cine costs as much as storing it."""
        syntax = self._dataset.file_meta.TransferSyntaxUID
        if syntax == uid.DeflatedExplicitVRLittleEndian:
            return _inflated_pixel_data(content)
        order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        element = memoryview(content)[self._pixels_at :]
        if len(element) < 12:
            raise Rejection(NO_PIXELS)
        tag, vr = struct.unpack_from(f"{order}HH", element), bytes(element[4:6])
        if tag != PIXEL_DATA:
            raise Rejection(NO_PIXELS)
        begin = 12 if vr in PIXEL_VRS else 8  # explicit, or implicit whatever the syntax says
        (size,) = struct.unpack_from(f"{order}I", element, begin - 4)
        if size == 0:
            raise Rejection(NO_PIXELS)
        if size == UNDEFINED:
            if syntax in NATIVE:
                raise Rejection(UNNAMED_CODEC)
            return element[begin:]
        value = element[begin : begin + size]
        if order == ">" and vr == b"OW" and self._dataset.BitsAllocated == 8:
            return memoryview(swapped_pairs(value))
        return value

    def _find(self, keyword: str) -> Any:
        return value_in_groups(self._dataset, keyword)

    def _number(self, keyword: str) -> float | None:
        numbers = numbers_of(self._find(keyword))
        return numbers[0] if len(numbers) == 1 else None

    def _positive(self, keyword: str) -> float | None:
        number = self._number(keyword)
        return number if number is not None and number > LEAST_POSITIVE else None

    def _angle_deg(self, keyword: str) -> float | None:
        angle = self._number(keyword)
        return angle if angle is not None and abs(angle) <= 180 else None

    def _is_quality_control(self) -> bool:
        """Whether (0028,0300) says YES; BOTH, a patient beside a phantom, is no phantom here."""
        said = value_of(self._dataset, "QualityControlImage")
        return str(said or "").strip("\0 ").upper() == "YES"

    def _frame_time_ms(self) -> float | None:
        """(0018,1063), the mean of (0018,1065), or the inverse of a rate in frames per second."""
        if time := self._positive("FrameTime"):
            return time
        steps = numbers_of(self._find("FrameTimeVector"))[1:]
        if sum(steps) > 0:
            return sum(steps) / len(steps)
        rate = self._positive("CineRate") or self._positive("RecommendedDisplayFrameRate")
        return 1000 / rate if rate else None

    def _spacing_mm(self) -> tuple[float, float] | None:
        spacing = numbers_of(self._find("ImagerPixelSpacing"))
        if len(spacing) != 2 or min(spacing) <= 0:
            return None
        return spacing[0], spacing[1]


def read_header(path: Path, *, size: int = 512) -> Header:
    """Read and check one file, leaving its frames where they are.

    Args:
        path: the file, with any ending.
        size: rows and columns that are accepted; 0 accepts every size.

    Raises:
        Rejection: it is no grey-scale XA cine of that size, or names no patient.
        OSError: it cannot be read at all.
    """
    with parsing(), Source(path) as file:
        dataset = parsed(file, IDENTITY + TECHNICAL + OFFSETS, stop_before_pixels=True)
        return Header(dataset, file.tell(), size)


def read_cine(path: Path, *, size: int = 512) -> Cine:
    """Read, check and decode one file; raises as :func:`read_header` and :meth:`Header.frames`."""
    header = read_header(path, size=size)
    frames = np.stack([frame.copy() for frame in header.frames(path.read_bytes())])
    acquisition = header.acquisition(frames)
    return Cine(identity=header.identity, frames=frames, acquisition=acquisition)


def read_identity(path: Path) -> Identity | None:
    """Patient and instance of a file, quickly, or None where it is no DICOM file that says."""
    try:
        with parsing(), Source(path) as file:
            return _identity(parsed(file, IDENTITY, stop_before_pixels=True))
    except Rejection:
        return None


def _inflated_pixel_data(content: bytes) -> memoryview:
    """The value of (7FE0,0010) of a deflated data set."""
    dataset = parsed(BytesIO(content), ["PixelData"])
    if not value_of(dataset, "PixelData"):
        raise Rejection(NO_PIXELS)
    if dataset["PixelData"].is_undefined_length:
        raise Rejection(UNNAMED_CODEC)
    return memoryview(dataset.PixelData)


def _identity(dataset: Dataset) -> Identity:
    # Padding differs between exports of one patient: NUL bytes and blanks at either end.
    patient, instance = (
        str(value_of(dataset, keyword) or "").strip("\0 \t\r\n") for keyword in IDENTITY
    )
    if not patient:
        raise Rejection("no PatientID")
    if not instance:
        raise Rejection("no SOPInstanceUID")
    return Identity(patient_id=patient, sop_instance_uid=instance)
