"""Settings: frozen dataclasses that say in their types what each field may be, and check it.

    @dataclass(frozen=True, kw_only=True)
    class DetectorSettings(Settings):
        nms_iou: Proportion = 0.5
        steps: Count = 3500

``DetectorSettings(nms_iou=7)`` is refused, and so is ``--detector.nms_iou 7``.
"""

from __future__ import annotations

import math
import numbers
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, TypeVar

from preprocess.console.words import describe_expected, describe_value

NUMBERS: dict[Any, type] = {int: numbers.Integral, float: numbers.Real}
"""What a number may be an instance of: those of NumPy are some too, and truth values are none."""


@dataclass(frozen=True)
class Rule:
    """What a field must be.

    Attributes:
        words: after "it must".
        fits: whether a value is so.
        least: of a number, the smallest that fits, if one is.
        most: the greatest, likewise.
    """

    words: str
    fits: Callable[[Any], bool]
    least: float = -math.inf
    most: float = math.inf


def bounds(
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> Rule:
    """The rule of a finite number within bounds; without any, every finite number fits.

    Args:
        least: the smallest that fits.
        most: the greatest that fits.
        above: what it must exceed.
        below: what it must not reach.
    """

    def fits(value: float) -> bool:
        return (
            -math.inf < value < math.inf
            and (least is None or value >= least)
            and (most is None or value <= most)
            and (above is None or value > above)
            and (below is None or value < below)
        )

    ends = (-math.inf if least is None else least, math.inf if most is None else most)
    if least is not None and most is not None:
        return Rule(f"be from {least} to {most}", fits, *ends)
    words = [
        f"{least} or more" if least is not None else "",
        f"above {above}" if above is not None else "",
        f"at most {most}" if most is not None else "",
        f"below {below}" if below is not None else "",
    ]
    said = " and ".join(filter(None, words)) or "a finite number"
    return Rule(f"be {said}", fits, *ends)


SOME = Rule("name at least one", bool)
EACH_ONCE = Rule("name each once", lambda values: len(set(values)) == len(values))

Count = Annotated[int, bounds(1)]
CountOrZero = Annotated[int, bounds(0)]
Seed = Annotated[int, bounds(0, 2**32 - 1)]
Proportion = Annotated[float, bounds(0, 1)]
Positive = Annotated[float, bounds(above=0)]
NotNegative = Annotated[float, bounds(0)]


class SettingsError(ValueError):
    """Settings that cannot be.

    Attributes:
        problems: each begins with the name of a field.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return " ".join(f"{problem}." for problem in self.problems)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The base of settings: what they hold is what their types say, and fits together."""

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            SettingsError: a field is out of its range, or two do not fit together.
        """
        out = [*out_of_range(type_hints(type(self)), vars(self))]
        if problems := out or [*self.conflicts()]:
            raise SettingsError(*problems)

    def conflicts(self) -> Iterator[str]:
        """What of fields, each in its range, does not fit together; each begins with a field."""
        yield from ()


S = TypeVar("S")


def build(kind: type[S], values: Any, above: str = "") -> S:
    """Settings of parsed values, checked as a tree.

    Args:
        kind: the dataclass.
        values: an attribute for each field, nested as the dataclasses are.
        above: the dotted name that they stand under, with its dot.

    Raises:
        SettingsError: some cannot be; each is called by its dotted name.
    """
    fields, problems = {}, list[str]()
    for name, hint in type_hints(kind).items():
        fields[name] = getattr(values, name)
        is_tree = hasattr(fields[name], "__dict__")
        if isinstance(hint, type) and is_dataclass(hint) and is_tree:
            try:
                fields[name] = build(hint, fields[name], f"{above}{name}.")
            except SettingsError as refused:
                problems += refused.problems
    if problems:
        raise SettingsError(*problems)
    try:
        return kind(**fields)
    except SettingsError as refused:
        raise SettingsError(*(above + problem for problem in refused.problems)) from None


def out_of_range(hints: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """What of some named values is not as their types want it, in words."""
    for name, hint in hints.items():
        if name in values:
            yield from _misfits(hint, values[name], name)


def type_hints(of: Any) -> dict[str, Any]:
    """The types of a class's fields, or of a function's parameters, with their rules."""
    return typing.get_type_hints(of, include_extras=True)


def _misfits(hint: Any, value: Any, name: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inside, *rules = arguments
        misfits = [*_misfits(inside, value, name)]
        broken = [rule for rule in rules if not misfits and not rule.fits(value)]
        yield from misfits or [_misfit(name, value, rule.words) for rule in broken[:1]]
    elif origin in (typing.Union, types.UnionType):
        of_each = [[*_misfits(each, value, name)] for each in arguments]
        if all(of_each):
            yield from of_each[0]
    elif hint is not Any and not _is_of(hint, value):
        yield _misfit(name, value, f"be {describe_expected(hint)}")
    elif origin is tuple:
        same = arguments[-1] is Ellipsis
        for i, item in enumerate(value):
            yield from _misfits(arguments[0 if same else i], item, f"{name}[{i}]")
    elif origin is dict:
        for key, item in value.items():
            yield from _misfits(arguments[1], item, f"{name}[{key}]")


def _is_of(hint: Any, value: Any) -> bool:
    """Whether a value is of a type, whatever its members are."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is tuple and Ellipsis not in arguments:
        return isinstance(value, tuple) and len(value) == len(arguments)
    kind = NUMBERS.get(hint, origin or hint)
    return isinstance(value, kind) and (hint not in NUMBERS or not isinstance(value, bool))


def _misfit(name: str, value: Any, words: str) -> str:
    return f"{name} is {_written(value)}; it must {words}"


def _written(value: Any) -> str:
    """A value as a person writes it, in full."""
    if isinstance(value, float):
        return str(int(value) if value.is_integer() else value)
    return describe_value(value)
