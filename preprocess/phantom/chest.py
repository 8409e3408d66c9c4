"""The chest around the heart as three layers of attenuation: still, breathing and beating."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from preprocess.phantom import bones
from preprocess.phantom.body import Ellipsoid, length_mm, shared_mm
from preprocess.phantom.carm import CArm, Floats
from preprocess.phantom.heart import Pose
from preprocess.phantom.settings import FRAME_SIZE_PX
from preprocess.phantom.tube import Cloud, Tube, blurred, thickness_mm

MARGIN_PX = 64
"""How far the layers reach beyond the frame, so that they can move."""
TISSUE_PER_MM = 0.0165
LUNG_DENSITY = 0.28
BONE_PER_MM = 0.0075
RIB_PER_MM = 0.027
LUNG_VESSEL_PER_MM = 0.018
HALVED = 2
"""Soft outlines are traced on a grid this much coarser than the pixels."""


@dataclass(frozen=True, kw_only=True)
class Chest:
    """Layers of attenuation, float32[H + 2 M, W + 2 M] each with M = ``MARGIN_PX``."""

    still: Floats
    breathing: Floats
    beating: Floats

    def attenuation(
        self, table_px: tuple[float, float], breath_px: tuple[float, float], beat: Floats
    ) -> Floats:
        """The chest's attenuation in the frame (float32[H, W]).

        ``table_px`` moves everything, ``breath_px`` the lungs besides (right, down); ``beat``
        (float32[2, 3]) carries a place of the frame at rest to where the heart's outline lies.
        """
        lungs = (table_px[0] + breath_px[0], table_px[1] + breath_px[1])
        total = _moved(self.still, _shift(table_px)) + _moved(self.breathing, _shift(lungs))
        total += _moved(self.beating, beat)
        return total


def build(
    carm: CArm,
    pose: Pose,
    table_mm: Floats,
    patient_rng: np.random.Generator,
    rng: np.random.Generator,
) -> Chest:
    """The chest of one patient as one C-arm position sees it.

    Args:
        carm: the position.
        pose: how the heart lies.
        table_mm: how far the patient was moved from the isocentre (float32[3]).
        patient_rng: the body, which is the same in all sequences of a patient.
        rng: what differs from one projection to another.
    """
    size = FRAME_SIZE_PX + 2 * MARGIN_PX
    grid = np.arange(0, size, HALVED, dtype=np.float32) - MARGIN_PX + (HALVED - 1) / 2
    rows, columns = (g.ravel() for g in np.meshgrid(grid, grid, indexing="ij"))
    source, directions = carm.rays(columns.astype(np.float32), rows.astype(np.float32))
    source = source - table_mm
    chest, lungs, domes, heart = (
        [body.crossed(source, directions) for body in group] for group in _bodies(pose, patient_rng)
    )
    missing = np.float32(TISSUE_PER_MM * (1 - LUNG_DENSITY))
    lung = length_mm(lungs[0]) + length_mm(lungs[1])
    liver = shared_mm(lungs[0], domes[0]) + shared_mm(lungs[1], domes[1])
    outline = np.zeros_like(lung)
    for part in heart:
        outline = np.maximum(outline, shared_mm(lungs[0], part) + shared_mm(lungs[1], part))
    wall = _full_size(np.float32(TISSUE_PER_MM) * length_mm(chest[0]) - missing * lung, size)
    still = _uneven(blurred(wall, 5), rng)
    breathing = _uneven(_full_size(missing * liver, size), rng)

    for tubes, points_per_mm2, per_mm in (
        (bones.spine(patient_rng), 0.5, BONE_PER_MM),
        (bones.ribs(patient_rng), 2.0, RIB_PER_MM),
    ):
        still += np.float32(per_mm) * _shadow(carm, tubes, table_mm, points_per_mm2, rng)
    vessels = _shadow(carm, bones.lung_vessels(patient_rng), table_mm, 1.0, rng)
    breathing += np.minimum(vessels, 14) * np.float32(LUNG_VESSEL_PER_MM)
    still += np.float32(0.05) * _texture(size, 1.3, rng)
    breathing += np.float32(0.028) * _texture(size, 0.9, rng)
    return Chest(
        still=still,
        breathing=breathing,
        beating=_uneven(_full_size(missing * outline, size), rng),
    )


def _bodies(pose: Pose, rng: np.random.Generator) -> list[list[Ellipsoid]]:
    """Chest; right and left lung; right and left dome of the diaphragm; heart."""
    midline = bones.MIDLINE_MM
    dome_top = rng.uniform(-52, -26)
    domes = [
        Ellipsoid(
            centre_mm=(midline + side * 72, rng.uniform(-8, 14), dome_top - drop - 70),
            half_axes_mm=(rng.uniform(74, 92), 104, 70),
        )
        for side, drop in ((-1, 0.0), (1, rng.uniform(8, 20)))
    ]
    lungs = [
        Ellipsoid(
            centre_mm=(midline + side * rng.uniform(70, 76), 2, 10),
            half_axes_mm=(66, 94, 150),
        )
        for side in (-1, 1)
    ]
    ventricles = _in_heart(pose, (-9, 0, 28), (54, 45, 62))
    atria = _in_heart(pose, (-22, -8, -8), (46, 38, 34))
    vessels = Ellipsoid(
        centre_mm=(midline + 8, -12, 66), half_axes_mm=(rng.uniform(24, 32), 30, 66)
    )
    return [
        [Ellipsoid(centre_mm=(midline, 0, -10), half_axes_mm=(*bones.CHEST_HALF_MM, 420))],
        lungs,
        domes,
        [ventricles, atria, vessels],
    ]


def _in_heart(
    pose: Pose, centre_mm: tuple[float, float, float], half_axes_mm: tuple[float, float, float]
) -> Ellipsoid:
    """A chamber, given in heart coordinates."""
    x, y, z = (pose.origin_mm + pose.rotation @ np.array(centre_mm) * pose.scale).tolist()
    a, b, c = (axis * pose.scale for axis in half_axes_mm)
    return Ellipsoid(centre_mm=(x, y, z), half_axes_mm=(a, b, c), rotation=pose.rotation)


def _uneven(layer: Floats, rng: np.random.Generator) -> Floats:
    """The layer with its outlines bent a few pixels, as no organ is an ellipsoid."""
    size = layer.shape[0]
    coarse = rng.standard_normal((2, 9, 9)).astype(np.float32) * np.float32(6)
    across, down = (cv2.resize(c, (size, size), interpolation=cv2.INTER_CUBIC) for c in coarse)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    bent = cv2.remap(layer, x + across, y + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, dtype=np.float32)


def _full_size(values: Floats, size: int) -> Floats:
    side = size // HALVED
    image = cv2.resize(values.reshape(side, side), (size, size), interpolation=cv2.INTER_LINEAR)
    return blurred(np.asarray(image, dtype=np.float32), 1.2)


def _shadow(
    carm: CArm,
    tubes: list[Tube],
    table_mm: Floats,
    points_per_mm2: float,
    rng: np.random.Generator,
) -> Floats:
    """Thickness of those of the tubes that are in view (float32[H + 2 M, W + 2 M], mm)."""
    seen = [part for t in tubes if (part := t.within(carm, table_mm, 2 * MARGIN_PX))]
    if not seen:
        size = FRAME_SIZE_PX + 2 * MARGIN_PX
        return np.zeros((size, size), dtype=np.float32)
    cloud = Cloud.join(
        [part.fill(rng, points_per_mm2=points_per_mm2, points_at_most=420) for part in seen]
    )
    # A little disorder, or the even pattern of points would shimmer through sparse bone.
    disorder = rng.standard_normal(cloud.points_mm.shape, dtype=np.float32) * np.float32(0.5)
    points = cloud.points_mm + disorder + table_mm[:, None]
    shadow = thickness_mm(carm, points, cloud.volumes_mm3, margin_px=MARGIN_PX)
    return blurred(shadow, 1.6)


def _texture(size: int, exponent: float, rng: np.random.Generator) -> Floats:
    """A random field whose amplitude falls as frequency to ``-exponent``; deviation 1."""
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(size), np.fft.fftfreq(size)))
    frequency = np.maximum(frequency, 3 / size)
    amplitude = frequency**-exponent * np.exp(-((frequency / 0.16) ** 2))
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * amplitude
    field = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(field / field.std(), dtype=np.float32)


def _shift(by_px: tuple[float, float]) -> Floats:
    return np.array([[1, 0, by_px[0]], [0, 1, by_px[1]]], dtype=np.float32)


def _moved(layer: Floats, motion: Floats) -> Floats:
    """The frame's part of a layer after a motion that is given in the frame's coordinates."""
    back = cv2.invertAffineTransform(motion)
    back[:, 2] += MARGIN_PX
    moved = cv2.warpAffine(
        layer,
        back,
        (FRAME_SIZE_PX, FRAME_SIZE_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, dtype=np.float32)
