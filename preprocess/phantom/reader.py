"""The simulated physician: boxes and outlines of lesions, the reference frame, an unsteady hand."""

from __future__ import annotations

import cv2
import numpy as np

from preprocess.phantom.plan import generator, uid
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import FRAME_SIZE_PX
from preprocess.phantom.tree import STEP_MM, Lesion
from preprocess.phantom.truth import BoxTruth, LesionTruth, SequenceTruth

BoxXYXY = tuple[float, float, float, float]
Outline = tuple[tuple[float, float], ...]
"""The corners of a polygon, (x, y) in pixels."""

BOXED_SHARE = 0.76
"""Readers box the tight part of a lesion, not its shallow shoulders."""
SHOULDER_MM = 1.0
SMALLEST_SIDE_PX = 30.0
HEALTHY_MM = 2.0
"""Of the artery on each side of a lesion, outlined with it: its narrowing is compared with that."""
SUBPIXELS = 8
SEEN_CONCENTRATION = 0.4
JITTER_PX = 1.1
MOST_JITTER_PX = 3.0
MEASURED = 0.6
"""Share of arteries in which the pressure was measured."""


def sequence_truth(scene: Scene) -> SequenceTruth:
    """Everything that is true of a sequence, with a margin around lesions as a reader leaves it."""
    plan, bolus = scene.plan, scene.bolus
    boxes = tuple(
        BoxTruth(frame_index=frame, lesion_id=lesion.lesion_id, box_xyxy=box)
        for frame in range(plan.frames)
        for lesion in scene.tree.lesions
        if (box := lesion_box(scene, lesion, frame)) is not None
    )
    return SequenceTruth(
        sop_instance_uid=uid(scene.seed, "instance", plan.number),
        file=plan.path,
        patient_id=plan.patient.patient_id,
        view=plan.view,
        exclude=plan.exclude,
        frames=plan.frames,
        introducing_start=bolus.introducing_start,
        optimal_start=bolus.optimal_start,
        vanishing_start=bolus.vanishing_start,
        reference_frame=_reference_frame(scene),
        ifr=_ifr(scene),
        lesions=tuple(_lesion_truth(scene, lesion) for lesion in scene.tree.lesions),
        boxes=boxes,
    )


def lesion_box(scene: Scene, lesion: Lesion, frame_index: int) -> BoxXYXY | None:
    """The box around a lesion, or None where it lacks contrast or lies outside the frame."""
    if scene.concentration(lesion, frame_index) < SEEN_CONCENTRATION:
        return None
    branch = scene.tree.branches[lesion.branch]
    half = round((BOXED_SHARE * lesion.length_mm / 2 + SHOULDER_MM) / STEP_MM)
    own = slice(max(lesion.centre - half, 0), lesion.centre + half + 1)
    place = scene.place(branch.centres_mm[own].T.astype(np.float32), frame_index)
    columns, rows, magnification = scene.carm.project(place)
    wall = lesion.diameter_mm / 2 * float(magnification.mean()) / scene.carm.pixel_mm
    margin = wall + _margin_px(scene, lesion)
    sides = []
    for low, high in ((columns.min(), columns.max()), (rows.min(), rows.max())):
        # Pixel centres have whole coordinates here; a box counts from the pixel's edge.
        middle = float(low + high) / 2 + 0.5
        reach = max(float(high - low) / 2 + margin, SMALLEST_SIDE_PX / 2)
        inside = np.clip([middle - reach, middle + reach], 0, FRAME_SIZE_PX)
        if inside[1] - inside[0] < 1.2 * reach:
            return None
        sides.append((round(float(inside[0]), 2), round(float(inside[1]), 2)))
    (x1, x2), (y1, y2) = sides
    return x1, y1, x2, y2


def drawn_boxes(scene: Scene, truth: SequenceTruth) -> list[BoxXYXY]:
    """The boxes that the reader draws in the reference frame: the true ones, by a shaky hand."""
    rng = generator(scene.seed, "reader", scene.plan.number)
    drawn = []
    for box in truth.boxes_in(truth.reference_frame):
        slip = np.clip(rng.normal(0, JITTER_PX, 4), -MOST_JITTER_PX, MOST_JITTER_PX)
        x1, y1, x2, y2 = np.clip(np.array(box.box_xyxy) + slip, 0, FRAME_SIZE_PX).round(2).tolist()
        drawn.append((x1, y1, x2, y2))
    return drawn


