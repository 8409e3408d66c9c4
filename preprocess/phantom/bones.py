"""Spine, ribs and the vessels of the lungs, as tubes."""

from __future__ import annotations

import numpy as np

from preprocess.phantom.curve import Array, arc_length, smooth_curve, waviness
from preprocess.phantom.tube import Tube

MIDLINE_MM = -22.0
"""The body's midline: the heart, which lies at the isocentre, is left of it."""
SPINE_BACK_MM = 66.0
CHEST_HALF_MM = (150.0, 108.0)


def spine(rng: np.random.Generator) -> list[Tube]:
    """Vertebral bodies with dense end plates, pedicles, and transverse and spinous processes."""
    pitch = rng.uniform(24, 28)
    start = rng.uniform(-0.5, 0.5) * pitch
    lean, bend = rng.normal(0, 0.06), rng.normal(0, 0.0006)
    up = np.array([lean, rng.normal(0.12, 0.05), 1.0])
    parts = []
    for level in range(-5, 6):
        height = start + level * pitch
        across = MIDLINE_MM + lean * height + bend * height**2
        middle = np.array([across + rng.normal(0, 0.6), SPINE_BACK_MM, height])
        tilted = up + rng.normal(0, 0.03, 3)
        half = pitch * 0.43
        axial = np.arange(-half, half, 0.5)
        waist = 16 - 2.0 * np.cos(np.pi * axial / (2 * half))
        body = middle + axial[:, None] * tilted
        parts.append(Tube(centres_mm=body, radii_mm=waist))
        parts.append(Tube(centres_mm=body, radii_mm=waist, bore=0.93))
        for side in (-1, 1):
            plate = middle + (side * half + np.arange(-0.8, 0.8, 0.2))[:, None] * tilted
            parts.append(Tube(centres_mm=plate, radii_mm=np.full(len(plate), 16.5)))
            pedicle = middle + np.array([side * 10, 20, 4])
            parts.append(_rod(pedicle, pedicle + np.array([0, 12, 0]), 4.0))
            process = pedicle + np.array([side * 22, 14, 3])
            parts.append(_rod(pedicle + np.array([0, 10, 0]), process, 3.6))
        parts.append(_rod(middle + np.array([0, 34, 0]), middle + np.array([0, 58, -16]), 3.2))
    return parts


def ribs(rng: np.random.Generator) -> list[Tube]:
    """Hollow ribs that fall from the spine to the front, on both sides."""
    pitch = rng.uniform(24, 29)
    start = rng.uniform(0, 1) * pitch
    parts = []
    for level in range(-5, 7):
        for side in (-1, 1):
            angle = np.linspace(0.12, 0.80, 7) * np.pi
            drop = 78 * (angle / np.pi - 0.12) ** 0.8
            points = np.column_stack(
                [
                    MIDLINE_MM + side * (CHEST_HALF_MM[0] - 6) * np.sin(angle),
                    (CHEST_HALF_MM[1] - 10) * np.cos(angle),
                    start + level * pitch + 30 - drop + rng.normal(0, 1.2),
                ]
            )
            centres = smooth_curve(points, 0.7)
            radii = 4.4 * (1 + 0.06 * waviness(arc_length(centres), 25, rng))
            parts.append(Tube(centres_mm=centres, radii_mm=radii, bore=0.72))
    return parts


def lung_vessels(rng: np.random.Generator) -> list[Tube]:
    """Vessels of the lungs, branching from both hila and tapering outwards."""
    parts = []
    for side in (-1, 1):
        hilum = np.array([MIDLINE_MM + side * 32, 18, 34])
        for _ in range(16):
            heading = rng.normal(0, 1, 3) + np.array([side * 0.9, 0, -0.45])
            stem = _wander(hilum + rng.normal(0, 7, 3), heading, rng.uniform(70, 120), rng)
            parts.append(_tapered(stem, rng.uniform(1.6, 3.2)))
            for _ in range(5):
                at = int(rng.uniform(0.15, 0.8) * len(stem))
                turned = heading + rng.normal(0, 0.9, 3)
                twig = _wander(stem[at], turned, rng.uniform(30, 65), rng)
                parts.append(_tapered(twig, rng.uniform(0.6, 1.5)))
    return parts


def _wander(start: Array, heading: Array, length: float, rng: np.random.Generator) -> Array:
    points = [start]
    heading = heading / np.linalg.norm(heading)
    for _ in range(4):
        heading = heading + rng.normal(0, 0.22, 3)
        heading /= np.linalg.norm(heading)
        points.append(points[-1] + heading * length / 4)
    return smooth_curve(np.array(points), 0.8)


def _tapered(centres: Array, radius: float) -> Tube:
    return Tube(centres_mm=centres, radii_mm=radius * np.linspace(1, 0.3, len(centres)))


def _rod(start: Array, end: Array, radius: float) -> Tube:
    count = int(np.linalg.norm(end - start) / 0.5)
    centres = start + np.linspace(0, 1, count)[:, None] * (end - start)
    return Tube(centres_mm=centres, radii_mm=np.full(count, radius), bore=0.6)
