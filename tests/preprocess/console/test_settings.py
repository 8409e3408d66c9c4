"""Settings check themselves, in Python as on the command line, and say what is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from preprocess.console.command_line import run
from preprocess.console.settings import (
    EACH_ONCE,
    SOME,
    Count,
    Positive,
    Proportion,
    Rule,
    Seed,
    Settings,
    SettingsError,
    bounds,
    build,
)

ANY_NUMBER = Annotated[float, bounds()]


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    """A part."""

    low: Proportion = 0.2
    """Low."""
    high: Proportion = 0.5
    """High."""
    most: Count | None = None
    """Most."""
    changes: tuple[tuple[Proportion, Positive], ...] = ()
    """Changes."""

    def conflicts(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low is {self.low:g}; it must be at most high, which is {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Outer(Settings):
    """A whole."""

    steps: Count = 10
    """Steps."""
    seed: Seed = 0
    """Seed."""
    offset: ANY_NUMBER = 0.0
    """Offset."""
    names: Annotated[tuple[str, ...], SOME, EACH_ONCE] = ("a",)
    """Names."""
    classes: dict[str, str] = field(default_factory=dict)
    """Classes."""
    rule: Literal["sgd", "adam"] = "sgd"
    """Rule."""
    grow: bool = False
    """Grow."""
    inner: Inner = field(default_factory=Inner)
    """Inner."""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": 0}, "steps is 0; it must be 1 or more."),
        ({"seed": 2**32}, "seed is 4294967296; it must be from 0 to 4294967295."),
        ({"seed": -1, "steps": -2}, "steps is -2; it must be 1 or more. seed is -1; it must be"),
        ({"offset": float("nan")}, "offset is nan; it must be a finite number."),
        ({"offset": float("inf")}, "offset is inf; it must be a finite number."),
        ({"names": ()}, "names is []; it must name at least one."),
        ({"names": ("a", "a")}, "names is [a, a]; it must name each once."),
    ],
)
def test_what_is_out_of_range_is_refused_in_python(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Outer(**values)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"steps": True}, "steps is true; it must be a whole number."),
        ({"steps": 1.5}, "steps is 1.5; it must be a whole number."),
        ({"steps": None}, "steps is null; it must be a whole number."),
        ({"offset": "0.5"}, "offset is 0.5; it must be a number."),
        ({"names": "ab"}, "names is ab; it must be a list of text."),
        ({"names": ("a", 1)}, "names[1] is 1; it must be text."),
        ({"classes": {"RCA": 3}}, "classes[RCA] is 3; it must be text."),
        ({"rule": "sgdm"}, "rule is sgdm; it must be sgd or adam."),
        ({"grow": "no"}, "grow is no; it must be true or false."),
        ({"inner": None}, "inner is null; it must be settings by their names."),
        ({"inner": 3}, "inner is 3; it must be settings by their names."),
    ],
)
def test_what_is_of_another_type_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Outer(**values)
    assert str(refused.value) == said
    with pytest.raises(SettingsError) as refused:
        build(Outer, SimpleNamespace(**{**vars(Outer()), **values}))
    assert str(refused.value) == said


def test_numbers_of_numpy_are_numbers() -> None:
    assert Outer(steps=np.int64(3), offset=np.float32(0.5)).steps == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"low": 7.0}, "low is 7; it must be from 0 to 1."),
        ({"most": 0}, "most is 0; it must be 1 or more."),
        ({"changes": ((0.5,),)}, "changes[0] is [0.5]; it must be 2 numbers."),
        ({"changes": ((0.5, 1.0), (0.6, 0.0))}, "changes[1][1] is 0; it must be above 0."),
        ({"low": 0.6}, "low is 0.6; it must be at most high, which is 0.5."),
    ],
)
def test_parts_are_called_by_their_dotted_name_in_a_tree(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Inner(**values)
    assert str(refused.value) == said
    inner = SimpleNamespace(**{**vars(Inner()), **values})
    tree = SimpleNamespace(**{**vars(Outer()), "inner": inner})
    with pytest.raises(SettingsError) as refused:
        build(Outer, tree)
    assert str(refused.value) == f"inner.{said}"


def test_the_command_line_tells_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    called = []

    def command(settings: Outer, extra: Inner, samples: Count = 3) -> None:
        called.append((settings, extra, samples))

    def code(*words: str) -> object:
        try:
            run(command, prog="tool", argv=words)
        except SystemExit as ended:
            return ended.code
        return 0

    assert code("--inner.high", "1", "--extra.most", "4", "--samples", "1") == 0
    assert called == [(Outer(inner=Inner(high=1.0)), Inner(most=4), 1)]
    assert code("--inner.high", "7", "--extra.most", "0", "--samples", "0") == 2
    assert capsys.readouterr().err == (
        "tool: samples is 0; it must be 1 or more. inner.high is 7; it must be from 0 to 1. "
        "extra.most is 0; it must be 1 or more.\n"
    )
    assert len(called) == 1


def test_a_refusal_travels_between_processes() -> None:
    refused = SettingsError("a is 1; it must be 2", "b is 2; it must be 3")
    assert str(pickle.loads(pickle.dumps(refused))) == str(refused)


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        (bounds(0, 1), [0, 0.5, 1], [-1e-9, 1.0001]),
        (bounds(above=0, most=1), [1e-9, 1], [0, 1.1]),
        (bounds(0, below=1), [0, 0.999], [1, -0.1]),
        (bounds(above=1), [1.01, 1e9], [1, float("inf"), float("nan")]),
        (bounds(), [-1e300, 0], [float("-inf")]),
    ],
)
def test_bounds_by_hand(rule: Rule, inside: list[float], outside: list[float]) -> None:
    assert all(rule.fits(value) for value in inside)
    assert not any(rule.fits(value) for value in outside)
