"""Detect, segment, grade: a U-Net outlines the lumen in a lesion's box (Au et al. 2018).

It learns from the lesions of a run's training part that readers outlined, and is judged on those of
the validation part, in the readers' boxes and in the boxes that the run's detector found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from angioray.evaluation.matching import box_iou
from angioray.evaluation.stenosis import dice, percent_stenosis
from angioray.models.unet import UNet
from angioray.study.run_folder import Judgement
from angioray.study.selection import CohortIndex
from angioray.study.splits import Fold
from angioray.training.step import Alive, nobody_waits
from preprocess.cohort import Box, Polygons
from preprocess.console.words import counted

SCHEMA_VERSION = 1
LEAST_LESIONS = 10
"""Outlined ones of the training part; with fewer no network is trained."""
SIZE = 64
"""Side of the square that a network sees, in its pixels."""
SUBPIXELS = 4
"""Of a side of a pixel, in which polygons are drawn."""
CONTEXT = 1.5
"""Side of that square, in longer sides of the box."""
BATCH = 16
LEARNING_RATE = 5e-3
FOUND_IOU = 0.2
"""With the reader's box, above which a detector's box has found the lesion (as the paper)."""

BoxXyxy = tuple[float, float, float, float]
Matrix = NDArray[np.float64]
"""float64[2, 3], from a frame's pixels to those of a square."""
FloatArray = NDArray[np.float32]


def segment_lesions(
    index: CohortIndex,
    fold: Fold,
    judgement: Judgement,
    steps: int,
    seed: int,
    device: torch.device,
    alive: Alive = nobody_waits,
) -> dict[str, Any] | None:
    """Train a network on a fold's outlined lesions, and outline those of its validation part.

    Args:
        index: of the cohort.
        fold: whose.
        judgement: of the run's detector.
        steps: of the training.
        seed: of the first weights and of all chance.
        device: where it trains.
        alive: is called again and again.

    Returns:
        The document ``segmentation.json``; None where readers outlined nothing that is judged.
    """
    image_id, judged = index.cohort.image_id, set(judgement.image_ids)
    teachers = _outlined(index, fold.train)
    held_out = [
        box
        for box in _outlined(index, fold.validation)
        if image_id(box.sequence_id, box.frame_index) in judged
    ]
    if not held_out:
        return None
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "reason": "", "lesions": []}
    if len(teachers) < LEAST_LESIONS:
        few = f"{counted(len(teachers), 'outlined training lesion')}: {LEAST_LESIONS} are needed."
        return {**document, "reason": few}
    network = fit_unet(index, teachers, steps, seed, device, alive)
    found = [
        _finding(box, judgement, image_id(box.sequence_id, box.frame_index)) for box in held_out
    ]
    chosen = [box for box, finding in zip(held_out, found, strict=True) if finding]
    by_reader = iter(_answers(index, network, held_out, [box.box_xyxy for box in held_out]))
    by_detector = iter(_answers(index, network, chosen, [f["box_xyxy"] for f in found if f]))
    known = (percent_stenosis(drawn(b.segmentation or (), window(b.box_xyxy))) for b in teachers)
    measured = [percent for percent in known if percent is not None]
    return {
        **document,
        "typical_percent": float(np.median(measured)) if measured else None,
        "lesions": [
            {
                "sequence_id": box.sequence_id,
                "frame_index": box.frame_index,
                "instance_id": box.instance_id,
                "percent": percent_stenosis(drawn(box.segmentation or (), window(box.box_xyxy))),
                "reader": next(by_reader),
                "found": {**finding, **next(by_detector)} if finding else None,
            }
            for box, finding in zip(held_out, found, strict=True)
        ],
    }


