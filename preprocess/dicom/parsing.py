"""pydicom's parser, limited to the tags that are needed and guarded against damaged files."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import VR

from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.fragments import Undecodable

LARGEST_INFLATED = 2**29
"""Bytes that a deflated data set may have: 2000 frames of 512 x 512. A file of a few megabytes can
inflate to thousands of times its size."""
INFLATED_AT_ONCE = 2**24
PREAMBLE_BYTES = 128
PREFIX = b"DICM"
META_GROUP = b"\x02\0"
FIRST_GROUP = b"\x08\0"
"""The first group of every image, where no meta information comes before it."""
LONGEST_FIRST_VALUE = 1024
"""Bytes of the first element of an image: a length, a character set, or an image type."""
VRS = frozenset(str(vr).encode() for vr in VR)


class Source(io.BufferedReader):
    """A file for the parser, which reads all that is left of one for the sole reason to inflate it.

    Raises:
        Rejection: when read so, and inflated it would have more than ``LARGEST_INFLATED`` bytes.
    """

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file's."""
        content = super().read(size)
        if size is None or size < 0:
            _check_inflated(content)
        return content


@contextmanager
def parsing() -> Iterator[None]:
    """Odd values pass, and whatever else a damaged file does to the parser is a rejection.

    pydicom's warnings and messages would print names and identifiers: none of them gets out.
    """
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InvalidDicomError:
            raise Rejection("not a DICOM file") from None
        except Undecodable as problem:
            raise Rejection(str(problem)) from None
        except (Rejection, MemoryError):
            raise
        except EOFError:
            raise Rejection("damaged: the file ends too early") from None
        except zlib.error:
            raise Rejection("damaged: its deflated data set does not inflate") from None
        except Exception as problem:  # the parser fails in many ways
            if isinstance(problem, OSError) and problem.errno is not None:
                raise  # the disk's, not the parser's
            kind = type(problem).__name__
            raise Rejection(f"damaged: not readable as DICOM ({kind})") from None


def parsed(file: BinaryIO, keywords: list[str], *, stop_before_pixels: bool = False) -> Dataset:
    """The named elements of a file; others are skipped and never looked into.

    A data set that was saved without a preamble, or without meta information, is read as well. Its
    transfer syntax is then the uncompressed one that its first element is written in.

    Raises:
        InvalidDicomError: it does not begin as a DICOM file or as a data set does.
    """
    bare = _begins_data_set(file.read(PREAMBLE_BYTES + len(PREFIX)))
    file.seek(0)
    # pydicom's own list type names tags by number, keyword or tag.
    tags: list[Any] = list(keywords)
    dataset = dcmread(file, specific_tags=tags, stop_before_pixels=stop_before_pixels, force=bare)
    if bare and not dataset:
        raise InvalidDicomError
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian
            if implicit
            else ExplicitVRLittleEndian
            if little
            else ExplicitVRBigEndian
        )
    return dataset


def swapped_pairs(content: bytes | memoryview) -> bytes:
    """Bytes that were stored as big-endian words (VR OW), in the order that they count in."""
    whole = len(content) // 2 * 2
    pairs = np.frombuffer(content, np.uint8, count=whole).reshape(-1, 2)
    return pairs[:, ::-1].tobytes() + bytes(content[whole:])


def _begins_data_set(head: bytes) -> bool:
    """Whether a file without the prefix begins with an element that data sets begin with."""
    if head[PREAMBLE_BYTES:] == PREFIX:
        return False
    if head[4:6] in VRS:
        return head[:2] in (META_GROUP, FIRST_GROUP, FIRST_GROUP[::-1])  # the last: big endian
    size = int.from_bytes(head[4:8], "little")
    return head[:2] == FIRST_GROUP and 0 < size <= LONGEST_FIRST_VALUE


def _check_inflated(content: bytes) -> None:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while content and not inflate.eof:
        size += len(inflate.decompress(content, INFLATED_AT_ONCE))
        content = inflate.unconsumed_tail
        if size > LARGEST_INFLATED:
            raise Rejection(f"its data set inflates to more than {LARGEST_INFLATED >> 20} MiB")
