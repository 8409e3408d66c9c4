"""DICOM cines, labels and regions in; a cohort (Zarr frames, COCO boxes, a manifest) out."""
