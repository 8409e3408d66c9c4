"""The space of a search: the settings that vary, and the settings that do not."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from angioray.study.settings import StudySettings, Task, settings_from_dict
from preprocess.console.names import nearest
from tune.space.parameters import Choices, Parameter, Params, Range

if TYPE_CHECKING:
    import optuna

AS_CONFIGURED = "as configured"
"""The label of a base's own value where the space has named values, and this is none of them."""


@dataclass(frozen=True)
class Space:
    """What a search may try.

    Attributes:
        parameters: each after those that its condition names.
        base: the settings that all else stays at.
    """

    parameters: tuple[Parameter, ...]
    base: StudySettings

    def settings(self, params: Params) -> StudySettings:
        """The base with these searched settings.

        Raises:
            ValueError: the settings refuse them.
        """
        document = plain(self.base)
        for parameter in self.parameters:
            if parameter.name in params:
                set_at(document, parameter.name, parameter.domain.value(params[parameter.name]))
        return settings_from_dict(document)

    def of_base(self) -> Params:
        """The base's own values of what is searched, whether or not the space holds them."""
        document, params = plain(self.base), Params()
        for parameter in self.parameters:
            if parameter.active(params):
                params[parameter.name] = _labelled(parameter, at(document, parameter.name))
        return params

    def holds(self, params: Params) -> bool:
        """Whether these could have been suggested."""
        return all(
            parameter.domain.holds(params.get(parameter.name))
            for parameter in self.parameters
            if parameter.active(params)
        )

    def suggest(self, trial: optuna.Trial) -> Params:
        """Ask a sampler, one parameter after the other, leaving out those that do not matter."""
        params = Params()
        for parameter in self.parameters:
            if parameter.active(params):
                params[parameter.name] = parameter.domain.suggest(trial, parameter.name)
        return params

    def grid(self) -> Iterator[Params]:
        """Every combination of the parameters' grids, each once."""
        seen = set()
        for values in itertools.product(*(p.domain.grid() for p in self.parameters)):
            params = self._where_active(values)
            if (key := json.dumps(params)) not in seen:
                seen.add(key)
                yield params

    def edges(self) -> Iterator[Params]:
        """The base, and the base with one parameter at one of its ends."""
        base = self.of_base()
        yield base
        for parameter in self.parameters:
            for edge in parameter.domain.edges():
                yield {**base, **parameter.at(edge)}

    def pairs(self) -> Iterator[Params]:
        """The base with two parameters, each at one of its ends.

        They are parameters of one part, such as ``detector.optimiser``: settings of different
        parts exclude nothing.
        """
        base = self.of_base()
        for one, other in itertools.combinations(self.parameters, 2):
            if one.name.rpartition(".")[0] == other.name.rpartition(".")[0]:
                for ends in itertools.product(one.domain.edges(), other.domain.edges()):
                    yield {**base, **one.at(ends[0]), **other.at(ends[1])}

    def corners(self) -> Iterator[Params]:
        """All parameters at their first end, and all at their last."""
        for end in (0, -1):
            yield self._where_active([p.domain.edges()[end] for p in self.parameters])

    def with_choice(self, name: str, label: str, value: Any) -> Space:
        """The same with one more choice; the same as it is where nothing is chosen there."""
        return replace(self, parameters=tuple(_extended(p, name, label, value) for p in self))

    def with_own_wholes(self) -> Space:
        """The same, in which a base's own whole that no label stands for is a choice as well."""
        space, document = self, plain(self.base)
        for name, label in self.of_base().items():
            if label == AS_CONFIGURED:
                space = space.with_choice(name, label, at(document, name))
        return space

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def choices(self, name: str) -> Mapping[Any, Any]:
        """The labels and values of a parameter with choices; none where there is none."""
        for parameter in self.parameters:
            if parameter.name == name and isinstance(parameter.domain, Choices):
                return parameter.domain.values
        return {}

    def as_json(self) -> dict[str, Any]:
        """As its file has it."""
        return {parameter.name: _describe(parameter) for parameter in self.parameters}

    def _where_active(self, values: Any) -> Params:
        params = Params()
        for parameter, value in zip(self.parameters, values, strict=True):
            if parameter.active(params):
                params[parameter.name] = value
        return params


def learning_rate(task: Task) -> str:
    """The dotted name of a task's learning rate."""
    return f"{task}.optimiser.learning_rate"


def rate_changes(task: Task) -> str:
    """The dotted name of the changes of a task's learning rate on the way."""
    return f"{task}.optimiser.changes"


def plain(settings: StudySettings) -> dict[str, Any]:
    """Settings as JSON has them."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return document


def at(document: Mapping[str, Any], name: str) -> Any:
    """What stands under a dotted name."""
    value: Any = document
    for key in name.split("."):
        value = value[key]
    return value


def unknown_setting(name: str, document: Mapping[str, Any]) -> str:
    """What to say of a dotted name that is not in the settings; empty if it is."""
    known = _names(document)
    if name in known:
        return ""
    near = nearest(name, known, cutoff=0.4)
    return "there is no such setting" + (f"; the nearest is {near}" if near else "")


def _names(document: Mapping[str, Any], above: str = "") -> list[str]:
    names = []
    for key, value in document.items():
        names.append(f"{above}{key}")
        if isinstance(value, dict):
            names += _names(value, f"{above}{key}.")
    return names


def set_at(document: dict[str, Any], name: str, value: Any) -> None:
    """Put a value under a dotted name."""
    *above, last = name.split(".")
    for key in above:
        document = document[key]
    document[last] = value


def _labelled(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter.domain, Range):
        return value
    for label, known in parameter.domain.values.items():
        if known == value:
            return label
    return value if isinstance(value, str | int | float | bool | None) else AS_CONFIGURED


def _extended(parameter: Parameter, name: str, label: str, value: Any) -> Parameter:
    if parameter.name != name or not isinstance(parameter.domain, Choices):
        return parameter
    return replace(parameter, domain=Choices(values={**parameter.domain.values, label: value}))


def _describe(parameter: Parameter) -> dict[str, Any]:
    domain = parameter.domain
    if isinstance(domain, Range):
        words = {k: v for k, v in asdict(domain).items() if k != "whole" and v is not None}
        if not domain.log:
            del words["log"]
    else:
        named = any(label != value for label, value in domain.values.items())
        words = {"choices": dict(domain.values) if named else list(domain.values)}
    if parameter.when:
        words["when"] = {name: list(labels) for name, labels in parameter.when.items()}
    return words
