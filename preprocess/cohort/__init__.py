"""The cohort: what preprocessing writes and everything else reads.

A cohort is a folder of three things::

    frames.zarr/      one array per sequence, uint8 or uint16 [T, H, W], lossless as acquired
    annotations.json  COCO in its video dialect: videos, images, annotations, categories
    manifest.csv      one row per source file: accepted or rejected, and why

This package owns that contract: its version, reading, writing and validation.
"""

from preprocess.cohort.annotations import CATEGORY, SCHEMA_VERSION, polygons, write_annotations
from preprocess.cohort.cines import (
    cine_is_stored,
    store_cine,
    stored_sequence,
    update_attributes,
)
from preprocess.cohort.frames import frames_digest
from preprocess.cohort.manifest import ManifestRow, read_manifest, write_manifest
from preprocess.cohort.opened import Cohort, cohort_location
from preprocess.cohort.phantoms import count_phantoms, phantom_notice
from preprocess.cohort.records import (
    NO_LESION,
    Box,
    BoxSource,
    Phase,
    Polygons,
    Sequence,
    Verdict,
    name_no_patients,
)

__all__ = [
    "CATEGORY",
    "NO_LESION",
    "SCHEMA_VERSION",
    "Box",
    "BoxSource",
    "Cohort",
    "ManifestRow",
    "Phase",
    "Polygons",
    "Sequence",
    "Verdict",
    "cine_is_stored",
    "cohort_location",
    "count_phantoms",
    "frames_digest",
    "name_no_patients",
    "phantom_notice",
    "polygons",
    "read_manifest",
    "store_cine",
    "stored_sequence",
    "update_attributes",
    "write_annotations",
    "write_manifest",
]
