"""The compressed frames in encapsulated pixel data (DICOM PS3.5 A.4).

Offset tables are often empty and sometimes wrong, so they are used last. Where there are as many
fragments as frames, each fragment is a frame; elsewhere a frame begins where its codec says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

ITEM = b"\xfe\xff\x00\xe0"
DELIMITER = b"\xfe\xff\xdd\xe0"
HEADER_BYTES = 8
JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
"""The signature box of a JP2 file, which some writers put around a codestream of JPEG 2000."""
CODESTREAM_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", JP2_START)
"""Start of image of the JPEG family, of JPEG 2000, and of JPEG 2000 in a JP2 file."""


class Undecodable(ValueError):  # noqa: N818 - a finding, not a fault
    """Pixel data that do not yield the frames they promise; the text says why."""


@dataclass(frozen=True)
class Fragment:
    """One item; ``offset`` is its header's place, counted from the first fragment's."""

    offset: int
    content: memoryview


def compressed_frames(
    pixel_data: memoryview, length: int, extended_offsets: bytes | None = None
) -> list[memoryview]:
    """The codestream of each frame.

    Args:
        pixel_data: the value of (7FE0,0010): a basic offset table, fragments, and perhaps the
            delimiter and what follows it.
        length: the number of frames that the header promises.
        extended_offsets: the value of (7FE0,0001), where there is one.

    Raises:
        Undecodable: they are damaged, or hold another number of frames.
    """
    table, *fragments = _items(pixel_data, length) or [Fragment(0, memoryview(b""))]
    if len(fragments) == length:
        return [fragment.content for fragment in fragments]
    begins = _by_codec(fragments)
    if sum(begins) != length:
        begins = _by_table(fragments, bytes(table.content), extended_offsets) or begins
    if sum(begins) != length or not begins[0]:
        found = sum(begins) or len(fragments)
        raise Undecodable(f"the pixel data hold {found} frames, the header says {length}")
    frames: list[list[memoryview]] = []
    for fragment, is_first in zip(fragments, begins, strict=True):
        if is_first:
            frames.append([])
        frames[-1].append(fragment.content)
    return [parts[0] if len(parts) == 1 else memoryview(b"".join(parts)) for parts in frames]


def _items(pixel_data: memoryview, length: int) -> list[Fragment]:
    """The offset table and every fragment; a file that ends within one is cut short."""
    items: list[Fragment] = []
    position = first = 0
    while position + HEADER_BYTES <= len(pixel_data):
        tag = pixel_data[position : position + 4]
        (size,) = struct.unpack_from("<I", pixel_data, position + 4)
        if tag == DELIMITER:
            break
        begin, end = position + HEADER_BYTES, position + HEADER_BYTES + size
        if tag != ITEM or end > len(pixel_data):
            found = max(len(items) - 1, 0)
            raise Undecodable(f"the pixel data are damaged after {found} of {length} frames")
        if not items:
            first = end
        items.append(Fragment(position - first, pixel_data[begin:end]))
        position = end
    return items


def _by_codec(fragments: Sequence[Fragment]) -> list[bool]:
    """Which fragments begin a frame by their first bytes; a mark may go on in the next one."""
    heads = [bytes(fragment.content[: len(JP2_START)]) for fragment in fragments]
    heads = [head and head + after for head, after in pairwise([*heads, b""])]
    # The codestream within a JP2 file may begin a fragment as well.
    in_jp2 = any(head.startswith(JP2_START) for head in heads)
    starts = (JP2_START,) if in_jp2 else CODESTREAM_STARTS
    return [head.startswith(starts) for head in heads]


def _by_table(
    fragments: Sequence[Fragment], basic: bytes, extended: bytes | None
) -> list[bool] | None:
    """Which fragments begin a frame by an offset table, or None where none fits the fragments."""
    places = {fragment.offset for fragment in fragments}
    for offsets in _tables(basic, extended):
        if offsets and offsets[0] == 0 and places.issuperset(offsets):
            return [fragment.offset in offsets for fragment in fragments]
    return None


def _tables(basic: bytes, extended: bytes | None) -> Iterator[tuple[int, ...]]:
    for table, code in ((extended or b"", "Q"), (basic, "I")):
        count = len(table) // struct.calcsize(code)
        yield struct.unpack_from(f"<{count}{code}", table)
