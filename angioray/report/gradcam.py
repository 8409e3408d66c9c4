"""Grad-CAM of held-out frames for each view classifier (paper, Fig. 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from angioray.report.evidence import ViewEvidence
from angioray.report.page import Text
from angioray.report.pictures import Gallery, Picture, framed

if TYPE_CHECKING:
    from torch import nn

SHOWN_PER_CLASS = 2
SAME_MAP = 0.5
"""Correlation from which on a map counts as unchanged by random weights."""
_STRENGTH = 0.5


def attention(evidence: ViewEvidence) -> Gallery | Text | None:
    """Maps of the first fold that kept its weights, or why they cannot be; None if none did.

    For each class, the frames of that fold whose true class has the middle probabilities.
    """
    for run in evidence.group.finished:
        if (run.folder / "checkpoint").exists("state.json"):
            break
    else:
        return None
    # Imported here: only this part of the report needs torch and the network.
    from angioray.inference.trained import load_classifier

    try:
        model = load_classifier(run.folder)
    except (ValueError, OSError) as problem:
        return Text(f"There is no Grad-CAM at {evidence.group.size} px: {problem}")
    assert run.result is not None
    units = run.result.get("classes", evidence.classes)
    pictures: list[Picture] = []
    correlations: list[float] = []
    for name in evidence.classes:
        explained = _explained(evidence, model, name, units.index(name), run.fold)
        pictures += [picture for pair, _ in explained for picture in pair]
        correlations += [correlation for _, correlation in explained]
    return Gallery(
        title=f"What the classifier sees at {evidence.group.size} px",
        note=f"Grad-CAM of the last block for the true class, fold {run.label}, on frames held "
        "out; brighter means that the place speaks more for the class. To the right of each map "
        f"the same with random weights. {sanity(correlations)}",
        pictures=tuple(pictures),
    )


def sanity(correlations: Iterable[float]) -> str:
    """Whether the maps change as they must when the weights are drawn at random, in words."""
    defined = [value for value in correlations if not math.isnan(value)]
    if not defined:
        return (
            "Sanity check: no map holds anything under both the learnt and random weights, so that "
            "it cannot be said whether the maps depend on what was learnt."
        )
    mean = sum(defined) / len(defined)
    by = f"{mean:.2f}".replace("-", "\N{MINUS SIGN}")
    found = f"Sanity check: the maps correlate with those of random weights by {by} on average"
    if mean > SAME_MAP:
        return (
            f"{found}. They hardly change, so that they show the picture rather than what was "
            "learnt: draw no conclusion from them."
        )
    return f"{found}: they depend on what was learnt."


def _explained(
    evidence: ViewEvidence, model: nn.Module, name: str, unit: int, fold: int
) -> list[tuple[tuple[Picture, Picture], float]]:
    """For frames of one class, the ``unit``-th output of the network: the map, that of random
    weights, and their correlation."""
    import torch

    from angioray.models.classifier import last_stage
    from angioray.models.gradcam import grad_cam, map_correlations, randomised
    from angioray.training.frames import load_frames

    rows = _typical(evidence, name, fold)
    if not rows:
        return []
    keys = [evidence.frames.frame(evidence.image_ids[row]) for row in rows]
    store = load_frames(
        evidence.frames.cohort, keys, size=evidence.group.size, device=torch.device("cpu")
    )
    images = store.images(store.rows_of(keys))
    maps, random = (
        grad_cam(network, images, unit, last_stage(network))[0]
        for network in (model, randomised(model))
    )
    column = evidence.classes.index(name)
    explained = []
    for i, (row, key) in enumerate(zip(rows, keys, strict=True)):
        frame = store.pixels[store.rows[key], 0].numpy()
        probability = evidence.probabilities[row, column]
        caption = f"{name} with probability {probability:.2f}: {key[0]}, frame {key[1]}"
        pair = (
            _picture(frame, maps[i].numpy(), caption),
            _picture(frame, random[i].numpy(), "The same frame with random weights"),
        )
        explained.append((pair, float(map_correlations(maps, random)[i])))
    return explained


def _picture(frame: NDArray[np.uint8], heat: NDArray[np.float32], caption: str) -> Picture:
    if not heat.any():
        caption += "; nothing in the last block speaks for the class"
    return Picture(svg=framed(_overlaid(frame, heat), "", f"Grad-CAM. {caption}"), caption=caption)


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
