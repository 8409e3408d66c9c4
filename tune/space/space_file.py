"""Space files: YAML that is checked as a whole before anything runs."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from angioray.study.settings import StudySettings
from preprocess.console.documents import read_yaml
from preprocess.console.names import nearest
from tune.space.parameter_words import read_parameter
from tune.space.parameters import Parameter, Params, Range
from tune.space.space import Space, plain

SPACES = Path(__file__).with_name("spaces")
"""The default space of each task."""


def read_space(path: Path, base: StudySettings, task: str) -> Space:
    """Read and check a space.

    Args:
        path: the YAML file: dotted settings, each with a range or choices.
        base: the settings that all else stays at.
        task: `view` or `detector`: whose settings may vary.

    Raises:
        ValueError: with everything that is wrong with it.
    """
    example = f"{task}.optimiser.learning_rate: {{low: 1.0e-5, high: 1.0e-2, log: true}}"
    document = read_yaml(path, example=example).document
    problems: list[str] = []
    parameters = {}
    for name, words in document.items():
        parameter = read_parameter(str(name), words, plain(base), task, problems.append)
        if parameter is not None:
            parameters[parameter.name] = parameter
    problems += _overlaps(map(str, document))
    order = _order(parameters, {str(name) for name in document}, problems.append)
    if not problems:
        space = Space(tuple(parameters[name] for name in order), base).with_own_wholes()
        problems += refusals(space, space.settings, space.edges(), space.pairs())
        if not problems:
            return space
    raise _cannot(path, problems)


def refusals(
    space: Space, attempt: Callable[[Params], object], *tried: Iterable[Params]
) -> list[str]:
    """What an attempt at some settings of a space says against them, each reason once.

    Args:
        space: what they are from.
        attempt: raises ``ValueError`` where it cannot be.
        tried: the settings; one group after the other, until one has problems.
    """
    problems: dict[str, None] = {}
    for group in tried:
        for params in group:
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
                near = nearest(other, named, cutoff=0.4)
                hint = f"; the nearest is {near}" if near else ""
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
