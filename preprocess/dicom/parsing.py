"""pydicom's parser, limited to the tags that are needed and guarded against damaged files."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.fragments import Undecodable

LARGEST_INFLATED = 2**29
"""Bytes that a deflated data set may have: 2000 frames of 512 x 512. A file of a few megabytes can
inflate to thousands of times its size."""
INFLATED_AT_ONCE = 2**24


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
    """The named elements of a file; others are skipped and never looked into."""
    # pydicom's own list type names tags by number, keyword or tag.
    tags: list[Any] = list(keywords)
    return dcmread(file, specific_tags=tags, stop_before_pixels=stop_before_pixels)


def _check_inflated(content: bytes) -> None:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while content and not inflate.eof:
        size += len(inflate.decompress(content, INFLATED_AT_ONCE))
        content = inflate.unconsumed_tail
        if size > LARGEST_INFLATED:
            raise Rejection(f"its data set inflates to more than {LARGEST_INFLATED >> 20} MiB")
