"""The text of a sheet, whatever encoding a program saved it in."""

from __future__ import annotations

import codecs
import re

ENCODINGS = {
    "cp1252": "Windows-1252",
    "mac_roman": "Mac Roman",
    "cp850": "code page 850 of DOS",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "shift_jis": "Shift JIS",
    "gb18030": "GB 18030",
    "euc_kr": "EUC-KR",
}
"""Of one byte a letter, or two, and their names. Nothing in a text says which of them it is in."""
BOMS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def decode(content: bytes, fallback: str) -> tuple[str, str]:
    """The text, and its encoding in words where it is not UTF-8.

    Args:
        content: of the whole file.
        fallback: one of ``ENCODINGS``, for lines that are neither UTF-8 nor UTF-16.
    """
    for bom, codec in BOMS.items():
        if content.startswith(bom):
            return content[len(bom) :].decode(codec, "replace"), "UTF-16"
    content = content.removeprefix(codecs.BOM_UTF8)
    beginning = content[:4096]
    if beginning.count(0) > len(beginning) // 4:
        codec = "utf-16-le" if beginning[1::2].count(0) > beginning[::2].count(0) else "utf-16-be"
        return content.decode(codec, "replace"), "UTF-16"
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError:
        # Line by line: rows of one program are often pasted under those of another.
        lines = [
            _decoded_line(line, fallback) for line in re.split(rb"(?<=\n)|(?<=\r)(?!\n)", content)
        ]
    mixed = any(is_utf8 and not line.isascii() for line, is_utf8 in lines)
    words = f"{ENCODINGS[fallback]} and UTF-8 mixed" if mixed else ENCODINGS[fallback]
    return "".join(line for line, _ in lines), words


def _decoded_line(line: bytes, fallback: str) -> tuple[str, bool]:
    try:
        return line.decode("utf-8"), True
    except UnicodeDecodeError:
        return line.decode(fallback, "replace"), False
