"""What a DICOM object of findings says of its origin: the source image, the algorithm, its UIDs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, TM

from angioray.inference.findings import FoundBox, Lesion
from preprocess.dicom.acceptance import (
    Rejection,
    check_object,
    frame_count,
    value_in_groups,
    value_of,
)
from preprocess.dicom.grayscale import Find, tables_of
from preprocess.dicom.parsing import Source, parsed, parsing

UTF_8 = "ISO_IR 192"
"""The character set of all that is written: names from any other set, or a misspelt one, fit in."""
REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
    *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
"""Of patient and study, what every object has, be it empty (PS3.3 C.7.1.1 and C.7.2.1)."""
OPTIONAL = ("IssuerOfPatientID", "StudyDescription")
WELL_FORMED_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")
"""Not strictly: components with leading zeros are forbidden, and devices write them."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID")
IMAGE = (
    *("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Modality", "ImageType"),
    *("NumberOfFrames", "Rows", "Columns", "SpecificCharacterSet", "PixelRepresentation"),
)
GREY_SCALE = (
    *("PhotometricInterpretation", "PixelIntensityRelationship", "RescaleSlope"),
    *("RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction"),
)
TABLES = ("ModalityLUTSequence", "VOILUTSequence")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""In which the grey scale of an enhanced image is."""
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LONGEST = {"LO": 64, "SH": 16}
"""Characters of a value (PS3.5 table 6.2-1). A name (PN) has 64 in each of its three groups."""
SERIES_NUMBERS = {"PR": 9001, "SR": 9002}
"""Of the two series that angioray adds to a study; cath labs count theirs from 1."""


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Who found it: a program, its version, and the study that trained its networks.

    ``study_sha256`` is of its ``study.json``, that is of settings, folds and cohort, not of the
    networks: those that were trained again have the same. It has 64 hexadecimal digits, as many as
    DICOM's Long String (LO) takes.
    """

    name: str
    version: str
    study_sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Provenance:
    """Where findings come from.

    Attributes:
        image: the header that the objects refer to and copy, complete where real ones are not.
        find: what the source says of its display, by keyword.
        algorithm: who found them.
        content: all that was found, all of the image and how it is shown, as text that differs
            where they do.
    """

    image: Dataset
    find: Find
    algorithm: Algorithm
    content: str

    def uid(self, *parts: object) -> str:
        """A UID that the same source, algorithm and findings always lead to (PS3.5 B.2)."""
        return _uid(self.algorithm, self.content, *parts)

    def tracking(self, lesion: Lesion) -> tuple[str, str]:
        """UID and name that a lesion has in all objects (PS3.16 TID 4108)."""
        return self.uid("lesion", lesion.number), f"L{lesion.number}"

    def rectangle(self, box: FoundBox) -> NDArray[np.float64]:
        """The box as a closed polyline (float64[5, 2]: column, row), inside the frame.

        PIXEL units of graphics (PS3.3 C.10.5) and SCOORD (C.18.6) both have 0\\0 at the top left
        corner of the first pixel and Columns\\Rows at the bottom right corner of the last, as the
        boxes of a cohort do. Outside of that they are not allowed, be it by a rounding error.
        """
        corners = np.array(box.box_xyxy).reshape(2, 2)
        (x1, y1), (x2, y2) = np.clip(corners, 0, (self.image.Columns, self.image.Rows))
        return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])

    @property
    def device_uid(self) -> str:
        """The UID of the program of this version with networks of this study."""
        return _uid(self.algorithm)

    def identification(self, modality: str) -> dict[str, Any]:
        """Series, instance and equipment of an object, as highdicom's classes take them.

        All objects of a kind that one algorithm adds to a study are one series.
        """
        return {
            "series_instance_uid": _uid(self.image.StudyInstanceUID, self.algorithm, modality),
            "series_number": SERIES_NUMBERS[modality],
            "series_description": f"{self.algorithm.name}: stenoses",
            "sop_instance_uid": self.uid(modality),
            "instance_number": self.image.InstanceNumber,
            "manufacturer": self.algorithm.name,
            "manufacturer_model_name": self.algorithm.name,
            "software_versions": self.algorithm.version,
            "device_serial_number": self.algorithm.study_sha256,
            "specific_character_set": UTF_8,
        }


