"""Tubes as clouds of points that carry volume, and the thickness map that they throw.

Each point is a small share of the tube's volume. Projecting and adding up shares conserves mass, so
foreshortening, overlap and magnification come out right without any ray being traced.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.carm import CArm, Floats
from preprocess.phantom.curve import Array
from preprocess.phantom.settings import FRAME_SIZE_PX

PLASTIC = 1.324717957244746
"""Powers of its inverse fill a square evenly: the additive recurrence R2 of M. Roberts."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Points in space with the volume that each stands for.

    ``points_mm`` is float32[3, N], ``volumes_mm3`` float32[N]; ``sections`` (int32[N]) is the index
    of the tube's cross-section that a point belongs to.
    """

    points_mm: Floats
    volumes_mm3: Floats
    sections: NDArray[np.int32]

    def part(self, chosen: NDArray[np.bool_]) -> Cloud:
        """The points where ``chosen`` (bool[N]) holds."""
        return Cloud(
            points_mm=np.ascontiguousarray(self.points_mm[:, chosen]),
            volumes_mm3=self.volumes_mm3[chosen],
            sections=self.sections[chosen],
        )

    @classmethod
    def join(cls, clouds: list[Cloud]) -> Cloud:
        """One cloud of several, their cross-sections numbered on."""
        offsets = np.cumsum([0] + [int(c.sections[-1]) + 1 for c in clouds])
        return cls(
            points_mm=np.concatenate([c.points_mm for c in clouds], axis=1),
            volumes_mm3=np.concatenate([c.volumes_mm3 for c in clouds]),
            sections=np.concatenate(
                [c.sections + np.int32(o) for c, o in zip(clouds, offsets[:-1], strict=True)]
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A tube in space: ``centres_mm`` (float64[S, 3]) evenly spaced, ``radii_mm`` (float64[S]).

    ``bore`` is the inner radius as a share of the outer one; 0 is a solid rod.
    """

    centres_mm: Array
    radii_mm: Array
    bore: float = 0.0

    def fill(
        self, rng: np.random.Generator, *, points_per_mm2: float = 9.0, points_at_most: int = 100
    ) -> Cloud:
        """Spread points evenly over the cross-sections.

        Args:
            rng: where the even pattern of points begins.
            points_per_mm2: points per area of a cross-section; at least 8 of them.
            points_at_most: the most points on one cross-section.
        """
        radii, shell = self.radii_mm, 1 - self.bore**2
        steps = np.gradient(self.centres_mm, axis=0)
        spacing = np.sqrt((steps**2).sum(axis=1))
        wanted = np.round(points_per_mm2 * np.pi * radii**2)
        counts = np.clip(wanted, 8, points_at_most).astype(np.int64)
        section = np.repeat(np.arange(len(counts)), counts)
        ordinal = np.arange(len(section)) - np.repeat(np.cumsum(counts) - counts, counts)
        # The points climb the tube in order while R2 spreads them over the cross-section: chance
        # alone would leave the lumen grainy.
        running = np.arange(len(section)) + rng.integers(0, 1 << 16)
        radius = radii[section] * np.sqrt(self.bore**2 + shell * (running / PLASTIC % 1))
        angle = 2 * np.pi * (running / PLASTIC**2 % 1)
        shift = (ordinal + 0.5) / counts[section] - 0.5
        across, beyond = _normals(steps / spacing[:, None])
        points = (
            self.centres_mm[section]
            + (radius * np.cos(angle))[:, None] * across[section]
            + (radius * np.sin(angle))[:, None] * beyond[section]
            + shift[:, None] * steps[section]
        )
        volumes = np.pi * radii**2 * shell * spacing / counts
        return Cloud(
            points_mm=np.ascontiguousarray(points.T, dtype=np.float32),
            volumes_mm3=volumes[section].astype(np.float32),
            sections=section.astype(np.int32),
        )

    def within(self, carm: CArm, moved_mm: Floats, margin_px: int) -> Tube | None:
        """The part between the first and the last cross-section that lands near the frame.

        ``moved_mm`` (float32[3]) is how far the tube lies from its coordinates.
        """
        centres = self.centres_mm.T.astype(np.float32) + moved_mm[:, None]
        columns, rows, _ = carm.project(centres)
        reach = FRAME_SIZE_PX / 2 + margin_px
        centre = FRAME_SIZE_PX / 2
        near = (np.abs(columns - centre) < reach) & (np.abs(rows - centre) < reach)
        if near.sum() < 2:
            return None
        first, last = np.flatnonzero(near)[[0, -1]]
        part = slice(first, last + 1)
        return Tube(centres_mm=self.centres_mm[part], radii_mm=self.radii_mm[part], bore=self.bore)


def thickness_mm(
    carm: CArm, points_mm: Floats, volumes_mm3: Floats, *, margin_px: int = 0
) -> Floats:
    """How many millimetres of a cloud lie on the ray to each pixel (float32[H, W]).

    A pixel sees the area ``(pixel_mm / magnification) ** 2`` at a point's depth; the point's volume
    over that area is its thickness, shared bilinearly between the four nearest pixels.
    ``margin_px`` widens the map beyond the frame on every side.
    """
    columns, rows, magnification = carm.project(points_mm)
    size = FRAME_SIZE_PX + 2 * margin_px
    weights = volumes_mm3 * (magnification / np.float32(carm.pixel_mm)) ** 2
    # One cell more on each side catches what falls outside.
    stride = size + 3
    columns = np.clip(columns + np.float32(margin_px + 1), 0, size + 1)
    rows = np.clip(rows + np.float32(margin_px + 1), 0, size + 1)
    left, top = columns.astype(np.int32), rows.astype(np.int32)
    dx, dy = columns - left, rows - top
    cell = top * np.int32(stride) + left
    lower = weights * dy
    upper = weights - lower
    lower_right, upper_right = lower * dx, upper * dx
    cells = np.concatenate([cell, cell + 1, cell + stride, cell + (stride + 1)])
    shares = np.concatenate([upper - upper_right, upper_right, lower - lower_right, lower_right])
    total = np.bincount(cells, shares, stride * stride).reshape(stride, stride)
    return total[1 : size + 1, 1 : size + 1].astype(np.float32)


def blurred(image: Floats, deviation_px: float) -> Floats:
    """The image under a Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation_px), dtype=np.float32)


def _normals(tangents: Array) -> tuple[Array, Array]:
    """Two unit vectors across each tangent (float64[S, 3] each)."""
    helper = np.eye(3)[np.abs(tangents).argmin(axis=1)]
    across = np.cross(tangents, helper)
    across /= np.sqrt((across**2).sum(axis=1, keepdims=True))
    return across, np.cross(tangents, across)
