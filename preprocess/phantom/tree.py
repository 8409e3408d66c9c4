"""One patient's coronary artery: centrelines and calibres in heart coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from preprocess.phantom.anatomy import COURSES, OSTIUM, Course, waypoints_mm
from preprocess.phantom.curve import Array, arc_length, resample, smooth_curve, waviness
from preprocess.phantom.heart import surface_mm

STEP_MM = 0.3
TWIGS_PER_MM = 0.022


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A stenosis, and where it lies on its branch."""

    lesion_id: int
    branch: str
    centre: int
    """Index of the branch's cross-section in its middle."""
    length_mm: float
    diameter_mm: float
    """The healthy calibre at its place."""
    diameter_loss_percent: float


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One branch: ``centres_mm`` is float64[S, 3], ``radii_mm`` float64[S], ``arc_mm`` (float64[S])
    the distance from the ostium; cross-sections are ``STEP_MM`` apart."""

    name: str
    centres_mm: Array
    radii_mm: Array
    arc_mm: Array

    @property
    def length_mm(self) -> float:
        """From its origin to its end."""
        return float(self.arc_mm[-1] - self.arc_mm[0])


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A coronary artery with its lesions."""

    branches: dict[str, Branch]
    lesions: tuple[Lesion, ...] = ()

    @property
    def reach_mm(self) -> float:
        """Distance from the ostium to the end of the longest branch."""
        return max(float(b.arc_mm[-1]) for b in self.branches.values())

    @property
    def ostium_mm(self) -> Array:
        """Where the catheter's tip lies (float64[3])."""
        start: Array = next(iter(self.branches.values())).centres_mm[0]
        return start


def grow(artery: str, rng: np.random.Generator) -> Tree:
    """A random healthy artery, ``RCA`` or ``LCA``: no two patients have the same."""
    calibre = np.exp(rng.normal(0, 0.08))
    branches: dict[str, Branch] = {}
    for course in COURSES[artery]:
        if course.parent and (course.parent not in branches or rng.random() > course.chance):
            continue
        origin, arc = _origin(artery, course, branches, rng)
        points = np.vstack([origin, waypoints_mm(course.waypoints, rng)])
        start, end = (calibre * np.exp(rng.normal(0, 0.08)) * d for d in course.diameter_mm)
        branch = _branch(course.name, points, (start, end), arc, rng)
        goes_on = any(c.parent == course.name and c.leaves_at > 0.95 for c in COURSES[artery])
        branches[course.name] = branch if goes_on else _fading(branch)
    for name, branch in list(branches.items()):
        for i in range(rng.poisson(TWIGS_PER_MM * branch.length_mm)):
            twig = _twig(f"{name}/{i + 1}", branch, rng)
            branches[twig.name] = twig
    return Tree(branches=branches)


def _origin(
    artery: str, course: Course, branches: dict[str, Branch], rng: np.random.Generator
) -> tuple[Array, float]:
    """Where a branch begins (float64[3]) and how far that is from the ostium."""
    if not course.parent:
        angle, depth, lift = OSTIUM[artery]
        return surface_mm(angle + rng.normal(0, 3), depth, lift), 0.0
    parent = branches[course.parent]
    share = course.leaves_at
    if share < 1:
        share = float(np.clip(share + rng.normal(0, 0.035), 0.05, 0.99))
    index = round(share * (len(parent.arc_mm) - 1))
    return parent.centres_mm[index], float(parent.arc_mm[index])


def _branch(
    name: str,
    points_mm: Array,
    diameter_mm: tuple[float, float],
    start_mm: float,
    rng: np.random.Generator,
) -> Branch:
    """A branch through waypoints, with the bends and the uneven wall of a living one."""
    centres = smooth_curve(points_mm, STEP_MM)
    arc = arc_length(centres)
    amplitude = min(1.1, 0.35 + 0.012 * arc[-1]) * rng.uniform(0.5, 1.4)
    onset = np.clip(arc / 15, 0, 1)
    for axis in range(3):
        coarse = waviness(arc, 22, rng, terms=4) + 0.30 * waviness(arc, 7, rng, terms=4)
        centres[:, axis] += amplitude * onset * coarse
    centres = resample(centres, STEP_MM)
    arc = arc_length(centres)
    first, last = diameter_mm
    share = arc / arc[-1]
    taper = first + (last - first) * share**0.9
    uneven = 1 + 0.035 * waviness(arc, 6, rng) + 0.025 * waviness(arc, 2.2, rng)
    for _ in range(rng.poisson(arc[-1] / 90)):
        # Mild plaque, below what a reader calls a stenosis.
        place, width = rng.uniform(0.1, 0.9) * arc[-1], rng.uniform(2, 7)
        uneven *= 1 - rng.uniform(0.06, 0.22) * np.exp(-(((arc - place) / width) ** 2))
    return Branch(
        name=name,
        centres_mm=centres,
        radii_mm=taper / 2 * uneven,
        arc_mm=start_mm + arc,
    )


def _fading(branch: Branch) -> Branch:
    """The branch with its end drawn out to a thread."""
    tip = np.clip((branch.arc_mm[-1] - branch.arc_mm) / 6, 0.25, 1)
    return replace(branch, radii_mm=branch.radii_mm * tip)


def _twig(name: str, parent: Branch, rng: np.random.Generator) -> Branch:
    """A small side branch that leaves at an acute angle and curls over the surface."""
    index = int(rng.uniform(0.12, 0.9) * (len(parent.arc_mm) - 2))
    origin = parent.centres_mm[index]
    ahead = parent.centres_mm[index + 1] - parent.centres_mm[index]
    ahead /= np.linalg.norm(ahead)
    outwards = origin * (1, 1, 0) / np.linalg.norm(origin[:2])
    aside = np.cross(ahead, outwards) * rng.choice([-1, 1])
    length = rng.uniform(12, 38)
    points = [origin]
    heading = 0.7 * ahead + 0.7 * aside
    for _ in range(4):
        heading = heading + 0.35 * ahead + rng.normal(0, 0.33, 3) - 0.12 * outwards
        heading /= np.linalg.norm(heading)
        points.append(points[-1] + heading * length / 4)
    thickest = min(1.1, 1.2 * parent.radii_mm[index])
    diameter = (rng.uniform(0.55, 1.0) * thickest, 0.35)
    start = float(parent.arc_mm[index])
    return _fading(_branch(name, np.array(points), diameter, start, rng))