def read_provenance(source: Path, algorithm: Algorithm, content: str) -> Provenance:
    """Read the header of a source image and complete what real ones leave out.

    Args:
        source: a DICOM file with an XA image.
        algorithm: who found something in it.
        content: what was found.

    Raises:
        Rejection: it is no XA image, or has no SOP Instance UID.
        OSError: it cannot be read at all.
    """
    names = [*REQUIRED, *OPTIONAL, *UIDS, *IMAGE, *GREY_SCALE, *TABLES, *GROUPS]
    with parsing(), Source(source) as file:
        header = parsed(file, names, stop_before_pixels=True)
        check_object(header)
        image = _image(header)
    # With the image: where a patient's name is corrected in the source, the object is another.
    # So it is where its window is.
    find = partial(value_in_groups, header)
    content = repr([content, *(str(element.value) for element in image), *_grey_scale(find)])
    return Provenance(image=image, find=find, algorithm=algorithm, content=content)


def _image(header: Dataset) -> Dataset:
    """Patient, study and image, with values that DICOM allows and none that would stop a writer."""
    image = Dataset()
    image.SpecificCharacterSet = UTF_8
    for name in REQUIRED:
        setattr(image, name, _allowed(name, _text(header, name)))
    for name in OPTIONAL:
        if text := _text(header, name):
            setattr(image, name, _allowed(name, text))
    image.SOPClassUID = header.SOPClassUID
    instance = _text(header, "SOPInstanceUID")
    if not WELL_FORMED_UID.fullmatch(instance):
        raise Rejection("no SOPInstanceUID that is a UID")
    image.SOPInstanceUID = instance
    for name in UIDS:  # type 1, and yet there are files without
        found = _text(header, name)
        setattr(image, name, found if WELL_FORMED_UID.fullmatch(found) else _uid(instance, name))
    image.NumberOfFrames = frame_count(header)
    image.Rows, image.Columns = int(header.Rows), int(header.Columns)
    image.SamplesPerPixel, image.Modality = 1, "XA"
    number = _text(header, "InstanceNumber")
    digits = re.fullmatch("[0-9]{1,10}", number)
    image.InstanceNumber = min(max(int(number), 1), 2**31 - 1) if digits else 1
    # highdicom looks for the grey scale of every multi-frame image in functional groups, and fails
    # where there are none. Ours is given to it by hand.
    image.SharedFunctionalGroupsSequence = [Dataset()]
    image.PerFrameFunctionalGroupsSequence = []
    return image


def _grey_scale(find: Find) -> Iterator[object]:
    for name in GREY_SCALE:
        yield str(find(name))
    for name in TABLES:
        yield [(table.first, table.outputs.tolist()) for table in tables_of(find(name))]


def _text(header: Dataset, name: str) -> str:
    value = value_of(header, name)
    # A backslash separates values; all of these have one.
    whole = "^".join(map(str, value)) if isinstance(value, MultiValue) else str(value or "")
    return CONTROL_CHARACTER.sub("", whole).strip()


def _allowed(name: str, text: str) -> str:
    """The text, cut where it is too long for the attribute; none where DICOM does not allow it."""
    try:
        if name.endswith("Date") and text:
            return DA(text).isoformat().replace("-", "")
        if name.endswith("Time"):
            TM(text)
    except ValueError:
        return ""
    if name == "PatientSex" and text not in ("M", "F", "O"):
        return ""
    if (kind := dictionary_VR(name)) == "PN":
        return "=".join(group[:64].strip() for group in text.split("=")[:3])
    return text[: LONGEST.get(kind)].strip()


def _uid(*parts: object) -> str:
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, repr(parts)).int}"
