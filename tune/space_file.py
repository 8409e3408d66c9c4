"""A space as YAML. Everything that is wrong with the file is said at once, before anything runs."""

from __future__ import annotations

import difflib
import graphlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from angioray.study import StudySettings
from tune.parameters import Choices, Label, Parameter, Params, Range
from tune.space import Space, at, plain

SPACES = Path(__file__).with_name("spaces")
"""The default space of each task."""
RANGE_KEYS = {"low", "high", "log", "step", "points"}
BUDGET = [
    "view.epochs",
    "view.batch_size",
    "view.frames_per_sequence",
    "detector.steps",
    "detector.batch_size",
]
JUDGING = ["view.split_unit", "detector.variants", "detector.judged_frames"]


def read_space(path: Path, base: StudySettings, task: str) -> Space:
    """Read and check a space.

    Args:
        path: the YAML file: dotted settings, each with a range or choices.
        base: the settings that all else stays at.
        task: `view` or `detector`: whose settings may vary.

    Raises:
        ValueError: with everything that is wrong with it.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as problem:
        raise ValueError(f"{path} is no YAML: {' '.join(str(problem).split())}.") from problem
    if not isinstance(document, dict) or not document:
        raise ValueError(
            f"{path} names no setting to search. Write one in each line, such as "
            f"`{task}.optimiser.learning_rate: {{low: 1.0e-5, high: 1.0e-2, log: true}}`."
        )
    problems: list[str] = []
    parameters = {}
    for name, words in document.items():
        parameter = _parameter(str(name), words, plain(base), task, problems.append)
        if parameter is not None:
            parameters[parameter.name] = parameter
    problems += _overlaps(map(str, document))
    order = _order(parameters, {str(name) for name in document}, problems.append)
    if not problems:
        space = Space(tuple(parameters[name] for name in order), base)
        problems += refusals(space, space.settings)
        if not problems:
            return space
    raise _cannot(path, problems)


def refusals(space: Space, attempt: Callable[[Params], object]) -> list[str]:
    """What an attempt at a space's edges and corners says against them, each reason once."""
    problems: dict[str, None] = {}
    for corners in (space.edges(), space.corners()):
        for params in corners:
            try:
                attempt(params)
            except ValueError as problem:
                problems[f"the settings refuse {_said(space, params)}: {problem}"] = None
        if problems:
            break  # what is refused by itself is refused in company
    return list(problems)


def _cannot(path: Path, problems: Iterable[str]) -> ValueError:
    return ValueError(f"{path} cannot be searched:\n  - " + "\n  - ".join(problems))


def _said(space: Space, params: Params) -> str:
    """What of a combination is not the base's."""
    base = space.of_base()
    changed = {name: value for name, value in params.items() if base.get(name) != value}
    return ", ".join(f"{name} {value}" for name, value in changed.items()) or "the base itself"


def _parameter(
    name: str, words: Any, base: dict[str, Any], task: str, problem: Callable[[str], None]
) -> Parameter | None:
    if refused := _not_searchable(name, base, task):
        problem(f"{name}: {refused}")
        return None
    if not isinstance(words, dict):
        problem(f"{name}: found {words!r}, expected {{low: .., high: ..}} or {{choices: [..]}}")
        return None
    rest = {key: value for key, value in words.items() if key != "when"}
    domain: Range | Choices | None
    if "choices" in rest:
        domain = _choices(name, rest, problem)
    else:
        domain = _range(name, rest, at(base, name), problem)
    when = _conditions(words.get("when") or {})
    if when is None:
        problem(f"{name}: `when` is {words['when']!r}, expected {{other setting: its value}}")
    return Parameter(name=name, domain=domain, when=when or {}) if domain else None


def _not_searchable(name: str, base: dict[str, Any], task: str) -> str:
    known = _names(base)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        return "there is no such setting" + (f"; the nearest is {near[0]}" if near else "")
    if not name.startswith(f"{task}."):
        return f"it changes nothing here: only settings under {task}. make a difference"
    if name in BUDGET:
        return "it sets what a trial may cost, which is the same for all; set it in --config"
    if name in JUDGING:
        return "it decides what trials are judged on, which is the same for all"
    return ""


def _names(document: Mapping[str, Any], above: str = "") -> list[str]:
    names = []
    for key, value in document.items():
        names.append(f"{above}{key}")
        if isinstance(value, dict):
            names += _names(value, f"{above}{key}.")
    return names


def _range(
    name: str, words: dict[str, Any], now: Any, problem: Callable[[str], None]
) -> Range | None:
    if unknown := words.keys() - RANGE_KEYS:
        problem(
            f"{name}: unknown {', '.join(sorted(map(str, unknown)))}; known are choices, "
            f"when, {', '.join(sorted(RANGE_KEYS))}"
        )
        return None
    low, high, step = (_number(words.get(key)) for key in ("low", "high", "step"))
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
    return number if isinstance(choice, str) and (number := _number(choice)) is not None else choice


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _conditions(words: Any) -> dict[str, tuple[Label, ...]] | None:
    if not isinstance(words, dict):
        return None
    return {
        str(other): tuple(labels) if isinstance(labels, list) else (labels,)
        for other, labels in words.items()
    }


def _overlaps(names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    return [
        f"{below}: it is part of {above}, which is searched as a whole; leave one of them out"
        for above in ordered
        for below in ordered
        if below.startswith(f"{above}.")
    ]


def _order(
    parameters: Mapping[str, Parameter], named: set[str], problem: Callable[[str], None]
) -> list[str]:
    """The parameters' names, each after those that its condition names."""
    for parameter in parameters.values():
        for other, labels in parameter.when.items():
            if other not in named:
                near = difflib.get_close_matches(other, named, 1, 0.4)
                hint = f"; the nearest is {near[0]}" if near else ""
                problem(
                    f"{parameter.name}: its condition names {other}, which is not searched{hint}"
                )
            elif other in parameters:
                domain = parameters[other].domain
                if isinstance(domain, Range):
                    problem(
                        f"{parameter.name}: its condition names {other}, which has a range; "
                        "expected one with choices"
                    )
                elif missing := [str(label) for label in labels if not domain.holds(label)]:
                    problem(
                        f"{parameter.name}: its condition wants {other} to be "
                        f"{' or '.join(missing)}, which is none of its choices"
                    )
    graph = {name: [o for o in p.when if o in parameters] for name, p in parameters.items()}
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as cycle:
        problem(f"conditions go in a circle: {' -> '.join(cycle.args[1])}")
        return []
