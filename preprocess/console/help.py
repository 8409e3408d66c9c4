"""The text of ``--help``: types in plain words, and defaults as one types them."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

from jsonargparse import DefaultHelpFormatter

WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
}


_UNSAID = (None, False, "", (), argparse.SUPPRESS)
"""Defaults that are not shown."""


class HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Types and defaults beside the options, examples as they were typed."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(".")
        if action.dest in ("help", "config"):
            return text
        hint = getattr(action, "_typehint", action.type)
        words = [] if hint is None or action.choices else [describe_type(hint)]
        if action.required:
            words.append("required")
        elif action.nargs != 0 and not any(action.default is each for each in _UNSAID):
            words.append(f"default {describe_value(action.default)}")
        said = "; ".join(word for word in words if word)
        return (f"{text} ({said})" if said else text).replace("%", "%%")


def describe_type(hint: Any) -> str:
    """A type in words; empty where the option's own place shows the choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
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


def describe_value(value: Any) -> str:
    """A default as it is typed on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(describe_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {describe_value(v)}' for k, v in value.items())}}}"
    if dataclasses.is_dataclass(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plural(words: str) -> str:
    return words if words == "text" or not words else f"{words}s"
