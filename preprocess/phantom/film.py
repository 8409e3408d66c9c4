"""The frames of a scene: everything in the beam, added up and exposed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from preprocess.phantom import catheter, detector, devices
from preprocess.phantom.carm import Floats
from preprocess.phantom.chest import Chest
from preprocess.phantom.chest import build as build_chest
from preprocess.phantom.heart import RADIAL_SHORTENING
from preprocess.phantom.plan import generator
from preprocess.phantom.scene import BREATH_OF_HEART, Scene
from preprocess.phantom.tree import Tree
from preprocess.phantom.tube import Cloud, Tube, blurred, thickness_mm

CONTRAST_PER_MM = 0.19
"""Attenuation of blood full of contrast; what leaves the catheter is not diluted yet."""
UNDILUTED = 1.7
RESIDUE = 0.14
"""Share of it that stands in the catheter while nothing is injected."""


class Film:
    """The frames of a scene, one after another.

    Args:
        scene: what is filmed.
        chest: what lies around the heart; the scene's own if not given. It is most of the work
            before the first frame.
    """

    def __init__(self, scene: Scene, chest: Chest | None = None) -> None:
        self.scene = scene
        plan = scene.plan
        rng = generator(scene.seed, "film", plan.number)
        self._artery, self._arc_mm = artery_cloud(scene.tree, rng)
        ostium = scene.pose.place(_column(scene.tree.ostium_mm), 0.0)[:, 0]
        self._ostium_mm = ostium
        inserted = catheter.insert(plan.artery, ostium.astype(np.float64), rng)
        self._catheter = inserted.seen_by(scene.carm, scene.table_mm(0))
        self._spill = catheter.Spill.random(plan.artery, rng)
        self._in_heart, self._in_chest = _foreign_bodies(scene, rng)
        if chest is None:
            body = generator(scene.seed, "chest", plan.patient.number)
            chest = build_chest(scene.carm, scene.pose, scene.table_mm(0), body, rng)
        self.chest = chest
        self._blush = self._muscle_blush()
        self._chain = detector.Chain(
            detector.Detector.random(plan.patient.room, rng),
            self._background(0),
            detector.shutter(plan.patient.room, rng),
            rng,
        )

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order (uint8[H, W])."""
        for i in range(self.scene.plan.frames):
            yield self.frame(i)

    def frame(self, frame_index: int) -> NDArray[np.uint8]:
        """A frame (uint8[H, W]) that shows an afterglow of whichever was asked for before it."""
        return self._chain.expose(self._background(frame_index) + self.contrast(frame_index))

    def contrast(self, frame_index: int) -> Floats:
        """Attenuation of catheter, contrast and devices in a frame (float32[H, W])."""
        scene, bolus = self.scene, self.scene.bolus
        ostium = scene.place(_column(scene.tree.ostium_mm), frame_index)[:, 0]
        table = scene.table_mm(frame_index)
        pull = (ostium - table - self._ostium_mm)[:, None]
        injection = bolus.injection(frame_index)
        points, masses = [], []
        for cloud, per_mm in (
            (self._catheter.wall, catheter.WALL_PER_MM),
            (self._catheter.lumen, CONTRAST_PER_MM * UNDILUTED * max(injection, RESIDUE)),
        ):
            follows = self._catheter.pull[cloud.sections]
            points.append(cloud.points_mm + table[:, None] + pull * follows)
            masses.append(cloud.volumes_mm3 * np.float32(per_mm))
        filled = bolus.concentration(frame_index, self._arc_mm).astype(np.float32)
        if filled.any():
            share = np.float32(CONTRAST_PER_MM * scene.injected) * filled[self._artery.sections]
            points.append(scene.place(self._artery.points_mm, frame_index))
            masses.append(self._artery.volumes_mm3 * share)
        for cloud in self._in_heart:
            points.append(scene.place(cloud.points_mm, frame_index))
            masses.append(cloud.volumes_mm3 * np.float32(devices.METAL_PER_MM))
        for cloud in self._in_chest:
            points.append(cloud.points_mm + table[:, None])
            masses.append(cloud.volumes_mm3 * np.float32(devices.METAL_PER_MM))
        shadow = thickness_mm(scene.carm, np.concatenate(points, axis=1), np.concatenate(masses))
        shadow = blurred(shadow, 0.6)
        shadow += self._blush * np.float32(bolus.blush(frame_index))
        if injection > 0:
            spill = thickness_mm(
                scene.carm, *self._spill.cloud(ostium, scene.time_s(frame_index), injection)
            )
            shadow += blurred(spill, 4.5) * np.float32(CONTRAST_PER_MM)
        return shadow

    def _background(self, frame_index: int) -> Floats:
        scene = self.scene
        right, top, _ = scene.carm.axes()
        pan = scene.table_mm(frame_index) - scene.table_mm(0)
        scale = scene.carm.px_per_mm
        table_px = (float(pan @ right) * scale, -float(pan @ top) * scale)
        down = scene.beat.breath(scene.time_s(frame_index)) * scale * float(top[2])
        return self.chest.attenuation(
            table_px, (0.0, down), self._outline_motion(frame_index, table_px, down)
        )

    def _outline_motion(
        self, frame_index: int, table_px: tuple[float, float], breath_px: float
    ) -> Floats:
        """The heart's outline shrinks about its middle as it beats (float32[2, 3])."""
        scene = self.scene
        middle = _column(np.array([0.0, 0.0, 40.0]))
        columns, rows, _ = scene.carm.project(
            scene.pose.place(middle, 0.0) + scene.table_mm(0)[:, None]
        )
        shrink = 1 - 0.45 * RADIAL_SHORTENING * scene.contraction(frame_index)
        x, y = float(columns[0]), float(rows[0])
        return np.array(
            [
                [shrink, 0, x * (1 - shrink) + table_px[0]],
                [0, shrink, y * (1 - shrink) + table_px[1] + BREATH_OF_HEART * breath_px],
            ],
            dtype=np.float32,
        )

    def _muscle_blush(self) -> Floats:
        """Contrast in the muscle around the small branches (attenuation, float32[H, W])."""
        scene = self.scene
        thin = self._artery.volumes_mm3 < np.median(self._artery.volumes_mm3)
        shadow = thickness_mm(
            scene.carm,
            scene.place(self._artery.points_mm[:, thin], scene.bolus.optimal_start),
            self._artery.volumes_mm3[thin],
        )
        haze = blurred(shadow, 26)
        return haze * np.float32(0.085 / max(float(haze.max()), 1e-6))


def artery_cloud(tree: Tree, rng: np.random.Generator) -> tuple[Cloud, NDArray[np.float64]]:
    """The lumen of a tree, and for each cross-section its distance from the ostium (mm)."""
    branches = list(tree.branches.values())
    cloud = Cloud.join(
        [Tube(centres_mm=b.centres_mm, radii_mm=b.radii_mm).fill(rng) for b in branches]
    )
    return cloud, np.concatenate([b.arc_mm for b in branches])


def _foreign_bodies(scene: Scene, rng: np.random.Generator) -> tuple[list[Cloud], list[Cloud]]:
    """Devices in heart coordinates and devices in the patient's."""
    match scene.plan.exclude:
        case devices.IMPLANT:
            return [devices.stent_valve(rng)], [devices.sternal_wires(rng)]
        case devices.PACEMAKER:
            return list(devices.pacemaker_lead(scene.pose, rng)), [devices.pacemaker_can(rng)]
        case devices.IFR_WIRE:
            return [devices.pressure_wire(scene.tree, rng)], []
        case _:
            return [], []


def _column(point_mm: NDArray[np.float64]) -> Floats:
    column: Floats = point_mm.reshape(3, 1).astype(np.float32)
    return column
