"""Boxes on their frames as a Grayscale Softcopy Presentation State (PS3.3 A.33.1), for viewers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeVar

import highdicom as hd
import numpy as np
from highdicom import pr
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from angioray.findings.provenance import Provenance
from angioray.inference.findings import FoundBox, Lesion
from preprocess.dicom.acceptance import numbers_of
from preprocess.dicom.grayscale import Find, LookupTable, is_for_display, tables_of

Lut = TypeVar("Lut", hd.ModalityLUT, hd.VOILUT)

LAYER = "STENOSES"
COLOUR = CIELabColor.from_string("gold")
LABEL_SHARE = (1 / 6, 1 / 24)
"""Width and height of a label, of the frame's."""


def presentation_state(
    provenance: Provenance, lesions: Iterable[Lesion]
) -> pr.GrayscaleSoftcopyPresentationState:
    """One closed rectangle and one label for each box, on its frame alone.

    The label has the number of the lesion and its score, the same on all its frames. A box that no
    detector found in its frame is dashed. Window and tables are those of the source.

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
        lut = _as_declared(hd.ModalityLUT("US", *_entries(table)), table)
        return hd.ModalityLUTTransformation(modality_lut=lut)
    intercept, slope = (numbers_of(find(f"Rescale{name}")) for name in ("Intercept", "Slope"))
    if len(intercept) != 1 or len(slope) != 1:
        return None
    return hd.ModalityLUTTransformation(intercept[0], slope[0], rescale_type="US")


def _voi_lut(find: Find) -> list[pr.SoftcopyVOILUTTransformation] | None:
    """The source's windows, or its tables where it has no window; None without any."""
    centers, widths = (numbers_of(find(f"Window{name}")) for name in ("Center", "Width"))
    if centers and len(centers) == len(widths) and min(widths) >= 1:
        function = find("VOILUTFunction")
        known = function in [known.value for known in hd.VOILUTFunctionValues]
        return [
            pr.SoftcopyVOILUTTransformation(
                window_center=centers,
                window_width=widths,
                voi_lut_function=function if known else None,
            )
        ]
    luts = [_as_declared(hd.VOILUT(*_entries(t)), t) for t in tables_of(find("VOILUTSequence"))]
    return [pr.SoftcopyVOILUTTransformation(voi_luts=luts)] if luts else None


def _entries(table: LookupTable) -> tuple[int, NDArray[np.unsignedinteger[Any]]]:
    return table.first % 2**16, table.outputs.astype(np.uint8 if table.bits <= 8 else np.uint16)


def _as_declared(lut: Lut, table: LookupTable) -> Lut:
    """With the bits of the source: highdicom declares 8 or 16, and they say what is white."""
    lut.LUTDescriptor = [*lut.LUTDescriptor[:2], table.bits]
    return lut


def _presentation_lut(find: Find) -> hd.PresentationLUTTransformation:
    """A presentation state says by itself whether low values are bright (PS3.3 C.11.6)."""
    inverse = find("PhotometricInterpretation") == "MONOCHROME1"
    return hd.PresentationLUTTransformation(
        presentation_lut_shape=hd.PresentationLUTShapeValues["INVERSE" if inverse else "IDENTITY"]
    )
