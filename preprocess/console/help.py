"""The text of ``--help``: types in plain words, and defaults as one types them."""

from __future__ import annotations

import argparse

from jsonargparse import DefaultHelpFormatter

from preprocess.console.words import describe_type, describe_value

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