def drawn_outlines(scene: Scene, truth: SequenceTruth) -> list[Outline]:
    """The outline of the lumen in each of :func:`drawn_boxes`; here the hand is steady."""
    frame = truth.reference_frame
    seen = {box.lesion_id for box in truth.boxes_in(frame)}
    lesions = (lesion for lesion in scene.tree.lesions if lesion.lesion_id in seen)
    return [lumen_outline(scene, lesion, frame) for lesion in lesions]


def lumen_outline(scene: Scene, lesion: Lesion, frame_index: int) -> Outline:
    """The outline of the lumen along a lesion, from healthy wall to healthy wall, as it is true."""
    branch = scene.tree.branches[lesion.branch]
    half = round((lesion.length_mm / 2 + HEALTHY_MM) / STEP_MM)
    own = slice(max(lesion.centre - half, 0), lesion.centre + half + 1)
    place = scene.place(branch.centres_mm[own].T.astype(np.float32), frame_index)
    columns, rows, magnification = scene.carm.project(place)
    radii = branch.radii_mm[own] * magnification / scene.carm.pixel_mm
    left, top = (int(np.floor(low.min() - radii.max())) - 1 for low in (columns, rows))
    width, height = (
        int(np.ceil(high.max() + radii.max())) + 2 - low
        for high, low in ((columns, left), (rows, top))
    )
    lumen = np.zeros((height * SUBPIXELS, width * SUBPIXELS), np.uint8)
    for x, y, radius in zip(columns - left, rows - top, radii, strict=True):
        centre = round(float(x) * SUBPIXELS), round(float(y) * SUBPIXELS)
        cv2.circle(lumen, centre, round(float(radius) * SUBPIXELS), 1, cv2.FILLED)
    (contour, *_), _ = cv2.findContours(lumen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = cv2.approxPolyDP(contour, 1, closed=True)[:, 0] / SUBPIXELS + (left, top) + 0.5
    return tuple((round(x, 2), round(y, 2)) for x, y in corners.tolist())


def _margin_px(scene: Scene, lesion: Lesion) -> float:
    """How generously this reader boxes this lesion; the same in all its sequences."""
    plan = scene.plan
    rng = generator(scene.seed, "margin", plan.patient.number, plan.artery, lesion.lesion_id)
    return float(rng.uniform(4, 9))


def _reference_frame(scene: Scene) -> int:
    """The frame at or near end-diastole in which the least filled lesion is filled best."""
    bolus = scene.bolus
    optimal = range(bolus.optimal_start, bolus.vanishing_start)

    def merit(frame: int) -> tuple[int, float]:
        seen = [lesion_box(scene, lesion, frame) is not None for lesion in scene.tree.lesions]
        fill = min((scene.concentration(x, frame) for x in scene.tree.lesions), default=1.0)
        middle = abs(frame - (optimal[0] + optimal[-1]) / 2) / len(optimal)
        return sum(seen), fill - 0.8 * scene.contraction(frame) - 0.1 * middle

    return max(optimal, key=merit)


def _ifr(scene: Scene) -> tuple[float, ...]:
    """Instantaneous wave-free ratios, lower where the lesion is tighter."""
    plan = scene.plan
    rng = generator(scene.seed, "ifr", plan.patient.number, plan.artery)
    measured = rng.random() < MEASURED
    values = [
        round(float(np.clip(1.02 - 1.1 * (x.diameter_loss_percent / 100) ** 4 + drift, 0.3, 1)), 2)
        for x, drift in zip(
            scene.tree.lesions, rng.normal(0, 0.03, len(scene.tree.lesions)), strict=True
        )
    ]
    return tuple(values) if measured else ()


def _lesion_truth(scene: Scene, lesion: Lesion) -> LesionTruth:
    centre = scene.tree.branches[lesion.branch].centres_mm[lesion.centre]
    x, y, z = scene.pose.place(centre.reshape(3, 1).astype(np.float32), 0.0)[:, 0].tolist()
    return LesionTruth(
        lesion_id=lesion.lesion_id,
        branch=lesion.branch,
        length_mm=round(lesion.length_mm, 2),
        diameter_mm=round(lesion.diameter_mm, 2),
        diameter_loss_percent=round(lesion.diameter_loss_percent, 1),
        centre_mm=(round(x, 2), round(y, 2), round(z, 2)),
    )
