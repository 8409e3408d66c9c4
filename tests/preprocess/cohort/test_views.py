"""Names of views that no study knows by itself."""

from __future__ import annotations

import pytest
import yaml

from preprocess.cohort import VIEW_CLASSES, example_mapping
from preprocess.cohort.views import nearest_view


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("lca", "LCA"),
        ("R C A", "RCA"),
        ("rca.", "RCA"),
        ("LCX-LAD", "LCx/LAD"),
        ("LCAA", "LCA"),
        ("left main", None),
        ("aorta", None),
    ],
)
def test_the_usual_name_that_was_meant(name: str, nearest: str | None) -> None:
    assert nearest_view(name) == nearest


def test_the_example_is_yaml_that_keeps_what_had_a_class() -> None:
    names = ["R C A", "no", "1", 'left "main"', "a: b"]
    classes = {**VIEW_CLASSES, "Right": "right"}
    mapping = yaml.safe_load(example_mapping(names, classes))
    assert mapping == {**classes, **dict.fromkeys(names, "LCA"), "R C A": "RCA"}
