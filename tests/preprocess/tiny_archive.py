"""Tiny archives: real DICOM files, some milliseconds each."""

from __future__ import annotations

import plistlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

SIZE = 32
SLOWLY = """
import time
from preprocess.__main__ import main
from preprocess.ingest.journal import Journal

append = Journal.append

def slowly(journal, record):
    append(journal, record)
    time.sleep(0.5)

Journal.append = slowly
main()
"""
"""The command, with time after each file for whoever wants to stop it on its way."""
CODECS: dict[str, Callable[[np.ndarray], bytes]] = {
    uid.JPEGLosslessSV1: imagecodecs.ljpeg_encode,
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda frame: imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat="j2k", reversible=True
    ),
    uid.HTJ2KLossless: imagecodecs.htj2k_encode,
    uid.JPEGBaseline8Bit: imagecodecs.jpeg8_encode,
}


def noise(length: int = 3, size: int = SIZE, *, bits: int = 8, seed: int = 0) -> np.ndarray:
    """Frames in which every pixel counts (uint8 or uint16 [T, H, W])."""
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (length, size, size)).astype(dtype)


def write_cine(
    path: Path,
    frames: np.ndarray,
    *,
    patient: str = "PAT-1",
    instance: str | None = None,
    syntax: str = uid.ExplicitVRLittleEndian,
    bits: int | None = None,
    without: tuple[str, ...] = (),
    **attributes: Any,
) -> str:
    """Write an XA cine; ``attributes`` replace or add elements. Returns its SOPInstanceUID."""
    instance = instance or uid.generate_uid(entropy_srcs=[str(path)])
    dataset = Dataset()
    dataset.SOPClassUID = uid.XRayAngiographicImageStorage
    dataset.SOPInstanceUID = instance
    dataset.PatientID = patient
    dataset.PatientName = "Doe^Jane"
    dataset.Modality = "XA"
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * frames.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    dataset.PositionerPrimaryAngle = -30.5
    dataset.PositionerSecondaryAngle = 25
    dataset.FrameTime = 66.7
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    if syntax in CODECS:
        dataset.PixelData = encapsulate([CODECS[syntax](frame) for frame in frames])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        big = syntax == uid.ExplicitVRBigEndian
        dataset.PixelData = frames.astype(frames.dtype.newbyteorder(">" if big else "<")).tobytes()
        dataset["PixelData"].VR = "OB" if frames.dtype == np.uint8 else "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    for name in without:
        delattr(dataset, name)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.RLELossless:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.compress(uid.RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return instance


def bare(whole: bytes, kind: str) -> bytes:
    """A file without its preamble, or without its meta information too."""
    without_preamble = whole[132:]
    (size,) = struct.unpack_from("<I", without_preamble, 8)
    data_set = without_preamble[12 + size :]
    return {
        "no preamble": without_preamble,
        "no meta information": data_set,
        "a preamble, no meta information": whole[:132] + data_set,
    }[kind]


def osirix(images: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """An OsiriX export by frame index."""
    return {
        "Images": [
            {"ImageIndex": index, "NumberOfROIs": len(rois), "ROIs": rois}
            for index, rois in images.items()
        ]
    }


def roi(box: tuple[float, float, float, float], instance: str = "", **more: Any) -> dict[str, Any]:
    """A rectangle as OsiriX writes it, by four corners."""
    x1, y1, x2, y2 = box
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    points = [f"({x:.6f}, {y:.6f})" for x, y in corners]
    return {"Name": "Stenosis", "Point_px": points, "SOPInstanceUID": instance, **more}


@dataclass
class Archive:
    """A small archive being made."""

    folder: Path
    rows: list[str] = field(default_factory=list)

    @property
    def src(self) -> Path:
        """The DICOM files."""
        return self.folder / "dicom"

    @property
    def labels(self) -> Path:
        """``sequences.csv``, written anew with the rows of now."""
        path = self.folder / "sequences.csv"
        header = (
            "file,view,reference_frame,introducing_start,optimal_start,vanishing_start,ifr,"
            "exclude,no_lesion"
        )
        path.write_text("\n".join([header, *self.rows]) + "\n")
        return path

    @property
    def rois(self) -> Path:
        """The regions."""
        return self.folder / "rois"

    def add(
        self,
        name: str,
        row: str | None = "RCA,1,0,1,3,0.8,,",
        *,
        boxes: dict[int, list[tuple[float, float, float, float]]] | None = None,
        **cine: Any,
    ) -> str:
        """Write a cine, its row (the cells after ``file``) and its regions by frame."""
        instance = write_cine(self.src / name, cine.pop("frames", noise()), **cine)
        if row is not None:
            self.rows.append(f"{name},{row}")
        if boxes:
            self.rois.mkdir(exist_ok=True)
            drawn = {t: [roi(box, instance) for box in found] for t, found in boxes.items()}
            path = self.rois / f"{name.replace('/', '_')}.xml"
            path.write_bytes(plistlib.dumps(osirix(drawn)))
        return instance
