"""Names that a person may give to a view, and that say something to a browser or a program."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = ('<img src=x onerror="hit=1">', "$\\frac{[bold]{$ \\u0041 \\g<0> [x](javascript:hit=1)`")
"""HTML, in one; TeX, rich's markup, escapes of Python, and Markdown, in the other."""
HOSTILE_VIEWS = tuple(name.replace("\\", "") for name in HOSTILE)
"""As classes of views: these are part of the names of folders, which hold no backslash."""


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def words_of(html: str, *, scripts: int = 0) -> str:
    """What a reader of the page sees; nothing in it may act but so many scripts of its own."""
    tags = _Tags()
    tags.feed(html)
    assert sum(tag == "script" for tag, _ in tags.found) == scripts
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
    return tags.words


ACTS = """
(() => {
  const script = document.createElement("script");
  script.textContent = "hit = 2";
  const picture = new Image();
  picture.src = "http://127.0.0.1:9/x.png";
  document.body.append(script, picture);
  return typeof hit;
})()
"""
"""Puts a script and an address into a page; ``undefined`` where the page forbids it."""
