"""The two coronary arteries as lists of branches: where each leaves, runs and how wide it is.

Calibres follow Dodge et al., Circulation 1992 (doi 10.1161/01.CIR.86.1.232); directions are those
of a right-dominant heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocess.phantom.curve import Array
from preprocess.phantom.heart import surface_mm

Waypoint = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Course:
    """The course of one branch.

    ``waypoints`` are (angle in degrees, depth, lift in mm) of ``heart.surface_mm``, after the
    place where it leaves its parent: ``leaves_at``, the share of the parent's length.
    ``diameter_mm`` is the one at its start and at its end, ``chance`` the share of people with it.
    """

    name: str
    parent: str = ""
    leaves_at: float = 0.0
    waypoints: tuple[Waypoint, ...]
    diameter_mm: tuple[float, float]
    chance: float = 1.0


OSTIUM = {"RCA": (136.0, -0.14, -24.0), "LCA": (88.0, -0.15, -22.0)}

COURSES = {
    "RCA": (
        Course(
            name="RCA",
            waypoints=(
                (146, -0.08, -20),
                (157, -0.01, -12),
                (170, 0.03, -3),
                (187, 0.05, 1),
                (206, 0.07, 2),
                (224, 0.08, 1),
                (243, 0.06, 0),
                (262, 0.03, 0),
            ),
            diameter_mm=(3.9, 2.7),
        ),
        Course(
            name="PDA",
            parent="RCA",
            leaves_at=1.0,
            waypoints=((257, 0.10, 0), (250, 0.25, 0), (246, 0.45, 0), (243, 0.68, 0)),
            diameter_mm=(2.2, 0.8),
        ),
        Course(
            name="PL",
            parent="RCA",
            leaves_at=1.0,
            waypoints=((276, 0.03, 0), (290, 0.08, 0), (302, 0.25, 0), (308, 0.5, 0)),
            diameter_mm=(2.2, 0.7),
        ),
        Course(
            name="PL2",
            parent="PL",
            leaves_at=0.3,
            waypoints=((283, 0.2, 0), (281, 0.38, 0), (276, 0.55, 0)),
            diameter_mm=(1.4, 0.5),
            chance=0.7,
        ),
        Course(
            name="AM",
            parent="RCA",
            leaves_at=0.58,
            waypoints=((202, 0.25, 1), (204, 0.45, 1), (208, 0.66, 1)),
            diameter_mm=(1.6, 0.5),
        ),
        Course(
            name="RV",
            parent="RCA",
            leaves_at=0.36,
            waypoints=((172, 0.2, 2), (168, 0.36, 2), (170, 0.55, 1)),
            diameter_mm=(1.4, 0.5),
            chance=0.9,
        ),
        Course(
            name="conus",
            parent="RCA",
            leaves_at=0.1,
            waypoints=((146, 0.04, -4), (136, 0.14, 1), (133, 0.28, 2)),
            diameter_mm=(1.3, 0.5),
            chance=0.85,
        ),
        Course(
            name="SN",
            parent="RCA",
            leaves_at=0.13,
            waypoints=((162, -0.2, -20), (170, -0.32, -24), (200, -0.4, -30)),
            diameter_mm=(1.1, 0.4),
            chance=0.6,
        ),
    ),
    "LCA": (
        Course(
            name="LM",
            waypoints=((78, -0.11, -13), (72, -0.06, -5)),
            diameter_mm=(4.4, 4.1),
        ),
        Course(
            name="LAD",
            parent="LM",
            leaves_at=1.0,
            waypoints=(
                (84, -0.02, 0),
                (99, 0.06, 1),
                (112, 0.18, 1),
                (119, 0.36, 0),
                (121, 0.56, 0),
                (118, 0.76, 0),
                (115, 0.93, 0),
            ),
            diameter_mm=(3.6, 1.1),
        ),
        Course(
            name="LCx",
            parent="LM",
            leaves_at=1.0,
            waypoints=((54, 0.0, 0), (34, 0.04, 0), (10, 0.06, 1), (-16, 0.06, 0), (-42, 0.06, 0)),
            diameter_mm=(3.3, 1.5),
        ),
        Course(
            name="OM1",
            parent="LCx",
            leaves_at=0.32,
            waypoints=((30, 0.17, 0), (24, 0.36, 0), (20, 0.56, 0), (16, 0.74, 0)),
            diameter_mm=(2.3, 0.7),
        ),
        Course(
            name="OM2",
            parent="LCx",
            leaves_at=0.62,
            waypoints=((0, 0.2, 0), (-8, 0.38, 0), (-12, 0.6, 0)),
            diameter_mm=(2.1, 0.7),
            chance=0.85,
        ),
        Course(
            name="PL",
            parent="LCx",
            leaves_at=0.98,
            waypoints=((-48, 0.18, 0), (-52, 0.36, 0), (-54, 0.5, 0)),
            diameter_mm=(1.5, 0.6),
        ),
        Course(
            name="D1",
            parent="LAD",
            leaves_at=0.20,
            waypoints=((90, 0.22, 0), (80, 0.38, 0), (72, 0.56, 0), (66, 0.72, 0)),
            diameter_mm=(2.1, 0.6),
        ),
        Course(
            name="D2",
            parent="LAD",
            leaves_at=0.42,
            waypoints=((106, 0.5, 0), (96, 0.64, 0), (90, 0.78, 0)),
            diameter_mm=(1.7, 0.5),
            chance=0.85,
        ),
        Course(
            name="S1",
            parent="LAD",
            leaves_at=0.18,
            waypoints=((132, 0.26, -10), (146, 0.38, -20), (156, 0.5, -26)),
            diameter_mm=(1.4, 0.5),
        ),
        Course(
            name="S2",
            parent="LAD",
            leaves_at=0.34,
            waypoints=((136, 0.44, -10), (150, 0.54, -17)),
            diameter_mm=(1.1, 0.4),
            chance=0.9,
        ),
        Course(
            name="S3",
            parent="LAD",
            leaves_at=0.48,
            waypoints=((136, 0.58, -8), (150, 0.66, -14)),
            diameter_mm=(1.0, 0.4),
            chance=0.7,
        ),
        Course(
            name="IM",
            parent="LM",
            leaves_at=1.0,
            waypoints=((62, 0.12, 0), (54, 0.3, 0), (48, 0.5, 0)),
            diameter_mm=(1.9, 0.6),
            chance=0.3,
        ),
    ),
}


def waypoints_mm(waypoints: tuple[Waypoint, ...], rng: np.random.Generator) -> Array:
    """Waypoints in heart coordinates (float64[K, 3]), moved as they differ between people."""
    turn_deg, slide = rng.normal(0, 3.5), rng.normal(0, 0.015)
    return np.array(
        [
            surface_mm(
                angle + turn_deg + rng.normal(0, 2.5),
                depth + slide + rng.normal(0, 0.012),
                lift + rng.normal(0, 0.7),
            )
            for angle, depth, lift in waypoints
        ]
    )
