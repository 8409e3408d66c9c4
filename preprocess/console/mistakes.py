"""What is wrong with a command line or its settings, as a sentence in the user's words.

jsonargparse says it in Python's words (``Expected a <class 'tuple'>``); here its messages meet the
options that they are about.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import types
import typing
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union

from preprocess.console.documents import YamlFile
from preprocess.console.names import nearest
from preprocess.console.words import describe_expected, describe_value

EXAMPLES: dict[Any, str] = {int: "1", float: "0.5", str: "text", bool: "true", Path: "path"}
"""Of types whose option has no default to show."""
SHOWN_CHARACTERS = 60

Actions = Sequence[argparse.Action]


def describe_mistake(
    message: str,
    actions: Actions,
    files: Sequence[YamlFile] = (),
    reading: YamlFile | None = None,
) -> str:
    """A message of jsonargparse as a sentence that names the option, or the file and the line.

    Args:
        message: what jsonargparse said.
        actions: the options of the command.
        files: the files of settings that were read.
        reading: the one that was being read when it was said, if any.
    """
    if found := re.match(
        r'Parser key "([\w.]+)".*?\n?.*(?:Got|Given) value: (.*)\Z', message, re.S
    ):
        return _wrong_value(found[1], found[2], actions, reading)
    if found := re.match(r"Parser key \"([\w.]+)\":\s+Unable to load config '(.*?)'\n", message):
        return _no_group(found[1], found[2], actions, reading)
    if found := re.match(r"argument ([\w./-]+): expected one argument", message):
        action = _action(actions, found[1].rpartition("/")[2].lstrip("-"))
        wanted = f": {_wanted(action, found[1])}" if _hint(action) else ""
        return f"{found[1]} needs a value{wanted}."
    if found := re.match(r"argument ([\w./-]+): ignored explicit argument '(.*)'", message):
        return f"{found[1]} takes no value; leave {found[2]!r} out."
    if found := re.match(r"the following arguments are required: (.*)", message):
        names = (_option(actions, name) for name in found[1].split(", "))
        return f"the following arguments are required: {', '.join(names)}"
    if found := re.match(r"unrecognized arguments: (.*)", message, re.S):
        return _not_known(found[1].split(), actions)
    if found := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message):
        return _no_setting(f"{found[1]}.{found[2]}", actions, files)
    if found := re.search(r"(?:[Kk]ey|[Oo]ption) '([\w.]+)' is not (?:expected|accepted)", message):
        return _no_setting(found[1], actions, files)
    if "class_path" in message:  # jsonargparse's name for a class to build
        return _no_setting("class_path", actions, files)
    if message.startswith("Unexpected config: ") and reading:
        name = next(iter(reading.lines))
        return f"{reading.place(name)}: {name} has no value."
    return message


def _wrong_value(key: str, value: str, actions: Actions, reading: YamlFile | None) -> str:
    action = _action(actions, key)
    choices = [str(each) for each in _choices(_hint(action))]
    near = None if value in choices else nearest(value, choices)
    hint = f" Did you mean {near}?" if near else ""
    if reading:
        leaf = f"{key.rpartition('.')[2]}:"
        return f"{reading.place(key)}: {key} got {_shown(value)}; {_wanted(action, leaf)}.{hint}"
    option = _option(actions, key)
    return f"{option} got {_shown(value)}; {_wanted(action, option)}.{hint}"


def _no_group(key: str, value: str, actions: Actions, reading: YamlFile | None) -> str:
    below = next(a for a in actions if a.dest.startswith(f"{key}.") and a.default is not None)
    where, name = (
        (f"{reading.place(key)}: {key}", f"{below.dest.rpartition('.')[2]}:")
        if reading
        else (f"--{key}", f"--{below.dest}")
    )
    example = f"`{name} {_example(below, quoted=not reading)}`"
    return f"{where} got {_shown(value)}; expected its settings by their names, such as {example}."


def _no_setting(name: str, actions: Actions, files: Sequence[YamlFile]) -> str:
    near = nearest(name, (action.dest for action in actions))
    holders = [file for file in files if name in file.lines]
    where = f"{holders[-1].place(name)}: " if holders else ""
    return f"{where}there is no setting {name}" + (
        f" (the nearest that exists is `{near}`)." if near else "."
    )


def _not_known(words: Sequence[str], actions: Actions) -> str:
    options = [word for word in words if word.startswith("-")]
    if not options:
        return f"{shlex.join(words)}: this command takes no more words here."
    name = options[0].partition("=")[0]
    near = nearest(name.lstrip("-").replace("-", "_"), (action.dest for action in actions))
    return f"there is no option {name}" + (
        f" (the nearest that exists is `{near}`)." if near else "."
    )


def _action(actions: Actions, key: str) -> argparse.Action | None:
    key = key.replace("-", "_")
    return next((action for action in actions if action.dest == key), None)


def _option(actions: Actions, key: str) -> str:
    """An option as it is typed; a positional argument by its name."""
    action = _action(actions, key)
    return action.option_strings[-1] if action and action.option_strings else key


def _hint(action: argparse.Action | None) -> Any:
    return getattr(action, "_typehint", getattr(action, "type", None))


def _wanted(action: argparse.Action | None, name: str) -> str:
    """What a value must be, with an example behind the option, or behind the name in a file."""
    example = _example(action, quoted=not name.endswith(":"))
    such = f", such as `{name} {example}`" if action and action.option_strings and example else ""
    return f"expected {describe_expected(_hint(action))}{such}"


def _example(action: argparse.Action | None, *, quoted: bool) -> str:
    """A value as it is typed: the default where it shows anything."""
    default = getattr(action, "default", None)
    hint = _hint(action)
    if isinstance(default, (int, float, str, tuple, list, dict)) and default not in ("", (), {}):
        text = describe_value(default)
    else:
        text = _example_of(hint)
    return shlex.quote(text) if quoted and text.startswith(("[", "{")) else text


def _example_of(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType, Literal):
        first = next(each for each in arguments if each is not type(None))
        return str(first) if origin is Literal else _example_of(first)
    if origin in (tuple, list):
        inner = [each for each in arguments if each is not Ellipsis]
        return f"[{', '.join(map(_example_of, inner))}]"
    if origin is dict:
        return f"{{{', '.join(f'{_example_of(k)}: {_example_of(v)}' for k, v in [arguments])}}}"
    return EXAMPLES.get(hint, "")


def _choices(hint: Any) -> Sequence[Any]:
    """The words that a value, or a member of a list of them, may be."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return arguments
    return [choice for each in arguments for choice in _choices(each)]


def _shown(value: str) -> str:
    """A value that was given, as it is typed, and not too long."""
    text = value.strip()
    if text.startswith(("[", "{", "(")):
        with suppress(ValueError, SyntaxError):
            text = describe_value(ast.literal_eval(text))
    if text in ("", "None"):
        return "no value"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
