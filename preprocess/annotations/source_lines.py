"""XML and JSON, parsed with the line on which each part begins."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import WHITESPACE  # type: ignore[attr-defined] # of the standard library's parser
from typing import Any, NoReturn
from xml.parsers import expat


class JsonObject(dict[str, Any]):
    """A JSON object that knows its line, counted from 1."""

    line: int = 0


@dataclass
class XmlElement:
    """An XML element that knows its line, counted from 1."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[XmlElement] = field(default_factory=list)

    def find(self, tag: str) -> XmlElement | None:
        """The child of that tag.

        Raises:
            ValueError: there are several, and nobody can say which is meant.
        """
        found = list(self.all(tag))
        if len(found) > 1:
            raise ValueError(f"line {found[1].line}: a second <{tag}> where one is expected")
        return found[0] if found else None

    def all(self, tag: str) -> Iterator[XmlElement]:
        """The children of that tag, in order."""
        return (child for child in self.children if child.tag == tag)

    def text_of(self, *path: str) -> str:
        """The text of the descendant along ``path``, or an empty string."""
        element: XmlElement | None = self
        for tag in path:
            element = element.find(tag) if element else None
        return element.text.strip() if element else ""


def parse_xml(content: bytes) -> XmlElement:
    """The root of a document.

    Raises:
        ValueError: it is not well-formed, or declares entities, which no annotation needs.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    stack = [XmlElement("", {}, 0)]
    texts: list[list[str]] = [[]]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = XmlElement(tag, attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)
        texts.append([])

    def end(_: str) -> None:
        stack.pop().text = "".join(texts.pop())  # adding to it piece by piece copies it each time

    def text(data: str) -> None:
        texts[-1].append(data)

    def refuse(*_: object) -> NoReturn:
        raise ValueError("it declares XML entities or attributes, which no annotation needs")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    # Both may make a small file large: an entity where it is named, an attribute in each element.
    parser.EntityDeclHandler = parser.AttlistDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError) as problem:  # LookupError: of an unknown encoding
        raise ValueError(f"not well-formed ({problem})") from problem
    return stack[0].children[0]


def parse_json(content: bytes, *, depth: int) -> Any:
    """A document whose objects down to ``depth`` containers are :class:`JsonObject`.

    Deeper ones are plain dicts: the standard library's fast parser reads them whole.

    Raises:
        ValueError: it is not well-formed.
    """
    try:
        text = content.decode()
        # From here on every brace and comma is where it must be.
        json.loads(text, object_pairs_hook=_of_single_keys)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"not well-formed ({problem})") from problem
    return _JsonWalk(text).value(_skip(text, 0), depth)[0]


def _of_single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has one key twice")  # which one is not said: it may be a name
    return found


class _JsonWalk:
    def __init__(self, text: str):
        self._text = text
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._decoder = json.JSONDecoder()

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value that begins at ``at``, and where it ends."""
        opening = self._text[at]
        if opening not in "{[" or depth == 0:
            return self._decoder.raw_decode(self._text, at)
        if opening == "{":
            return self._object(at, depth) if depth > 1 else self._leaf(at)
        found = []
        here = _skip(self._text, at + 1)
        while self._text[here] != "]":
            value, here = self.value(here, depth - 1)
            found.append(value)
            here = self._next(here)
        return found, here + 1

    def _object(self, at: int, depth: int) -> tuple[JsonObject, int]:
        found = self._located(at, {})
        here = _skip(self._text, at + 1)
        while self._text[here] != "}":
            key, here = self._decoder.raw_decode(self._text, here)
            colon = _skip(self._text, here)
            found[key], here = self.value(_skip(self._text, colon + 1), depth - 1)
            here = self._next(here)
        return found, here + 1

    def _leaf(self, at: int) -> tuple[JsonObject, int]:
        found, end = self._decoder.raw_decode(self._text, at)
        return self._located(at, found), end

    def _located(self, at: int, found: dict[str, Any]) -> JsonObject:
        located = JsonObject(found)
        located.line = bisect_right(self._line_starts, at)
        return located

    def _next(self, at: int) -> int:
        here = _skip(self._text, at)
        return _skip(self._text, here + 1) if self._text[here] == "," else here


def _skip(text: str, at: int) -> int:
    return int(WHITESPACE.match(text, at).end())
