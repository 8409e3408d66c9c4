"""Types and values in plain words, as a person at the keyboard types them."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union

WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
}


def describe_type(hint: Any) -> str:
    """A type in words; empty where the option's own place shows the choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return describe_type(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(each) for each in arguments if each is not type(None))
    if origin is Literal:
        return ""
    if origin in (tuple, list):
        inner = arguments[0]
        if origin is tuple and Ellipsis not in arguments:
            return f"{len(arguments)} {_plural(describe_type(inner))}"
        if typing.get_origin(inner) is Literal:
            return f"list of {', '.join(map(str, typing.get_args(inner)))}"
        if typing.get_origin(inner) is tuple:
            return f"list of pairs of {_plural(describe_type(typing.get_args(inner)[0]))}"
        return f"list of {_plural(describe_type(inner))}"
    if origin is dict:
        return "names with their values"
    return WORDS.get(hint, "")


def describe_expected(hint: Any) -> str:
    """What a value of a type must be, with its article and its choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [describe_expected(each) for each in arguments if each is not type(None)]
        return " or ".join(kinds + ["null"] * (type(None) in arguments))
    if origin is Literal:
        *others, last = map(str, arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if dataclasses.is_dataclass(hint):
        return "settings by their names"
    words = describe_type(hint)
    return f"a {words}" if words.startswith(("whole", "number", "path", "list")) else words


def describe_value(value: Any) -> str:
    """A value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(describe_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {describe_value(v)}' for k, v in value.items())}}}"
    if dataclasses.is_dataclass(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def counted(number: float, noun: str) -> str:
    """A number of things, such as ``1 frame`` or ``0.5 frames``."""
    return f"{number:.12g} {noun}{'' if number == 1 else 's'}"


def _plural(words: str) -> str:
    return words if words == "text" or not words else f"{words}s"
