"""Projection, thickness, bolus and beat against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from preprocess.phantom.bolus import Bolus
from preprocess.phantom.carm import CArm
from preprocess.phantom.curve import arc_length, smooth_curve
from preprocess.phantom.disease import WIDE_DIAMETER_MM, with_lesions
from preprocess.phantom.heart import Beat, Pose
from preprocess.phantom.plan import generator
from preprocess.phantom.tree import grow
from preprocess.phantom.tube import Tube, thickness_mm

CARM = CArm(
    primary_deg=0,
    secondary_deg=0,
    source_detector_mm=1000,
    source_isocentre_mm=800,
    pixel_mm=0.25,
)
MIDDLE = 255.5


def _project(carm: CArm, point: tuple[float, float, float]) -> tuple[float, float, float]:
    columns, rows, magnification = carm.project(np.array(point, dtype=np.float32)[:, None])
    return float(columns[0]), float(rows[0]), float(magnification[0])


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0, 0, 0), (MIDDLE, MIDDLE, 1.25)),
        # 10 mm to the left at the isocentre: 12.5 mm on the detector, 50 pixels to the right.
        ((10, 0, 0), (MIDDLE + 50, MIDDLE, 1.25)),
        ((0, 0, 10), (MIDDLE, MIDDLE - 50, 1.25)),
        # 300 mm to the back is 500 mm from the source: twice as large.
        ((10, 300, 0), (MIDDLE + 80, MIDDLE, 2.0)),
    ],
)
def test_frontal_projection(
    point: tuple[float, float, float], expected: tuple[float, float, float]
) -> None:
    assert _project(CARM, point) == pytest.approx(expected, abs=1e-3)


def test_angles_turn_the_detector_as_dicom_says() -> None:
    lao = CArm(primary_deg=90, secondary_deg=0)
    # The detector stands at the patient's left: what lies at the back appears on the right.
    assert lao.axes()[2] == pytest.approx([1, 0, 0])
    assert _project(lao, (0, 10, 0))[0] > MIDDLE
    cranial = CArm(primary_deg=0, secondary_deg=90)
    assert cranial.axes()[2] == pytest.approx([0, 0, 1])
    rao = CArm(primary_deg=-30, secondary_deg=20)
    axes = rao.axes()
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert np.cross(axes[0], axes[1]) == pytest.approx(axes[2])


def test_rays_pass_through_the_points_that_project_there() -> None:
    carm = CArm(primary_deg=35, secondary_deg=-20)
    point = np.array([[12], [-30], [25]], dtype=np.float32)
    columns, rows, _ = carm.project(point)
    source, directions = carm.rays(columns, rows)
    to_point = point[:, 0] - source
    assert directions[:, 0] == pytest.approx(to_point / np.linalg.norm(to_point), abs=1e-5)


def _cylinder(radius_mm: float) -> Tube:
    x = np.arange(-60, 60, 0.3)
    return Tube(centres_mm=np.column_stack([x, 0 * x, 0 * x]), radii_mm=np.full(len(x), radius_mm))


def test_thickness_conserves_mass() -> None:
    x = np.arange(-20, 20, 0.3)
    tube = Tube(centres_mm=np.column_stack([x, 0 * x, x]), radii_mm=np.full(len(x), 2.0))
    cloud = tube.fill(np.random.default_rng(0))
    thickness = thickness_mm(CARM, cloud.points_mm, cloud.volumes_mm3)
    length = np.sqrt(2) * 0.3 * len(x)
    assert cloud.volumes_mm3.sum() == pytest.approx(np.pi * 4 * length, rel=1e-5)
    # At the isocentre a pixel sees (0.25 / 1.25 mm) squared.
    assert thickness.sum() * 0.2**2 == pytest.approx(np.pi * 4 * length, rel=1e-3)


def test_thickness_is_the_chord_of_a_cylinder() -> None:
    cloud = _cylinder(2.0).fill(np.random.default_rng(0))
    thickness = thickness_mm(CARM, cloud.points_mm, cloud.volumes_mm3)
    profile = thickness[:, 150:360].mean(axis=1)
    offset_mm = (np.arange(512) - MIDDLE) * 0.2
    chord = 2 * np.sqrt(np.maximum(4 - offset_mm**2, 0))
    inner = np.abs(offset_mm) < 1.6
    assert profile[inner] == pytest.approx(chord[inner], rel=0.06)
    assert profile[np.abs(offset_mm) > 2.3].max() < 0.02


def test_bore_leaves_the_middle_empty() -> None:
    x = np.arange(-20, 20, 0.3)
    centres = np.column_stack([x, 0 * x, 0 * x])
    tube = Tube(centres_mm=centres, radii_mm=np.full(len(x), 2.0), bore=0.5)
    cloud = tube.fill(np.random.default_rng(0))
    distance = np.hypot(cloud.points_mm[1], cloud.points_mm[2])
    assert distance.min() >= 0.999 and distance.max() <= 2.001
    assert cloud.volumes_mm3.sum() == pytest.approx(np.pi * 3 * 0.3 * len(x), rel=1e-5)


def test_points_beyond_the_frame_leave_no_trace() -> None:
    far = np.array([[900, -900], [0, 0], [0, 5]], dtype=np.float32)
    assert not thickness_mm(CARM, far, np.ones(2, dtype=np.float32)).any()


@pytest.mark.parametrize("artery", ["RCA", "LCA"])
def test_lesion_narrows_the_projected_lumen(artery: str) -> None:
    for seed in range(4):
        rng = generator(seed, "test", artery)
        healthy = grow(artery, rng)
        tree = with_lesions(healthy, 1, rng)
        (lesion,) = tree.lesions
        widths = []
        for branch in (healthy.branches[lesion.branch], tree.branches[lesion.branch]):
            # The branch alone, straightened along the rows, so that its width is a column's.
            x = (np.arange(len(branch.radii_mm)) - lesion.centre) * 0.3
            tube = Tube(centres_mm=np.column_stack([x, 0 * x, 0 * x]), radii_mm=branch.radii_mm)
            cloud = tube.fill(np.random.default_rng(0))
            thickness = thickness_mm(CARM, cloud.points_mm, cloud.volumes_mm3)
            # The area of a round lumen is that of its profile.
            diameters = np.sqrt(thickness.sum(axis=0) * 0.2 * 4 / np.pi)
            half = round(lesion.length_mm * 0.45 * 5)
            widths.append(diameters[256 - half : 256 + half])
        narrowest = (widths[1] / widths[0]).min()
        assert 1 - narrowest == pytest.approx(lesion.diameter_loss_percent / 100, abs=0.12)


@pytest.mark.parametrize("artery", ["RCA", "LCA"])
def test_trees_are_plausible(artery: str) -> None:
    for seed in range(6):
        tree = with_lesions(grow(artery, generator(seed, artery)), 2, generator(seed, "l"))
        root = next(iter(tree.branches.values()))
        assert 2.8 < 2 * root.radii_mm[:20].mean() < 6.0
        assert 110 < tree.reach_mm < 260
        assert all(branch.radii_mm.min() > 0.02 for branch in tree.branches.values())
        for lesion in tree.lesions:
            assert lesion.diameter_mm > WIDE_DIAMETER_MM
            assert 50 <= lesion.diameter_loss_percent <= 90
            # The calibre returns beyond the lesion.
            end = lesion.centre + round((lesion.length_mm / 2 + 4) / 0.3)
            beyond = 2 * tree.branches[lesion.branch].radii_mm[end]
            assert beyond > 1.5 * lesion.diameter_mm * (1 - lesion.diameter_loss_percent / 100)


def test_bolus_fills_from_the_ostium_and_clears_again() -> None:
    bolus = Bolus(introducing_start=4, optimal_start=9, vanishing_start=20, frames=32, reach_mm=150)
    arc = np.array([10.0, 75.0, 150.0])
    passage = np.stack([bolus.concentration(frame, arc) for frame in range(32)])
    assert passage[:4].max() == 0
    assert passage[4, 0] > 0.5 and passage[4, 2] == 0
    arrival = (passage > 0.3).argmax(axis=0)
    assert arrival[0] < arrival[1] < arrival[2] <= 9
    assert passage[11:20].min() > 0.6
    # The near part clears first.
    assert passage[26, 0] < passage[26, 2]
    assert passage[31].max() < 0.5
    assert bolus.injection(0) == 0 and bolus.injection(12) == 1 and bolus.injection(25) == 0


def test_bounds_are_in_order_for_every_length() -> None:
    for frames in range(8, 60):
        bolus = Bolus.random(frames, 150, np.random.default_rng(frames))
        bounds = (bolus.introducing_start, bolus.optimal_start, bolus.vanishing_start, frames)
        assert 0 < bounds[0] < bounds[1] < bounds[2] < bounds[3]


def test_heart_contracts_towards_its_apex() -> None:
    pose = Pose(rotation=np.eye(3), origin_mm=np.zeros(3), scale=1.0)
    points = np.array([[40.0, 0.0], [0.0, 0.0], [20.0, 85.0]], dtype=np.float32)
    rest, tight = pose.place(points, 0.0), pose.place(points, 1.0)
    assert rest == pytest.approx(points)
    # 13 % inwards; 12 % of the 65 mm to the apex; the apex stays.
    assert np.hypot(tight[0, 0], tight[1, 0]) == pytest.approx(40 * 0.87, rel=0.01)
    assert tight[2, 0] == pytest.approx(20 + 0.12 * 65, abs=1e-3)
    assert tight[:, 1] == pytest.approx([0, 0, 85], abs=1e-3)


def test_beat_has_its_rate() -> None:
    beat = Beat(rate_bpm=75, phase_at_start=0, strength=1, breath_mm=0, breath_phase=0)
    times = np.linspace(0, 8, 4000, endpoint=False)
    contraction = np.array([beat.contraction(t) for t in times])
    assert contraction.min() >= 0 and 0.98 < contraction.max() <= 1
    risen = (contraction[1:] > 0.5) & (contraction[:-1] <= 0.5)
    assert risen.sum() == 10


def test_curve_meets_its_waypoints_and_is_even() -> None:
    waypoints = np.array([[0, 0, 0], [10, 4, 0], [20, 0, 5], [30, 0, 0.0]])
    curve = smooth_curve(waypoints, 0.3)
    for waypoint in waypoints:
        assert np.linalg.norm(curve - waypoint, axis=1).min() < 0.2
    steps = np.diff(arc_length(curve))
    assert steps == pytest.approx(np.full(len(steps), 0.3), abs=0.01)
