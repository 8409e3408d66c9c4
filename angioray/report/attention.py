"""Grad-CAM of held-out frames: what each view classifier looks at (paper, Fig. 3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from angioray.report.evidence import ViewEvidence
from angioray.report.page import Text
from angioray.report.pictures import Gallery, Picture, framed

SHOWN_PER_CLASS = 2
_STRENGTH = 0.5


def attention(evidence: ViewEvidence) -> Gallery | Text | None:
    """Maps of the first fold that kept its weights, or why they cannot be; None if none did.

    For each class, the frames of that fold whose true class has the middle probabilities.
    """
    for run in evidence.group.finished:
        if (run.folder / "checkpoint" / "state.json").is_file():
            break
    else:
        return None
    # Imported here: only this part of the report needs torch and the network.
    from angioray.trained import load_classifier

    try:
        model = load_classifier(run.folder)
    except (ValueError, OSError) as problem:
        return Text(f"There is no Grad-CAM at {evidence.group.size} px: {problem}")
    assert run.result is not None
    units = run.result.get("classes", evidence.classes)
    pictures = [
        picture
        for name in evidence.classes
        for picture in _explained(evidence, model, name, units.index(name), run.fold)
    ]
    return Gallery(
        title=f"What the classifier sees at {evidence.group.size} px",
        note=f"Grad-CAM of the last block for the true class, fold {run.fold}, on frames held "
        "out; brighter means that the place speaks more for the class.",
        pictures=tuple(pictures),
    )


def _explained(
    evidence: ViewEvidence, model: object, name: str, unit: int, fold: int
) -> list[Picture]:
    """Maps for one class, the ``unit``-th output of the network."""
    import torch
    from torch import nn

    from angioray.frames import load_frames
    from angioray.gradcam import grad_cam

    assert isinstance(model, nn.Module)
    rows = _typical(evidence, name, fold)
    if not rows:
        return []
    keys = [evidence.frames.frame(evidence.image_ids[row]) for row in rows]
    store = load_frames(
        evidence.frames.cohort, keys, size=evidence.group.size, device=torch.device("cpu")
    )
    images = store.images(store.rows_of(keys))
    layer = model.get_submodule("layer4")
    maps = grad_cam(model, images, unit, layer).numpy()
    column = evidence.classes.index(name)
    pictures = []
    for row, key, heat in zip(rows, keys, maps, strict=True):
        frame = store.pixels[store.rows[key], 0].numpy()
        probability = evidence.probabilities[row, column]
        caption = f"{name} with probability {probability:.2f}: {key[0]}, frame {key[1]}"
        if not heat.any():
            caption += "; nothing in the last block speaks for it"
        pictures.append(
            Picture(
                svg=framed(_overlaid(frame, heat), "", f"Grad-CAM of {caption}"), caption=caption
            )
        )
    return pictures


def _typical(evidence: ViewEvidence, name: str, fold: int) -> list[int]:
    """Rows of one fold and true class around the median probability of that class."""
    column = evidence.classes.index(name)
    rows = [
        row
        for row, (label, of_fold) in enumerate(zip(evidence.labels, evidence.folds, strict=True))
        if label == name and of_fold == fold
    ]
    rows.sort(key=lambda row: float(evidence.probabilities[row, column]))
    start = max(0, (len(rows) - SHOWN_PER_CLASS) // 2)
    return rows[start : start + SHOWN_PER_CLASS]


def _overlaid(frame: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A frame (uint8[H, W]) under a map (float32[H, W], 0 to 1), as OpenCV orders colours."""
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = (_STRENGTH * heat)[..., None]
    blended = (1 - share) * frame[..., None] + share * colours
    return np.asarray(np.round(blended), dtype=np.uint8)
