"""The scene of one sequence: anatomy, position, and all movement in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocess.phantom.bolus import Bolus
from preprocess.phantom.carm import CArm, Floats
from preprocess.phantom.heart import Beat, Pose
from preprocess.phantom.plan import ArchivePlan, generator
from preprocess.phantom.settings import FRAME_TIME_MS
from preprocess.phantom.study import SimulatedStudy, examine
from preprocess.phantom.tree import Lesion, Tree

BREATH_OF_HEART = 0.6
"""The heart follows the diaphragm by this share."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A sequence's geometry in time; ``study`` and ``carm`` say what is seen and from where."""

    plan: ArchivePlan
    seed: int
    study: SimulatedStudy
    bolus: Bolus
    beat: Beat
    injected: float
    """Share of a full injection: how dark the artery becomes."""
    pan_mm: Floats
    """How far the operator moves the table until the last frame (float32[3])."""

    @classmethod
    def of(cls, plan: ArchivePlan, seed: int, study: SimulatedStudy | None = None) -> Scene:
        """The scene of a planned sequence; of a given study instead of the one that is planned."""
        rng = generator(seed, "scene", plan.number)
        study = study or examine(plan, seed)
        right, top, _ = study.positions[plan.angle].axes()
        across, along = rng.normal(0, 7, 2) * (rng.random() < 0.25)
        return cls(
            plan=plan,
            seed=seed,
            study=study,
            bolus=Bolus.random(plan.frames, study.tree.reach_mm, rng),
            beat=Beat(
                rate_bpm=rng.uniform(60, 90),
                phase_at_start=rng.uniform(0, 1),
                strength=rng.uniform(0.75, 1.1),
                breath_mm=abs(rng.normal(0, 3.0)),
                breath_phase=rng.uniform(0, 1),
            ),
            injected=rng.uniform(0.75, 1.15),
            pan_mm=(right * across + top * along).astype(np.float32),
        )

    @property
    def carm(self) -> CArm:
        """Where the C-arm stands."""
        return self.study.positions[self.plan.angle]

    @property
    def tree(self) -> Tree:
        """The artery that is injected."""
        return self.study.tree

    @property
    def pose(self) -> Pose:
        """How the heart lies."""
        return self.study.pose

    def time_s(self, frame_index: int) -> float:
        """Seconds since the first frame."""
        return frame_index * FRAME_TIME_MS / 1000

    def contraction(self, frame_index: int) -> float:
        """The heart's contraction in a frame."""
        return self.beat.contraction(self.time_s(frame_index))

    def table_mm(self, frame_index: int) -> Floats:
        """How far the patient lies from where anatomy is described, the table's pan included."""
        share = np.clip((frame_index / max(self.plan.frames - 1, 1) - 0.45) / 0.4, 0, 1)
        pan: Floats = self.pan_mm * np.float32(share * share * (3 - 2 * share))
        return self.study.tables_mm[self.plan.angle] + pan

    def place(self, points_mm: Floats, frame_index: int) -> Floats:
        """Heart coordinates to where the points are in a frame (float32[3, N], isocentre mm)."""
        breath = np.float32(BREATH_OF_HEART * self.beat.breath(self.time_s(frame_index)))
        shift = self.table_mm(frame_index) - np.array([0, 0, breath], dtype=np.float32)
        return self.pose.place(points_mm, self.contraction(frame_index)) + shift[:, None]

    def concentration(self, lesion: Lesion, frame_index: int) -> float:
        """Share of full contrast in a lesion in a frame, 0 to 1."""
        arc = self.tree.branches[lesion.branch].arc_mm[lesion.centre : lesion.centre + 1]
        return float(self.bolus.concentration(frame_index, arc)[0])