def fit_unet(
    index: CohortIndex,
    boxes: Sequence[Box],
    steps: int,
    seed: int,
    device: torch.device,
    alive: Alive = nobody_waits,
) -> UNet:
    """Train a network on outlined lesions, turned, mirrored, moved and scaled by chance.

    The loss is cross entropy: the probabilities are summed up to diameters.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = UNet().to(memory_format=torch.channels_last).to(device)
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps + 1)
    passes = -(-steps * BATCH // len(boxes))
    order = np.concatenate([rng.permutation(len(boxes)) for _ in range(passes)])
    for step in range(steps):
        alive()
        chosen = [boxes[i] for i in order[step * BATCH : (step + 1) * BATCH]]
        windows = [window(box.box_xyxy, rng) for box in chosen]
        pairs = list(zip(chosen, windows, strict=True))
        images = _tensor((crop(_frame(index, box), at) for box, at in pairs), device)
        masks = _tensor((drawn(box.segmentation or (), at) for box, at in pairs), device)
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(network(images), masks)
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    return network


def window(box_xyxy: BoxXyxy, rng: np.random.Generator | None = None) -> Matrix:
    """The square around a box; with ``rng``, of one that is turned, moved and scaled by chance."""
    x1, y1, x2, y2 = box_xyxy
    longer = max(x2 - x1, y2 - y1)
    scale, turn, moved, mirror = SIZE / (CONTEXT * longer), 0.0, np.zeros(2), 1
    if rng is not None:
        scale *= np.exp(rng.uniform(-0.25, 0.25))
        turn = rng.uniform(0, 2 * np.pi)
        moved = rng.uniform(-0.15, 0.15, 2) * longer
        mirror = rng.choice([-1, 1])
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    turned = np.array([[cos, -sin * mirror], [sin, cos * mirror]])
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) + moved
    return np.column_stack([turned, SIZE / 2 - turned @ centre])


def crop(frame: NDArray[np.uint8], at: Matrix) -> FloatArray:
    """The square of a frame (float32[S, S]), with a mean of 0 and a deviation of 1."""
    import cv2

    # OpenCV counts from the centre of the first pixel; boxes count from its edge.
    shift = at[:, 2] + at[:, :2].sum(axis=1) / 2 - 0.5
    matrix = np.column_stack([at[:, :2], shift])
    grey = cv2.warpAffine(frame, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    values = grey.astype(np.float32)
    found: FloatArray = (values - values.mean()) / (values.std() + 1)
    return found


def drawn(polygons: Polygons, at: Matrix) -> FloatArray:
    """How much of each pixel of a square lies in polygons of the frame (float32[S, S])."""
    import cv2

    fine = np.zeros((SIZE * SUBPIXELS, SIZE * SUBPIXELS), np.uint8)
    for polygon in polygons:
        corners = np.reshape(polygon, (-1, 2)) @ at[:, :2].T + at[:, 2]
        cv2.fillPoly(fine, [np.round(corners * SUBPIXELS - 0.5).astype(np.int32)], 1)
    cells = fine.reshape(SIZE, SUBPIXELS, SIZE, SUBPIXELS)
    covered: FloatArray = cells.mean(axis=(1, 3)).astype(np.float32)
    return covered


def outlines(mask: FloatArray, at: Matrix) -> Polygons:
    """The outlines of a mask (float[S, S]) as polygons of the frame."""
    import cv2

    side = SIZE * SUBPIXELS
    fine = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR) > 0.5
    contours, _ = cv2.findContours(
        fine.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    back = np.linalg.inv(at[:, :2])
    return tuple(
        tuple(np.round((((c[:, 0] + 0.5) / SUBPIXELS - at[:, 2]) @ back.T).ravel(), 1).tolist())
        for c in (cv2.approxPolyDP(contour, 1, closed=True) for contour in contours)
        if len(c) > 2
    )


def _outlined(index: CohortIndex, sequences: Iterable[str]) -> list[Box]:
    """The boxes of lesions whose lumen a reader outlined."""
    chosen = set(sequences)
    return [box for box in index.cohort.boxes if box.segmentation and box.sequence_id in chosen]


def _finding(box: Box, judgement: Judgement, image_id: int) -> dict[str, Any] | None:
    """The detector's best box that overlaps a reader's enough; None where there is none."""
    for result in judgement.predictions:
        if result["image_id"] == image_id:
            x, y, width, height = result["bbox"]
            corners = x, y, x + width, y + height
            iou = float(box_iou(np.array([box.box_xyxy]), np.array([corners]))[0, 0])
            if iou > FOUND_IOU:
                return {"box_xyxy": corners, "score": result["score"]}
    return None


def _answers(
    index: CohortIndex, network: UNet, lesions: Sequence[Box], boxes: Sequence[BoxXyxy]
) -> list[dict[str, Any]]:
    """What a network says of lesions, each seen in one of ``boxes``."""
    if not lesions:
        return []
    device = next(network.parameters()).device
    windows = [window(box) for box in boxes]
    pairs = zip(lesions, windows, strict=True)
    images = _tensor((crop(_frame(index, lesion), at) for lesion, at in pairs), device)
    with torch.no_grad():
        masks = network(images).sigmoid()[:, 0].cpu().numpy()
    said = []
    for lesion, at, mask in zip(lesions, windows, masks, strict=True):
        outline, whole = outlines(mask, at), window(lesion.box_xyxy)
        overlap = dice(drawn(outline, whole), drawn(lesion.segmentation or (), whole))
        said.append({"dice": overlap, "percent": percent_stenosis(mask), "segmentation": outline})
    return said


def _frame(index: CohortIndex, box: Box) -> NDArray[np.uint8]:
    return index.cohort.frame_8bit(box.sequence_id, box.frame_index)


def _tensor(squares: Iterable[FloatArray], device: torch.device) -> torch.Tensor:
    stacked = torch.from_numpy(np.stack([*squares])[:, None])
    return stacked.to(device, memory_format=torch.channels_last)
