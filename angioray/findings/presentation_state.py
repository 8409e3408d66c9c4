"""Boxes on their frames as a Grayscale Softcopy Presentation State (PS3.3 A.33.1), for viewers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import highdicom as hd
import numpy as np
from highdicom import pr
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset

from angioray.findings.provenance import Provenance
from angioray.inference.findings import FoundBox, Lesion
from preprocess.dicom.grayscale import (
    Find,
    is_for_display,
    rescale_of,
    tables_of,
    windows_of,
)

LAYER = "STENOSES"
COLOUR = CIELabColor.from_string("gold")
LABEL_SHARE = (1 / 6, 1 / 24)
"""Width and height of a label, of the frame's."""


def presentation_state(
    provenance: Provenance, lesions: Iterable[Lesion]
) -> pr.GrayscaleSoftcopyPresentationState:
    """One closed rectangle and one label for each box, on its frame alone.

    The label has the number of the lesion and its score, the same on all its frames. A box that no
    detector found in its frame is dashed. Window and tables are those of the source that ingest
    would take.

    Raises:
        ValueError: there is no box, or one on a frame that the source does not have.
    """
    image = provenance.image
    layer = pr.GraphicLayer(LAYER, order=1, description="Stenoses", display_color=COLOUR)
    drawn: dict[int, list[tuple[Lesion, FoundBox]]] = defaultdict(list)
    for lesion in lesions:
        for box in lesion.boxes:
            drawn[box.frame_index].append((lesion, box))
    if not drawn:
        raise ValueError("There is no box to draw.")
    annotations = [
        pr.GraphicAnnotation(
            referenced_images=[image],
            referenced_frame_number=frame_index + 1,
            graphic_layer=layer,
            graphic_objects=[_rectangle(provenance, *entry) for entry in drawn[frame_index]],
            text_objects=[_label(provenance, *entry) for entry in drawn[frame_index]],
        )
        for frame_index in sorted(drawn)
    ]
    state = pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[image],
        content_label="STENOSES",
        content_description="Stenoses found by an algorithm, not verified. No diagnosis.",
        graphic_annotations=annotations,
        graphic_layers=[layer],
        modality_lut_transformation=_modality_lut(provenance.find),
        voi_lut_transformations=_voi_lut(provenance.find),
        presentation_lut_transformation=_presentation_lut(provenance.find),
        **provenance.identification("PR"),
    )
    state.BodyPartExamined = "HEART"  # no paired organ: without it, DICOM asks for a Laterality
    return state


def _rectangle(provenance: Provenance, lesion: Lesion, box: FoundBox) -> pr.GraphicObject:
    tracking_uid, tracking_id = provenance.tracking(lesion)
    rectangle = pr.GraphicObject(
        graphic_type=pr.GraphicTypeValues.POLYLINE,
        graphic_data=provenance.rectangle(box),
        units=pr.AnnotationUnitsValues.PIXEL,
        tracking_id=tracking_id,
        tracking_uid=tracking_uid,
    )
    if box.carried:
        rectangle.LineStyleSequence = [_dashed()]
    return rectangle


def _label(provenance: Provenance, lesion: Lesion, box: FoundBox) -> pr.TextObject:
    """Above the box, or below it where there is no room."""
    image = provenance.image
    (x1, y1), _, (_, y2), *_ = provenance.rectangle(box).tolist()
    width, height = image.Columns * LABEL_SHARE[0], image.Rows * LABEL_SHARE[1]
    left = min(x1, image.Columns - width)
    top = y1 - height if y1 >= height else min(y2, image.Rows - height)
    return pr.TextObject(
        text_value=f"L{lesion.number} {lesion.score:.2f}",
        units=pr.AnnotationUnitsValues.PIXEL,
        bounding_box=(left, top, left + width, top + height),
        text_justification=pr.TextJustificationValues.LEFT,
    )


def _dashed() -> Dataset:
    """An item of Line Style Sequence (0070,0232), which highdicom has no class for."""
    style = Dataset()
    style.PatternOnColorCIELabValue = list(COLOUR.value)
    style.PatternOnOpacity = 1.0
    style.LineThickness = 1.0
    style.LineDashingStyle = "DASHED"
    style.LinePattern = 0x00FF
    style.ShadowStyle = "OFF"
    style.ShadowOffsetX = style.ShadowOffsetY = 0.0
    style.ShadowColorCIELabValue = [0, 0x8080, 0x8080]
    style.ShadowOpacity = 0.0
    return style


def _modality_lut(find: Find) -> hd.ModalityLUTTransformation | None:
    """The source's, where it is meant for display.

    Viewers leave another out of the image, but would apply what a presentation state has.
    """
    if not is_for_display(find):
        return None
    if table := next(tables_of(find("ModalityLUTSequence")), None):
        # Declared with 8 or 16 bits, which are all that this table may have (C.11.1.1.1).
        entries = table.outputs.astype(np.uint8 if table.outputs.max() < 2**8 else np.uint16)
        lut = hd.ModalityLUT("US", table.first % 2**16, entries)
        return hd.ModalityLUTTransformation(modality_lut=lut)
    slope, intercept = rescale_of(find)
    if (slope, intercept) == (1, 0):
        return None
    return hd.ModalityLUTTransformation(intercept, slope, rescale_type="US")


def _voi_lut(find: Find) -> list[pr.SoftcopyVOILUTTransformation] | None:
    """The source's first window, or its first table where it has no window; None without any."""
    if window := next(windows_of(find), None):
        centre, width = window
        function = find("VOILUTFunction")
        known = function in [known.value for known in hd.VOILUTFunctionValues]
        return [
            pr.SoftcopyVOILUTTransformation(
                window_center=centre,
                window_width=width,
                voi_lut_function=function if known else None,
            )
        ]
    table = next(tables_of(find("VOILUTSequence")), None)
    if table is None:
        return None
    # Bits say what is white, and many sources declare more than their values have. Here all 16 say.
    white = 2 ** int(table.outputs.max()).bit_length() - 1
    entries = np.rint(table.outputs * (65535 / max(white, 1))).astype(np.uint16)
    lut = hd.VOILUT(table.first % 2**16, entries)
    return [pr.SoftcopyVOILUTTransformation(voi_luts=[lut])]


def _presentation_lut(find: Find) -> hd.PresentationLUTTransformation:
    """A presentation state says by itself whether low values are bright (PS3.3 C.11.6)."""
    inverse = find("PhotometricInterpretation") == "MONOCHROME1"
    return hd.PresentationLUTTransformation(
        presentation_lut_shape=hd.PresentationLUTShapeValues["INVERSE" if inverse else "IDENTITY"]
    )
