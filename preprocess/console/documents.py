"""Files of settings and folds: YAML and JSON, whose errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
"""What YAML takes a key for that is the name of a setting."""


@dataclass(frozen=True)
class YamlFile:
    """A YAML file that holds values by their names.

    Attributes:
        path: of the file.
        document: the values.
        lines: the line of each name, from 1; names below others are dotted.
    """

    path: Path
    document: dict[Any, Any]
    lines: dict[str, int]

    def place(self, name: str) -> str:
        """The file, and the line of a name or of the nearest name above it."""
        while name and name not in self.lines:
            name = name.rpartition(".")[0]
        return f"{self.path}, line {self.lines[name]}" if name else str(self.path)


def read_yaml(path: Path, *, example: str) -> YamlFile:
    """A YAML file of values by their names.

    Args:
        path: of the file.
        example: one line that such a file may have, for errors.

    Raises:
        ValueError: there is no such file, it is no YAML, it holds something else than values by
            their names, or it has a name twice; with the file and the line.
    """
    text = read_text(path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines = dict(_lines(path, node))
        document = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as problem:
        raise ValueError(_no_yaml(path, text, problem)) from problem
    except RecursionError as problem:
        raise ValueError(f"{path} is nested too deeply.") from problem
    if not isinstance(document, dict) or not document:
        holds = {list: "a list", dict: "nothing", type(None): "nothing"}.get(type(document), "text")
        raise ValueError(
            f"{path} holds {holds}, expected values by their names, such as `{example}`."
        )
    return YamlFile(path, document, lines)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: there is no such file, it is no JSON, or it has a name twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{path} has {twice!r} twice in one place. Keep one of them.")
        return values

    try:
        return json.loads(read_text(path), object_pairs_hook=once)
    except json.JSONDecodeError as problem:
        raise ValueError(f"{path}, line {problem.lineno}, is no JSON: {problem.msg}.") from problem
    except RecursionError as problem:
        raise ValueError(f"{path} is nested too deeply.") from problem


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        ValueError: there is no such file, it cannot be read, or it is no such text.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a file.")
    try:
        content = path.read_bytes()
    except FileNotFoundError as problem:
        raise ValueError(f"There is no file {path}.") from problem
    except OSError as problem:
        raise ValueError(f"{path} cannot be read: {problem.strerror}.") from problem
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise ValueError(
            f"{path}, line {line}, is no text in UTF-8. Save the file with the encoding UTF-8."
        ) from problem


def _lines(path: Path, node: yaml.Node | None, above: str = "") -> Iterator[tuple[str, int]]:
    """The line of each name in a mapping, and in the mappings below it.

    Lists are walked for what they hold alone: one that holds itself has no end.
    """
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _lines(path, item, f"{above}[].")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag not in _NAMES:
            shown = key.value if isinstance(key, yaml.ScalarNode) else "a list"
            raise ValueError(
                f"{path}, line {line}: expected a name before the colon, found {shown}. If it is "
                "one, write it in quotes."
            )
        name = f"{above}{key.value}"
        if key.value in seen:
            raise ValueError(
                f"{path}, line {line}: {name} has a value already, in line {seen[key.value]}. Keep "
                "one of them."
            )
        seen[key.value] = line
        yield name, line
        yield from _lines(path, value, f"{name}.")


def _no_yaml(path: Path, text: str, problem: yaml.YAMLError) -> str:
    mark = getattr(problem, "problem_mark", None)
    if mark is None:  # a character that no text has
        line = text.count("\n", 0, getattr(problem, "position", 0)) + 1
        return f"{path}, line {line}, is no YAML: it has a control character."
    line = mark.line + 1
    if mark.line < len(rows := text.splitlines()) and "\t" in rows[mark.line][: mark.column + 1]:
        return f"{path}, line {line}, is no YAML: it has a tab. Indent with spaces."
    said = [getattr(problem, name, None) for name in ("context", "problem")]
    return f"{path}, line {line}, is no YAML: {', '.join(each for each in said if each)}."
