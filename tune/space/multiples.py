"""Multiples of a setting, as numbers that another setting, or the same one, may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from angioray.study.settings import StudySettings
from preprocess.console.settings import Rule, type_hints
from preprocess.console.words import describe_value
from tune.space.parameters import read_number
from tune.space.space import at, unknown_setting

CLASSIFIER_STRIDE = 32
"""Pixels of a cell in a classifier's last stage: at other sizes its last cells are partly empty."""


@dataclass(frozen=True)
class Multiples:
    """The multiples of a setting that a space has for another, or for the same one.

    Attributes:
        name: of the setting that is searched, dotted.
        of: the setting whose multiples they are.
        unit: its value.
        base: all settings, as JSON.
    """

    name: str
    of: str
    unit: float
    base: Mapping[str, Any]

    @classmethod
    def read(cls, name: str, of: object, base: Mapping[str, Any]) -> Multiples:
        """Those of the setting that a space names.

        Raises:
            ValueError: there is no such setting, or it has no multiples.
        """
        if unknown := unknown_setting(str(of), base):
            raise ValueError(f"its `of` names {of}: {unknown}")
        value = at(base, str(of))
        unit = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(unit, bool) or not isinstance(unit, int | float):
            found = "a group of settings" if isinstance(unit, dict) else describe_value(unit)
            raise ValueError(f"its `of` names {of}, which is {found}, expected a number")
        if unit == 0:
            raise ValueError(
                f"its `of` names {of}, which is 0, and so is every multiple of it; write the "
                "numbers themselves, without `of`"
            )
        return cls(name, str(of), unit, base)

    def in_numbers(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """What a space says of the setting, with numbers in place of their multiples.

        Of choices that come to the same number the first stays. What is no number where a range
        wants one is left as it is.

        Raises:
            ValueError: a choice is no number.
        """
        found = dict(words)
        for key in words.keys() & {"low", "high", "step"}:
            multiple = read_number(words[key])
            found[key] = words[key] if multiple is None else self(multiple)
        if self._grain > 1 and "low" in words and not words.get("log"):
            found.setdefault("step", self._grain)
        if isinstance(choices := words.get("choices"), list | dict):
            found["choices"] = self._choices(choices)
        return found

    def __call__(self, multiple: float) -> float:
        """The number of a multiple: to six digits, as whole as the setting, within its limits.

        Once the setting's own value is just that value.
        """
        if multiple == 1 and self.of == self.name:
            return self.unit
        number = float(f"{multiple * self.unit:.6g}")
        if self._grain:
            number = self._grain * max(round(number / self._grain), int(self._grain > 1))
        for rule in _rules(_type_of(self.name)):
            number = min(max(number, rule.least), rule.most)
        return number

    def _choices(self, choices: list[Any] | dict[Any, Any]) -> list[Any] | dict[Any, Any]:
        multiples = choices.values() if isinstance(choices, dict) else choices
        read = [read_number(multiple) for multiple in multiples]
        numbers = [self(multiple) for multiple in read if multiple is not None]
        if len(numbers) < len(read):
            raise ValueError(
                f"choices are {describe_value(choices)}, expected multiples of {self.of}"
            )
        is_list = isinstance(at(self.base, self.name), list)
        if isinstance(choices, list) and not is_list:
            return list(dict.fromkeys(numbers))
        labels = choices if isinstance(choices, dict) else map(str, numbers)
        first: dict[float, Any] = {}
        for number, label in zip(numbers, labels, strict=True):
            first.setdefault(number, label)
        return {label: [number] if is_list else number for number, label in first.items()}

    @property
    def _grain(self) -> int:
        """What the setting is a whole multiple of; 0 where it need not be whole."""
        if self.name == "view.sizes":
            return CLASSIFIER_STRIDE
        if self.name == "detector.size":
            return int(2 ** self.base["detector"]["levels"][1])  # the stride of the coarsest level
        return int(isinstance(at(self.base, self.name), int))


def _type_of(name: str) -> Any:
    """A setting's type, with its rules."""
    hint: Any = StudySettings
    for field in name.split("."):
        hint = type_hints(hint)[field]
    return hint


def _rules(hint: Any) -> Iterator[Rule]:
    """The rules of a type and of its members."""
    for part in get_args(hint):
        if isinstance(part, Rule):
            yield part
        else:
            yield from _rules(part)
