"""Stenoses: where they lie on an artery, and how they narrow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from preprocess.phantom.curve import Array, waviness
from preprocess.phantom.tree import STEP_MM, Branch, Lesion, Tree

WIDE_DIAMETER_MM = 1.8
"""Narrowest calibre that a lesion is placed on."""
APART_MM = 24.0


def with_lesions(tree: Tree, count: int, rng: np.random.Generator) -> Tree:
    """The same artery, diseased; where ``count`` lesions find no room it gets fewer, never none."""
    diseased = tree
    for _ in range(40):
        diseased = with_another_lesion(diseased, tree, rng) or diseased
        if len(diseased.lesions) == count:
            break
    return diseased


def with_another_lesion(diseased: Tree, healthy: Tree, rng: np.random.Generator) -> Tree | None:
    """The diseased artery with one lesion more, or None if that fell too near to another."""
    lesion = _propose(healthy, len(diseased.lesions) + 1, rng)
    place = healthy.branches[lesion.branch].centres_mm[lesion.centre]
    taken = [healthy.branches[other.branch].centres_mm[other.centre] for other in diseased.lesions]
    if not all(np.linalg.norm(place - other) > APART_MM for other in taken):
        return None
    narrowed = _narrow(diseased.branches[lesion.branch], lesion, rng)
    branches = {**diseased.branches, lesion.branch: narrowed}
    return Tree(branches=branches, lesions=(*diseased.lesions, lesion))


def _propose(tree: Tree, lesion_id: int, rng: np.random.Generator) -> Lesion:
    """A lesion on any wide place of the tree beyond which the calibre returns."""
    length = float(rng.uniform(6, 20))
    loss = float(np.clip(rng.normal(65, 10), 50, 90))
    margin = round((length / 2 + 7) / STEP_MM)
    places = [
        (name, index)
        for name, branch in tree.branches.items()
        for index in range(margin, len(branch.arc_mm) - margin, 4)
        if 2 * branch.radii_mm[index + margin] > WIDE_DIAMETER_MM * 0.9
        and 2 * branch.radii_mm[index] > WIDE_DIAMETER_MM
    ]
    name, centre = places[int(rng.integers(len(places)))]
    return Lesion(
        lesion_id=lesion_id,
        branch=name,
        centre=centre,
        length_mm=length,
        diameter_mm=float(2 * tree.branches[name].radii_mm[centre]),
        diameter_loss_percent=loss,
    )


def _narrow(branch: Branch, lesion: Lesion, rng: np.random.Generator) -> Branch:
    """The branch with an uneven, eccentric plaque whose thickest place takes the stated share."""
    offset = 2 * (branch.arc_mm - branch.arc_mm[lesion.centre]) / lesion.length_mm
    offset = np.clip(offset, -1, 1)
    skewed = offset - rng.uniform(-0.35, 0.35) * (1 - offset**2)
    shape = np.cos(np.pi / 2 * skewed) ** rng.uniform(1.0, 2.4)
    shape *= 1 + 0.14 * waviness(branch.arc_mm, 1.8, rng)
    shape = np.clip(shape / shape.max(), 0, 1)
    loss = lesion.diameter_loss_percent / 100 * shape
    aside = rng.normal(0, 1, 3)
    aside -= aside @ _direction(branch, lesion.centre) * _direction(branch, lesion.centre)
    aside *= rng.uniform(0, 0.85) / np.linalg.norm(aside)
    return replace(
        branch,
        centres_mm=branch.centres_mm + (branch.radii_mm * loss)[:, None] * aside,
        radii_mm=branch.radii_mm * (1 - loss),
    )


def _direction(branch: Branch, index: int) -> Array:
    step: Array = branch.centres_mm[index + 1] - branch.centres_mm[index - 1]
    unit: Array = step / np.linalg.norm(step)
    return unit
