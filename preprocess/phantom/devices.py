"""Foreign bodies for which a sequence is discarded (paper, section 2): they mislead a detector."""

from __future__ import annotations

import numpy as np

from preprocess.phantom.bones import CHEST_HALF_MM, MIDLINE_MM
from preprocess.phantom.curve import Array, smooth_curve
from preprocess.phantom.heart import Pose
from preprocess.phantom.tree import Tree
from preprocess.phantom.tube import Cloud, Tube

METAL_PER_MM = 0.9

IMPLANT, PACEMAKER, IFR_WIRE = "implant", "pacemaker", "ifr_wire"


def sternal_wires(rng: np.random.Generator) -> Cloud:
    """Twisted steel loops through the breastbone, after open heart surgery (patient's mm)."""
    parts = []
    for level in range(-2, 4):
        angle = np.linspace(0.15, 2 * np.pi + 0.1, 9) + rng.normal(0, 0.08, 9)
        loop = np.column_stack([11 * np.sin(angle), 5 * np.cos(angle), 2 * np.sin(angle / 2)])
        place = (MIDLINE_MM + rng.normal(0, 2), -CHEST_HALF_MM[1] + 13, level * 23 + 6)
        parts.append(_wire(loop + place + rng.normal(0, 0.5, loop.shape), 0.45, rng))
    return Cloud.join(parts)


def stent_valve(rng: np.random.Generator) -> Cloud:
    """The frame of a transcatheter aortic valve, in heart coordinates: a zigzag lattice."""
    turns = np.linspace(0, 2 * np.pi, 12 * 4 + 1)
    parts = []
    for ring in range(4):
        zigzag = 3.4 * np.abs(((turns * 12 / np.pi + ring) % 2) - 1)
        points = np.column_stack(
            [
                8 + 11.5 * np.cos(turns),
                10 + 11.5 * np.sin(turns),
                -24 + 4.2 * ring + zigzag,
            ]
        )
        parts.append(_wire(points, 0.28, rng))
    return Cloud.join(parts)


def pacemaker_lead(pose: Pose, rng: np.random.Generator) -> tuple[Cloud, Cloud]:
    """The lead down to the right ventricle, and its coil and tip (both heart coordinates)."""
    vein = np.array([[8.0, -60.0, 160.0], [-40, -25, 105], [-52, -2, 60]])
    above = (vein - pose.origin_mm) @ pose.rotation / pose.scale
    inside = np.array([[-34, -4, -8], [-40, -14, 18], [-30, -16, 48], [-16, -8, 66.0]])
    centres = smooth_curve(np.vstack([above, inside + rng.normal(0, 2, inside.shape)]), 0.35)
    coil = centres[-90:]
    lead = Tube(centres_mm=centres, radii_mm=np.full(len(centres), 0.8), bore=0.4)
    tip = Tube(centres_mm=coil, radii_mm=np.full(len(coil), 1.3), bore=0.5)
    return lead.fill(rng), tip.fill(rng)


def pacemaker_can(rng: np.random.Generator) -> Cloud:
    """The edge of the generator that reaches into the frame from above (patient's mm)."""
    turn = np.linspace(0, 2 * np.pi, 25)
    centre = np.array([50.0, -CHEST_HALF_MM[1] + 22, 96.0]) + rng.normal(0, 4, 3)
    rim = np.column_stack([24 * np.cos(turn), np.zeros(25), 20 * np.sin(turn)])
    rim *= (1 + 0.12 * np.cos(2 * turn - 0.6))[:, None]
    parts = [_wire(centre + rim * share, 2.2, rng) for share in np.arange(0.06, 1.01, 0.094)]
    return Cloud.join(parts)


def pressure_wire(tree: Tree, rng: np.random.Generator) -> Cloud:
    """A pressure wire down the longest branch, with its dense sensor tip (heart coordinates)."""
    path: Array = max(tree.branches.values(), key=lambda b: float(b.arc_mm[-1])).centres_mm
    root = next(iter(tree.branches.values())).centres_mm
    if path is not root:
        path = np.vstack([root, path])
    path = path[: int(0.82 * len(path))]
    smooth = smooth_curve(path[:: max(len(path) // 14, 1)], 0.3)
    radii = np.full(len(smooth), 0.18)
    radii[-100:] = 0.30
    return Tube(centres_mm=smooth, radii_mm=radii).fill(rng)


def _wire(points_mm: Array, radius_mm: float, rng: np.random.Generator) -> Cloud:
    centres = smooth_curve(points_mm, 0.3)
    return Tube(centres_mm=centres, radii_mm=np.full(len(centres), radius_mm)).fill(rng)
