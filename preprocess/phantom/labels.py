"""The labels that a hospital would hand over: ``sequences.csv`` and OsiriX exports of regions."""

from __future__ import annotations

import csv
import io
import plistlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.plan import uid
from preprocess.phantom.reader import BoxXYXY, Outline
from preprocess.phantom.scene import Scene
from preprocess.phantom.truth import SequenceTruth

COLUMNS = (
    "file",
    "view",
    "reference_frame",
    "introducing_start",
    "optimal_start",
    "vanishing_start",
    "ifr",
    "exclude",
    "no_lesion",
)
OSIRIX_RECTANGLE, OSIRIX_CLOSED_POLYGON = 6, 11
"""``tROI`` and ``tCPolygon`` among OsiriX's tool types."""


def sequences_csv(sequences: Sequence[SequenceTruth]) -> str:
    """One row per sequence; of a discarded one nobody labels more than why."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in sequences:
        bounds = (s.reference_frame, s.introducing_start, s.optimal_start, s.vanishing_start)
        ifr = ";".join(f"{value:.2f}" for value in s.ifr)
        healthy = not s.lesions and not s.exclude
        labelled = ("", "", "", "", "") if s.exclude else (*bounds, ifr)
        writer.writerow([s.file, s.view, *labelled, s.exclude, str(healthy).lower()])
    return buffer.getvalue()


def osirix_xml(
    scene: Scene,
    truth: SequenceTruth,
    boxes: Sequence[BoxXYXY],
    lumens: Sequence[Outline],
    frame: NDArray[np.uint8],
) -> bytes:
    """What OsiriX writes for "Export all ROIs of this series to XML".

    Args:
        scene: where the region lies.
        truth: which file and frame it belongs to.
        boxes: the reader's rectangles.
        lumens: the outline of each one's lumen, a polygon of the same name.
        frame: the reference frame (uint8[H, W]), for the statistics in the export.
    """
    drawn = [
        (f"Stenosis {number}", tool, corners)
        for number, (box, lumen) in enumerate(zip(boxes, lumens, strict=True), start=1)
        for tool, corners in ((OSIRIX_RECTANGLE, _corners(box)), (OSIRIX_CLOSED_POLYGON, lumen))
    ]
    regions = [_region(i, *each, scene, truth, frame) for i, each in enumerate(drawn)]
    image = {
        "ImageIndex": truth.reference_frame,
        "ImageTotalNum": truth.frames,
        "NumberOfROIs": len(regions),
        "ROIs": regions,
    }
    return plistlib.dumps({"Images": [image]}, fmt=plistlib.FMT_XML, sort_keys=True)


def _corners(box: BoxXYXY) -> Outline:
    x1, y1, x2, y2 = box
    return ((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def _region(
    index: int,
    name: str,
    tool: int,
    corners: Outline,
    scene: Scene,
    truth: SequenceTruth,
    frame: NDArray[np.uint8],
) -> dict[str, Any]:
    spacing = scene.carm.pixel_mm
    shape = np.array(corners)
    middle = ((shape.min(axis=0) + shape.max(axis=0)) / 2).tolist()
    # Pixel centres have whole coordinates in OpenCV; corners count from the pixel's edge.
    drawn = np.round(shape - 0.5).astype(np.int32)
    inside = frame[cv2.fillPoly(np.zeros_like(frame), [drawn], 1) > 0].astype(np.float64)
    return {
        "Area": cv2.contourArea(shape.astype(np.float32)) * (spacing / 10) ** 2,
        "Center": _millimetres(middle[0], middle[1], spacing),
        "Dev": float(inside.std()),
        "IndexInImage": index,
        "Max": float(inside.max()),
        "Mean": float(inside.mean()),
        "Min": float(inside.min()),
        "Name": name,
        "NumberOfPoints": len(corners),
        "Point_mm": [_millimetres(x, y, spacing) for x, y in corners],
        "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in corners],
        "SOPInstanceUID": truth.sop_instance_uid,
        "SeriesInstanceUID": uid(scene.seed, "series", scene.plan.number),
        "StudyInstanceUID": uid(scene.seed, "study", scene.plan.patient.number),
        "Total": float(inside.sum()),
        "Type": tool,
    }


def _millimetres(x: float, y: float, spacing_mm: float) -> str:
    return f"({x * spacing_mm:.6f}, {y * spacing_mm:.6f}, 0.000000)"
