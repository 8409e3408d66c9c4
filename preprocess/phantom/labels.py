"""The labels that a hospital would hand over: ``sequences.csv`` and OsiriX exports of regions."""

from __future__ import annotations

import csv
import io
import plistlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.plan import uid
from preprocess.phantom.reader import BoxXYXY
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
OSIRIX_RECTANGLE = 6
"""``tROI`` among OsiriX's tool types."""


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
    scene: Scene, truth: SequenceTruth, boxes: Sequence[BoxXYXY], frame: NDArray[np.uint8]
) -> bytes:
    """What OsiriX writes for "Export all ROIs of this series to XML".

    Args:
        scene: where the region lies.
        truth: which file and frame it belongs to.
        boxes: the reader's rectangles.
        frame: the reference frame (uint8[H, W]), for the statistics in the export.
    """
    regions = [_region(i, box, scene, truth, frame) for i, box in enumerate(boxes)]
    image = {
        "ImageIndex": truth.reference_frame,
        "ImageTotalNum": truth.frames,
        "NumberOfROIs": len(regions),
        "ROIs": regions,
    }
    return plistlib.dumps({"Images": [image]}, fmt=plistlib.FMT_XML, sort_keys=True)


def _region(
    index: int, box: BoxXYXY, scene: Scene, truth: SequenceTruth, frame: NDArray[np.uint8]
) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    spacing = scene.carm.pixel_mm
    corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    inside = frame[round(y1) : round(y2), round(x1) : round(x2)].astype(np.float64)
    return {
        "Area": (x2 - x1) * (y2 - y1) * (spacing / 10) ** 2,
        "Center": _millimetres((x1 + x2) / 2, (y1 + y2) / 2, spacing),
        "Dev": float(inside.std()),
        "IndexInImage": index,
        "Max": float(inside.max()),
        "Mean": float(inside.mean()),
        "Min": float(inside.min()),
        "Name": f"Stenosis {index + 1}",
        "NumberOfPoints": len(corners),
        "Point_mm": [_millimetres(x, y, spacing) for x, y in corners],
        "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in corners],
        "SOPInstanceUID": truth.sop_instance_uid,
        "SeriesInstanceUID": uid(scene.seed, "series", scene.plan.number),
        "StudyInstanceUID": uid(scene.seed, "study", scene.plan.patient.number),
        "Total": float(inside.sum()),
        "Type": OSIRIX_RECTANGLE,
    }


def _millimetres(x: float, y: float, spacing_mm: float) -> str:
    return f"({x * spacing_mm:.6f}, {y * spacing_mm:.6f}, 0.000000)"
