"""Compressed frames out of their wrapping, however a scanner wrapped them."""

from __future__ import annotations

import struct

import pytest

from preprocess.dicom.fragments import Undecodable, compressed_frames

FRAMES = [b"\xff\xd8\xff" + bytes([65 + n]) * (7 + 2 * n) + b"\xff\xd9" for n in range(3)]
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(content: bytes) -> bytes:
    return ITEM + struct.pack("<I", len(content)) + content


def wrapped(fragments: list[bytes], table: bytes = b"") -> memoryview:
    return memoryview(item(table) + b"".join(map(item, fragments)) + END)


def halves() -> tuple[list[bytes], list[int]]:
    """Each frame in two fragments, and where the frames begin."""
    fragments: list[bytes] = []
    offsets, position = [], 0
    for frame in FRAMES:
        offsets.append(position)
        fragments += [frame[:5], frame[5:]]
        position += 16 + len(frame)
    return fragments, offsets


def frames(pixel_data: memoryview, length: int = 3, extended: bytes | None = None) -> list[bytes]:
    return [bytes(frame) for frame in compressed_frames(pixel_data, length, extended)]


def test_one_fragment_a_frame_whatever_the_table_says() -> None:
    for table in (b"", struct.pack("<3I", 0, 20, 41), struct.pack("<3I", 9, 9, 9), b"\0\0"):
        assert frames(wrapped(FRAMES, table)) == FRAMES


def test_several_fragments_a_frame_by_the_codestreams_starts() -> None:
    fragments, _ = halves()
    for table in (b"", struct.pack("<3I", 7, 8, 9)):
        assert frames(wrapped(fragments, table)) == FRAMES


JP2 = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 " + b"\0" * 8


@pytest.mark.parametrize("end", [[], [b""], [b"\0\0"]], ids=str)
@pytest.mark.parametrize("length", [1, 3])
def test_a_codestreams_start_may_lie_in_two_fragments(length: int, end: list[bytes]) -> None:
    fragments = [part for frame in FRAMES[:length] for part in (frame[:2], frame[2:], *end)]
    expected = [frame + b"".join(end) for frame in FRAMES[:length]]
    assert frames(wrapped(fragments), length) == expected


@pytest.mark.parametrize("cut", [4, 14, len(JP2)], ids=["mark", "boxes", "before the codestream"])
@pytest.mark.parametrize("length", [1, 3])
def test_several_fragments_a_frame_by_the_signature_of_jp2(length: int, cut: int) -> None:
    boxed = [JP2 + b"\xff\x4f\xff\x51" + frame for frame in FRAMES[:length]]
    fragments = [part for frame in boxed for part in (frame[:cut], frame[cut:])]
    assert frames(wrapped(fragments), length) == boxed


def test_several_fragments_a_frame_by_an_offset_table() -> None:
    """Where a fragment in the middle of a frame looks like a start, the table decides."""
    fragments, offsets = halves()
    fragments[1] = b"\xff\xd8\xff" + fragments[1][3:]
    expected = [fragments[0] + fragments[1], *FRAMES[1:]]
    assert frames(wrapped(fragments, struct.pack("<3I", *offsets))) == expected
    assert frames(wrapped(fragments), extended=struct.pack("<3Q", *offsets)) == expected


def test_one_frame_in_many_fragments() -> None:
    assert frames(wrapped([FRAMES[0][:4], FRAMES[0][4:6], FRAMES[0][6:]]), 1) == FRAMES[:1]


def test_the_delimiters_bytes_within_a_frame_end_nothing() -> None:
    odd = [FRAMES[0][:4] + END + FRAMES[0][4:], *FRAMES[1:]]
    assert frames(wrapped(odd)) == odd


def test_what_follows_the_delimiter_is_no_frame() -> None:
    assert frames(memoryview(bytes(wrapped(FRAMES)) + item(b"padding"))) == FRAMES


@pytest.mark.parametrize("length", [1, 2, 4, 900_000_000])
def test_another_number_of_frames_is_said(length: int) -> None:
    with pytest.raises(Undecodable, match=f"hold 3 frames, the header says {length}"):
        frames(wrapped(FRAMES), length)


@pytest.mark.parametrize("cut", [1, 12, 20, 33])
def test_a_cut_within_a_fragment_is_said(cut: int) -> None:
    content = bytes(wrapped(FRAMES))
    end = len(content) - len(END) - cut
    with pytest.raises(Undecodable, match=r"of 3 frames|the header says 3"):
        frames(memoryview(content[:end]))


@pytest.mark.parametrize("content", [b"", b"\0" * 40, item(b""), ITEM + b"\xff\xff\xff\xff"])
def test_no_fragments_are_no_frames(content: bytes) -> None:
    with pytest.raises(Undecodable):
        frames(memoryview(content), 1)
