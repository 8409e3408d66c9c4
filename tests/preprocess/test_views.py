"""Names of views that no study knows by itself."""

from __future__ import annotations

import pytest
import yaml

from preprocess.phantom.plan import make
from preprocess.phantom.settings import PhantomSettings
from preprocess.phantom.study import examine
from preprocess.views import (
    VIEW_CLASSES,
    angles_in_words,
    example_mapping,
    nearest_view,
    proposed_view,
)
from tests.preprocess.drawn_cohort import placed, sequence


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("lca", "LCA"),
        ("R C A", "RCA"),
        ("rca.", "RCA"),
        ("LCX-LAD", "LCx/LAD"),
        ("LCAA", "LCA"),
        ("left main", "LCA"),
        ("Right", "RCA"),
        ("RCX", "LCA"),  # German: Ramus circumflexus
        ("LAD", "LCA"),
        ("circumflex", "LCA"),
        ("right to left", None),
        ("aorta", None),
    ],
)
def test_the_usual_name_that_was_meant(name: str, nearest: str | None) -> None:
    assert nearest_view(name) == nearest


def test_the_example_is_yaml_that_keeps_what_had_a_class() -> None:
    names = ["R C A", "no", "1", 'left "main"', "a: b"]
    classes = {**VIEW_CLASSES, "Right": "right"}
    meant = {"R C A": "RCA", 'left "main"': "LCA"}
    mapping = yaml.safe_load(example_mapping(names, classes))
    assert mapping == {**classes, **dict.fromkeys(names, "RCA or LCA"), **meant}


def test_angles_in_words() -> None:
    assert angles_in_words(placed("RCA", -30.4, -20.6, "S")) == "RAO 30 CAU 21"
    assert angles_in_words(sequence("S", "P", "RCA")) == ""


@pytest.mark.parametrize(
    ("primary", "secondary", "expected"),
    [
        (45, -26, "LCA"),  # spider
        (-30, -20, "LCA"),
        (0, 38, "LCA"),
        (35, 0, "RCA"),
        (25, 8, "RCA"),
        (50, 0, None),
        (-30, 0, None),
        (20, 20, None),
        (-32, 2, None),  # a right and a left one of the real examples
        (40.1, 27, None),
    ],
)
def test_a_view_is_proposed_where_the_angles_make_it_plain(
    primary: float, secondary: float, expected: str | None
) -> None:
    assert proposed_view(placed("", primary, secondary, "S")) == expected
    assert proposed_view(sequence("S", "P", "RCA")) is None


def test_proposed_views_of_a_phantom_are_mostly_right() -> None:
    named = []
    plans = make(PhantomSettings())
    for plan in plans:
        carm = examine(plan, 0).positions[plan.angle]
        view = proposed_view(placed("", carm.primary_deg, carm.secondary_deg, "S"))
        named += [view == plan.artery] if view else []
    assert len(named) > 0.35 * len(plans)
    assert sum(named) > 0.95 * len(named)
