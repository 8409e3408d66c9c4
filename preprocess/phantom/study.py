"""One patient's artery as the operator examines it: anatomy, and positions that show it well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocess.phantom.carm import CArm, Floats
from preprocess.phantom.disease import with_another_lesion, with_lesions
from preprocess.phantom.heart import Pose
from preprocess.phantom.plan import ArchivePlan, generator
from preprocess.phantom.settings import FRAME_SIZE_PX
from preprocess.phantom.tree import STEP_MM, Lesion, Tree, grow

POSITIONS_DEG = {
    # (primary, secondary): the projections of a routine examination.
    "RCA": ((38, 0), (-32, 0), (0, 28), (32, 22), (48, 0), (-20, 18), (25, 8)),
    "LCA": (
        (-28, -24),
        (0, -28),
        (44, -26),
        (-5, 35),
        (38, 26),
        (-32, 24),
        (-30, 0),
        (48, 0),
        (10, 34),
    ),
}
PIXEL_MM = (0.308, 0.288)
"""Pixel pitch of the two rooms' detectors at the usual field of view."""
SHOWN_LENGTH = 0.60
"""Least share of a lesion's length that must be seen, not foreshortened."""
EDGE_PX = 36
CLEAR_PX = 9.0
TRIES = 60


@dataclass(frozen=True, kw_only=True)
class SimulatedStudy:
    """A patient's artery and the C-arm positions it is seen from, one for each sequence."""

    tree: Tree
    pose: Pose
    positions: tuple[CArm, ...]
    tables_mm: tuple[Floats, ...]
    """How far the table was moved for each position (float32[3]), so that the artery is in view."""


def examine(plan: ArchivePlan, seed: int) -> SimulatedStudy:
    """The study that a sequence belongs to; the same for all sequences of a patient's artery.

    A lesion that some position would hide, foreshorten or cut off is never asked of a reader:
    positions are passed over until enough show every lesion, or the lesions are drawn anew.
    """
    key = (plan.patient.number, plan.artery)
    pose = Pose.random(generator(seed, "pose", plan.patient.number))
    healthy = grow(plan.artery, generator(seed, "tree", *key))
    rng = generator(seed, "lesions", *key)
    best: tuple[Tree, list[CArm]] = (healthy, [])
    for attempt in range(TRIES):
        # Three lesions that one position shows may not exist: ask for fewer in the end.
        count = min(plan.lesions, max(plan.lesions - 3 * attempt // TRIES, 1))
        tree = with_lesions(healthy, count, rng) if count else healthy
        shown = [
            carm
            for carm in _positions(plan, rng)
            if all(_shows(tree, pose, carm, lesion) for lesion in tree.lesions)
        ]
        if len(shown) > len(best[1]):
            best = tree, shown
        if len(shown) >= plan.angles:
            break
    tree, shown = best
    assert shown, "no position shows this artery"
    positions = tuple(shown[i % len(shown)] for i in range(plan.angles))
    tables = tuple(_table(tree, pose, carm) for carm in positions)
    return SimulatedStudy(tree=tree, pose=pose, positions=positions, tables_mm=tables)


def examine_densely(
    plan: ArchivePlan, seed: int, background: SimulatedStudy | None = None
) -> SimulatedStudy:
    """A study from one position with as many lesions as it shows, up to the plan's number.

    An archive's patients have few lesions, for patients do; a network learns faster from many.

    Args:
        plan: whose artery.
        seed: of the random numbers.
        background: pose, position and table are taken from here, so that both have one chest.
    """
    rng = generator(seed, "dense", plan.number)
    pose = background.pose if background else Pose.random(rng)
    healthy = tree = grow(plan.artery, rng)
    carm = background.positions[0] if background else _positions(plan, rng)[0]
    table = background.tables_mm[0] if background else _table(healthy, pose, carm)
    for _ in range(10 * plan.lesions):
        if len(tree.lesions) == plan.lesions:
            break
        diseased = with_another_lesion(tree, healthy, rng)
        if diseased and _shows(diseased, pose, carm, diseased.lesions[-1], table):
            tree = diseased
    return SimulatedStudy(tree=tree, pose=pose, positions=(carm,), tables_mm=(table,))


def _positions(plan: ArchivePlan, rng: np.random.Generator) -> list[CArm]:
    """Every usual position in a random order, each as far off as a hand sets it."""
    usual = POSITIONS_DEG[plan.artery]
    return [
        CArm(
            primary_deg=round(usual[i][0] + rng.normal(0, 3.0), 1),
            secondary_deg=round(usual[i][1] + rng.normal(0, 2.5), 1),
            source_detector_mm=round(rng.uniform(980, 1100)),
            pixel_mm=PIXEL_MM[plan.patient.room],
        )
        for i in rng.permutation(len(usual))
    ]


def _table(tree: Tree, pose: Pose, carm: CArm) -> Floats:
    """The shift along the detector that brings the artery to the middle (float32[3])."""
    centres = np.concatenate([b.centres_mm for b in tree.branches.values()]).T.astype(np.float32)
    columns, rows, _ = carm.project(pose.place(centres, 0.4))
    middle = carm.middle_px
    right, top, _ = carm.axes()
    # The catheter comes from above: the artery sits a little low.
    across = (middle - (columns.min() + columns.max()) / 2) / carm.px_per_mm
    along = (middle + 22 - (rows.min() + rows.max()) / 2) / carm.px_per_mm
    shift: Floats = (right * across - top * along).astype(np.float32)
    return shift


def _shows(
    tree: Tree, pose: Pose, carm: CArm, lesion: Lesion, table_mm: Floats | None = None
) -> bool:
    """Whether a reader would see a lesion: long enough, inside the frame and not behind others."""
    table = (_table(tree, pose, carm) if table_mm is None else table_mm)[:, None]
    branch = tree.branches[lesion.branch]
    half = round(lesion.length_mm / 2 / STEP_MM)
    own = slice(lesion.centre - half, lesion.centre + half + 1)
    place = pose.place(branch.centres_mm[own].T.astype(np.float32), 0.0) + table
    columns, rows, _ = carm.project(place)
    low, high = EDGE_PX, FRAME_SIZE_PX - EDGE_PX
    if min(columns.min(), rows.min()) < low or max(columns.max(), rows.max()) > high:
        return False
    seen = np.hypot(np.diff(columns), np.diff(rows)).sum()
    if seen < SHOWN_LENGTH * lesion.length_mm * pose.scale * carm.px_per_mm:
        return False
    others = []
    for other in tree.branches.values():
        far = np.ones(len(other.arc_mm), dtype=bool)
        if other is branch:
            far[max(lesion.centre - 2 * half, 0) : lesion.centre + 2 * half + 1] = False
        others.append(other.centres_mm[far & (other.radii_mm > 0.6)][::3])
    crowd = pose.place(np.concatenate(others).T.astype(np.float32), 0.0) + table
    crowd_columns, crowd_rows, _ = carm.project(crowd)
    core = slice(half // 2, -(half // 2), 3)
    distance = np.hypot(
        columns[core, None] - crowd_columns[None], rows[core, None] - crowd_rows[None]
    )
    return float(np.mean(distance.min(axis=1) < CLEAR_PX)) < 0.35
