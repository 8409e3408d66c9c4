"""A cine as a multi-frame X-Ray Angiographic Image (DICOM PS3.3 A.14), as a cath lab exports it."""

from __future__ import annotations

import io
from collections.abc import Iterable

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, FileMetaDataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    XRayAngiographicImageStorage,
)

from preprocess.phantom.plan import Patient, generator, uid
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import FRAME_SIZE_PX, FRAME_TIME_MS

IMPLEMENTATION_UID = UID(uid(0, "implementation"))
MODELS = ("Angiograph One", "Angiograph Two")


def encode(frames: Iterable[NDArray[np.uint8]], scene: Scene) -> bytes:
    """The file's content.

    Args:
        frames: uint8[H, W] each, as many as the scene's plan says.
        scene: who and what they show.
    """
    dataset = _header(scene)
    if scene.plan.jpeg:
        streams = [bytes(imagecodecs.jpeg8_encode(f, lossless=True, predictor=1)) for f in frames]
        dataset.PixelData = encapsulate(streams)
    else:
        dataset.PixelData = b"".join(frame.tobytes() for frame in frames)
    dataset["PixelData"].VR = "OB"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGLosslessSV1 if scene.plan.jpeg else ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "ANGIORAY_PHANTOM"
    buffer = io.BytesIO()
    file = FileDataset(buffer, dataset, file_meta=meta, preamble=b"\0" * 128)
    dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def _header(scene: Scene) -> Dataset:
    dataset = Dataset()
    for module in (_identity, _people, _acquisition, _image):
        dataset.update(module(scene))
    return dataset


def _identity(scene: Scene) -> Dataset:
    """SOP Common, General Study, General Series and General Image."""
    plan, seed = scene.plan, scene.seed
    patient = plan.patient
    minute = 9 * 60 + patient.number % 300 + 2 * plan.acquisition
    time = f"{minute // 60:02d}{minute % 60:02d}{plan.number % 60:02d}"
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.SOPInstanceUID = uid(seed, "instance", plan.number)
    dataset.StudyInstanceUID = uid(seed, "study", patient.number)
    dataset.SeriesInstanceUID = uid(seed, "series", plan.number)
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{name}Date", patient.study_date)
        setattr(dataset, f"{name}Time", time)
    dataset.AccessionNumber = f"A{patient.study_date}{patient.number + 1:04d}"
    dataset.StudyID = f"{patient.number + 1}"
    dataset.Modality = "XA"
    dataset.StudyDescription = "Coronary angiography"
    # As in real archives, the protocol's name says nothing about the artery.
    dataset.SeriesDescription = "Left Coronary 15 fps"
    dataset.SeriesNumber = plan.acquisition
    dataset.AcquisitionNumber = plan.acquisition
    dataset.InstanceNumber = plan.acquisition
    dataset.PatientOrientation = ""
    # A quality control or phantom image: whoever gets the file can tell that it shows no patient.
    dataset.QualityControlImage = "YES"
    return dataset


def _people(scene: Scene) -> Dataset:
    """Patient, General Equipment, and everybody whom de-identification must remove."""
    patient = scene.plan.patient
    rng = generator(scene.seed, "body", patient.number)
    dataset = Dataset()
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex
    dataset.PatientAge = f"{_age(patient):03d}Y"
    dataset.PatientSize = f"{rng.uniform(1.55, 1.92):.2f}"
    dataset.PatientWeight = f"{rng.uniform(55, 105):.0f}"
    dataset.ReferringPhysicianName = "Hartmann^Ute^^Dr."
    dataset.PerformingPhysicianName = "Okafor^Daniel^^Dr."
    dataset.OperatorsName = "Lund^Signe"
    dataset.InstitutionName = "St. Phantom Heart Centre"
    dataset.InstitutionAddress = "1 Nowhere Road, Erewhon"
    dataset.Manufacturer = "angioray"
    dataset.ManufacturerModelName = MODELS[patient.room]
    dataset.StationName = f"CATHLAB{patient.room + 1}"
    dataset.DeviceSerialNumber = f"{4711 + patient.room}"
    dataset.SoftwareVersions = "phantom"
    return dataset


def _acquisition(scene: Scene) -> Dataset:
    """X-Ray Acquisition, XA Positioner, Cine and Contrast/Bolus."""
    plan, carm = scene.plan, scene.carm
    rng = generator(scene.seed, "exposure", plan.number)
    dataset = Dataset()
    dataset.ContrastBolusAgent = "Iodinated contrast"
    dataset.KVP = f"{rng.uniform(68, 95):.0f}"
    dataset.XRayTubeCurrent = int(rng.uniform(500, 850))
    dataset.ExposureTime = int(rng.uniform(5, 9))
    dataset.AveragePulseWidth = f"{dataset.ExposureTime}"
    dataset.RadiationSetting = "GR"
    dataset.ImagerPixelSpacing = [f"{carm.pixel_mm}"] * 2
    dataset.DistanceSourceToDetector = f"{carm.source_detector_mm:.0f}"
    dataset.DistanceSourceToPatient = f"{carm.source_isocentre_mm:.0f}"
    dataset.EstimatedRadiographicMagnificationFactor = (
        f"{carm.source_detector_mm / carm.source_isocentre_mm:.4f}"
    )
    dataset.IntensifierSize = f"{carm.pixel_mm * FRAME_SIZE_PX:.0f}"
    dataset.PositionerMotion = "STATIC"
    dataset.PositionerPrimaryAngle = f"{carm.primary_deg:.1f}"
    dataset.PositionerSecondaryAngle = f"{carm.secondary_deg:.1f}"
    dataset.FrameTime = f"{FRAME_TIME_MS:.6f}"
    dataset.CineRate = round(1000 / FRAME_TIME_MS)
    dataset.RecommendedDisplayFrameRate = round(1000 / FRAME_TIME_MS)
    dataset.NumberOfFrames = plan.frames
    dataset.FrameIncrementPointer = Tag("FrameTime")
    return dataset


def _image(scene: Scene) -> Dataset:
    """Image Pixel, X-Ray Image and VOI LUT."""
    del scene  # all frames are stored alike
    dataset = Dataset()
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = FRAME_SIZE_PX
    dataset.Columns = FRAME_SIZE_PX
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "DISP"
    dataset.LossyImageCompression = "00"
    dataset.WindowCenter = "128"
    dataset.WindowWidth = "256"
    dataset.RecommendedViewingMode = "NAT"
    return dataset


def _age(patient: Patient) -> int:
    years = int(patient.study_date[:4]) - int(patient.birth_date[:4])
    return years - (patient.study_date[4:] < patient.birth_date[4:])
