"""Text in Markdown files as it is: what Markdown or HTML would take for markup is escaped."""

from __future__ import annotations

import re

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})


def escape(text: str) -> str:
    """``text`` on one line, to be read as it is by any reader of Markdown."""
    return re.sub(r"([\\`*_\[\]|$~#])", r"\\\1", text).translate(_ENTITIES)


def fenced(text: str, language: str = "") -> str:
    """``text`` as a block of code, within a fence that it cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
