"""The settings that a sweep searched: their names, ranges and values as people read them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from angioray.report.tables import NOTHING
from tune.page.sweep import Sweep
from tune.trials import Trial

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class ShownParameter:
    """One searched setting, and every value that it had or may have."""

    setting: str
    """Dotted, such as ``detector.focal_alpha``."""
    label: str
    """Its name without the parts that all settings share."""
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[str, ...] = ()
    """Where it is chosen from a list: each choice as it is shown."""
    condition: str = ""
    """When it counts at all."""

    def shown(self, trial: Trial | None) -> str:
        """Its value in a trial, to be read."""
        if trial is None or self.setting not in trial.params:
            return NOTHING
        if len(trial.rates) > 1:  # a population has no other setting
            return trial.rates_in_words(shown)
        return shown(trial.params[self.setting])

    def position(self, params: Mapping[str, Any]) -> float | None:
        """Where a trial's value lies from 0 (low) to 1 (high); None where it has none."""
        if self.setting not in params:
            return None
        value = params[self.setting]
        if self.choices:
            return self.height(shown(value))
        if self.low == self.high:
            return 0.5
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def height(self, choice: str) -> float:
        """Where a choice lies, likewise."""
        if len(self.choices) == 1:
            return 0.5
        return self.choices.index(choice) / (len(self.choices) - 1)

    @property
    def range(self) -> str:
        """What it may be, in words."""
        if self.choices:
            return ", ".join(self.choices)
        return f"{shown(self.low)} to {shown(self.high)}" + (", logarithmic" if self.log else "")


def parameters(sweep: Sweep) -> list[ShownParameter]:
    """Every setting of the space or of a trial, in the order of the space."""
    space: Mapping[str, Any] = sweep.document["space"] or {}
    named = [s for s, rule in space.items() if isinstance(rule, dict) and _is_rule(rule)]
    settings = list(dict.fromkeys([*named, *(s for t in sweep.trials for s in t.params)]))
    labels = _labels(settings)
    return [
        _parameter(
            setting,
            labels[setting],
            space[setting] if setting in named else {},
            [t.params[setting] for t in sweep.trials if setting in t.params],
        )
        for setting in settings
    ]


def shown(value: Any) -> str:
    """A value of a setting as people write it."""
    match value:
        case None:
            return "none"
        case str() | int():
            return str(value)
        case float():
            return _number(value)
        case list() | tuple():
            return ", ".join(map(shown, value))
        case _:
            return json.dumps(value)


def _number(value: float) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{float(f'{value:.3g}'):.7f}".rstrip("0").rstrip(".")
    digits, _, exponent = f"{value:.2e}".partition("e")
    power = str(int(exponent)).translate(_SUPERSCRIPT)
    return f"{digits.rstrip('0').rstrip('.')} × 10{power}"


def _is_rule(rule: Mapping[str, Any]) -> bool:
    return "choices" in rule or ("low" in rule and "high" in rule)


def _parameter(
    setting: str, label: str, rule: Mapping[str, Any], values: Sequence[Any]
) -> ShownParameter:
    condition = " and ".join(
        f"{name.rpartition('.')[2].replace('_', ' ')} is {shown(value)}"
        for name, value in (rule.get("when") or {}).items()
    )
    is_range = "low" in rule or ("choices" not in rule and all(map(_is_number, values)))
    if is_range and all(map(_is_number, values)):
        # Trial 0 may lie outside of the space that the others are drawn from.
        ends = [float(v) for v in (*values, *(rule[e] for e in ("low", "high") if e in rule))]
        log = bool(rule.get("log")) and min(ends) > 0
        return ShownParameter(
            setting=setting,
            label=label,
            low=min(ends),
            high=max(ends),
            log=log,
            condition=condition,
        )
    listed = dict.fromkeys(map(shown, (*rule.get("choices", ()), *values)))
    return ShownParameter(setting=setting, label=label, choices=tuple(listed), condition=condition)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _labels(settings: Iterable[str]) -> dict[str, str]:
    """The last word of each dotted setting, and the one before it where that alone says little."""
    parts = {setting: setting.split(".") for setting in settings}
    last = [words[-1] for words in parts.values()]
    return {
        setting: " ".join(
            words[-2:] if words[-1] == "name" or last.count(words[-1]) > 1 else words[-1:]
        ).replace("_", " ")
        for setting, words in parts.items()
    }
