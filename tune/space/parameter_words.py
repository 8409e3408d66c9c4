"""The parsing of one entry of a space file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune.space.multiples import Multiples
from tune.space.parameters import Choices, Label, Parameter, Range, read_number
from tune.space.space import at, unknown_setting

RANGE_KEYS = {"low", "high", "log", "step", "points"}
BUDGET = [
    "view.epochs",
    "view.batch_size",
    "view.frames_per_sequence",
    "detector.steps",
    "detector.batch_size",
]
JUDGING = ["view.split_unit", "detector.variants", "detector.judged_frames"]


def read_parameter(
    name: str, words: Any, base: dict[str, Any], task: str, problem: Callable[[str], None]
) -> Parameter | None:
    """Read what a space says of one setting.

    Args:
        name: of the setting, dotted.
        words: what stands under it.
        base: the settings that all else stays at, as JSON.
        task: whose settings may vary.
        problem: is told, in a sentence, of everything that is wrong.

    Returns:
        The parameter; None if it cannot be.
    """
    if refused := _not_searchable(name, base, task):
        problem(f"{name}: {refused}")
        return None
    if not isinstance(words, dict):
        problem(f"{name}: found {words!r}, expected {{low: .., high: ..}} or {{choices: [..]}}")
        return None
    when = _conditions(words.get("when") or {})
    if when is None:
        problem(f"{name}: `when` is {words['when']!r}, expected {{other setting: its value}}")
    domain = _domain(name, words, base, problem)
    return Parameter(name=name, domain=domain, when=when or {}) if domain else None


def _domain(
    name: str, words: dict[str, Any], base: dict[str, Any], problem: Callable[[str], None]
) -> Range | Choices | None:
    rest = {key: value for key, value in words.items() if key not in ("when", "of")}
    what = ""
    if "of" in words:
        try:
            multiples = Multiples.read(name, words["of"], base)
            rest = multiples.in_numbers(rest)
        except ValueError as wrong:
            problem(f"{name}: {wrong}")
            return None
        what = f" (multiples of {multiples.of}, which is {multiples.unit:g})"

    def say(sentence: str) -> None:
        problem(sentence + what)

    if "choices" in rest:
        return _choices(name, rest, say)
    return _range(name, rest, at(base, name), say)


def _not_searchable(name: str, base: dict[str, Any], task: str) -> str:
    if unknown := unknown_setting(name, base):
        return unknown
    if not name.startswith(f"{task}."):
        return f"it changes nothing here: only settings under {task}. make a difference"
    if name in BUDGET:
        return "it sets what a trial may cost, which is the same for all; set it in --config"
    if name in JUDGING:
        return "it decides what trials are judged on, which is the same for all"
    return ""


def _range(
    name: str, words: dict[str, Any], now: Any, problem: Callable[[str], None]
) -> Range | None:
    if unknown := words.keys() - RANGE_KEYS:
        problem(
            f"{name}: unknown {', '.join(sorted(map(str, unknown)))}; known are choices, "
            f"of, when, {', '.join(sorted(RANGE_KEYS))}"
        )
        return None
    low, high, step = (read_number(words.get(key)) for key in ("low", "high", "step"))
    points, log = words.get("points"), words.get("log", False)
    if low is None or high is None:
        problem(
            f"{name}: low is {words.get('low')!r} and high {words.get('high')!r}, expected two "
            "numbers, or choices"
        )
        return None
    whole = isinstance(now, int) and not isinstance(now, bool)
    found = [
        (low >= high, f"low is {low:g}, expected less than high, which is {high:g}"),
        (log not in (True, False), f"log is {log!r}, expected true or false"),
        (log is True and low <= 0, f"low is {low:g}, expected more than 0 for a log scale"),
        ("step" in words and (step or 0) <= 0, f"step is {words.get('step')!r}, expected above 0"),
        (log is True and "step" in words, "step and log exclude each other"),
        (
            points is not None and (not isinstance(points, int) or points < 2),
            f"points is {points!r}, expected 2 or more",
        ),
        (
            whole and any(v is not None and v % 1 for v in (low, high, step)),
            "the setting is a whole number, expected whole low, high and step",
        ),
    ]
    if sentences := [sentence for wrong, sentence in found if wrong]:
        problem(f"{name}: {'; '.join(sentences)}")
        return None
    return Range(low=low, high=high, log=log, step=step, points=points, whole=whole)


def _choices(name: str, words: dict[str, Any], problem: Callable[[str], None]) -> Choices | None:
    choices = words["choices"]
    if len(words) > 1:
        problem(
            f"{name}: choices stand alone, without {', '.join(sorted(words.keys() - {'choices'}))}"
        )
    elif not isinstance(choices, list | dict) or len(choices) < 2:
        problem(f"{name}: choices are {choices!r}, expected two or more")
    elif isinstance(choices, dict):
        if name == "view.sizes" and any(
            not isinstance(sizes, list) or len(sizes) != 1 for sizes in choices.values()
        ):
            problem(f"{name}: a trial has one size, expected choices such as {{small: [224]}}")
            return None
        return Choices(values={str(label): value for label, value in choices.items()})
    elif any(isinstance(choice, list | dict) for choice in choices):
        problem(f"{name}: a choice of several values needs a name, {{name: values, ..}}")
    elif len({str(choice) for choice in choices}) < len(choices):
        problem(f"{name}: choices are {choices!r}, expected each once")
    else:
        return Choices(values={choice: choice for choice in map(_plain_choice, choices)})
    return None


def _plain_choice(choice: Label) -> Label:
    """A number that YAML takes for a word, such as 1e-3, is a number."""
    number = read_number(choice) if isinstance(choice, str) else None
    return choice if number is None else number


def _conditions(words: Any) -> dict[str, tuple[Label, ...]] | None:
    if not isinstance(words, dict):
        return None
    return {
        str(other): tuple(labels) if isinstance(labels, list) else (labels,)
        for other, labels in words.items()
    }
