"""Labelled frames for pretraining, without end, of hearts that no archive has.

An example is a frame of the optimal interval with a perfect box on every lesion. Its artery has as
many lesions as its position shows, up to ``MOST_LESIONS``: more to learn from per frame than a
patient's cine has.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.chest import Chest
from preprocess.phantom.film import Film
from preprocess.phantom.plan import ArchivePlan, Artery, Patient, generator
from preprocess.phantom.reader import lesion_box
from preprocess.phantom.scene import Scene
from preprocess.phantom.settings import SEEDS
from preprocess.phantom.study import SimulatedStudy, examine_densely

ARTERIES: tuple[Artery, ...] = ("LCA", "RCA")
MOST_LESIONS = 6
HEARTS = 2
"""Hearts filmed before one chest, which takes as long to make as some thirty frames."""
FRAMES = 6
"""Examples of each heart."""
EXAMPLES = HEARTS * FRAMES
"""Examples of a chest."""
CINE_FRAMES = 30


@dataclass(frozen=True)
class Example:
    """A frame with what is true of it.

    Attributes:
        frame: uint8[H, W], as stored.
        boxes_xyxy: float32[G, 4], one for each lesion, in pixels.
        artery: which is filled.
    """

    frame: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    artery: Artery


def examples(seed: int, chest: int) -> list[Example]:
    """The examples of one chest: a function of both numbers and of nothing else.

    Args:
        seed: 0 or more. No archive shows the same hearts, whatever its seed.
        chest: which, from 0; even ones show the left artery, odd ones the right.
    """
    cv2.setNumThreads(1)  # the caller runs one process a core
    seed += SEEDS
    found: list[Example] = []
    study: SimulatedStudy | None = None
    around: Chest | None = None
    for heart in range(HEARTS):
        rng = generator(seed, "example", chest, heart)
        # A frame without a lesion would outweigh the others: losses are per lesion of a frame.
        plan = _plan(chest, heart, lesions=int(rng.integers(1, MOST_LESIONS + 1)))
        study = examine_densely(plan, seed, study)
        scene = Scene.of(plan, seed, study)
        film = Film(scene, around)
        around = film.chest
        bolus = scene.bolus
        first = int(rng.integers(bolus.optimal_start, bolus.vanishing_start - FRAMES))
        film.frame(first - 1)  # leaves its afterglow in the first example
        found += [_example(film, t) for t in range(first, first + FRAMES)]
    return found


def _plan(chest: int, heart: int, *, lesions: int) -> ArchivePlan:
    artery = ARTERIES[chest % len(ARTERIES)]
    patient = Patient(
        number=chest,
        name="",
        patient_id="",
        birth_date="",
        sex="",
        study_date="",
        room=chest // 2 % 2,
    )
    return ArchivePlan(
        number=chest * HEARTS + heart,
        patient=patient,
        artery=artery,
        view=artery,
        angle=0,
        angles=1,
        lesions=lesions,
        exclude="",
        frames=CINE_FRAMES,
        jpeg=False,
        acquisition=1,
    )


def _example(film: Film, frame_index: int) -> Example:
    scene = film.scene
    boxes = [lesion_box(scene, lesion, frame_index) for lesion in scene.tree.lesions]
    real = [box for box in boxes if box is not None]
    return Example(
        film.frame(frame_index),
        np.array(real, dtype=np.float32).reshape(-1, 4),
        scene.plan.artery,
    )
