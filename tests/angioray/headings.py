"""The headings of a page's tables, and the words that are defined below each."""

from __future__ import annotations

import re
from html import unescape


def undefined(html: str) -> dict[str, list[str]]:
    """By table: its headings that nothing below it defines, whole or in parts."""
    missing = {}
    for name, head, below in re.findall(
        r'<table id="([^"]+)">.*?<thead>(.*?)</thead>.*?</table>(.*?)(?=<table|</section>)',
        html,
        re.DOTALL,
    ):
        headings = [unescape(text) for text in re.findall(r"<th[^>]*>(.*?)</th>", head)]
        words = [unescape(text) for text in re.findall(r"<dt>(.*?)</dt> <dd>.+?</dd>", below)]
        known = {part for word in words for part in (word, *word.split(", "))}
        if lost := [h for h in headings if h not in known and not set(h.split(", ")) <= known]:
            missing[name] = lost
    return missing
