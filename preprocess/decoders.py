"""Compressed or plain pixel data to frames, bit for bit.

:func:`frame_decoders` is the seam: each transfer syntax and the fastest permissively licensed
functions for one of its frames. What it does not name goes to pydicom and its installed plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder

Pixels = NDArray[np.unsignedinteger[Any]]
FrameDecoder = Callable[[bytes], Pixels]

JPEG_END = b"\xff\xd9"
JPEG_RESTART_INTERVAL = b"\xff\xdd"
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
JPEG_FAMILY = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
)


class Undecodable(ValueError):  # noqa: N818 - a finding, like Rejection
    """Pixel data that do not yield the frames they promise; the text says why."""


def decode(dataset: Dataset, length: int) -> Pixels:
    """Every frame of a grey-scale dataset as stored.

    Args:
        dataset: with PixelData (7FE0,0010) and the Image Pixel module.
        length: the number of frames that it promises.

    Returns:
        uint8[T, H, W] where Bits Allocated (0028,0100) is 8, else uint16[T, H, W].

    Raises:
        Undecodable: the data are shorter than promised, damaged, or no decoder reads them.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        return _native(dataset, length)
    if len(dataset.PixelData) < 2 * length:  # an empty frame still costs its item header
        raise Undecodable(f"the pixel data cannot hold {length} frames")
    return _encapsulated(dataset, length)


def frame_decoders() -> dict[str, tuple[FrameDecoder, ...]]:
    """The fast decoders of each transfer syntax, tried in turn, where imagecodecs is installed."""
    try:
        import imagecodecs
    except ImportError:  # pydicom's own plugins do, at half the speed
        return {}
    return {
        uid.JPEGBaseline8Bit: (imagecodecs.jpeg8_decode,),
        uid.JPEGLossless: (imagecodecs.jpegsof3_decode,),
        uid.JPEGLosslessSV1: (_ljpeg, imagecodecs.jpegsof3_decode),
        uid.JPEGLSLossless: (imagecodecs.jpegls_decode,),
        uid.JPEGLSNearLossless: (imagecodecs.jpegls_decode,),
        uid.JPEG2000Lossless: (imagecodecs.jpeg2k_decode,),
        uid.JPEG2000: (imagecodecs.jpeg2k_decode,),
    }


def _ljpeg(frame: bytes) -> Pixels:
    """The faster of two lossless JPEG decoders, which does not know restart intervals."""
    import imagecodecs

    if JPEG_RESTART_INTERVAL in frame[:1024]:
        raise Undecodable("restart intervals")
    pixels: Pixels = imagecodecs.ljpeg_decode(frame)
    return pixels


def _native(dataset: Dataset, length: int) -> Pixels:
    shape = (length, dataset.Rows, dataset.Columns)
    stored = "u1" if dataset.BitsAllocated == 8 else "u2"
    big = dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian
    dtype = np.dtype((">" if big else "<") + stored)
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(dataset.PixelData) < expected:
        frame_bytes = expected // length
        raise Undecodable(
            f"the pixel data end after {len(dataset.PixelData) // frame_bytes} of {length} frames"
        )
    frames = np.frombuffer(dataset.PixelData, dtype, count=int(np.prod(shape))).reshape(shape)
    return frames.astype(dtype.newbyteorder("="), copy=False)


def _encapsulated(dataset: Dataset, length: int) -> Pixels:
    frames = list(_fragments(dataset, length))
    decoders = frame_decoders().get(dataset.file_meta.TransferSyntaxUID)
    if decoders is None:
        return _by_pydicom(dataset, length)
    # pydicom's plugins are no second chance here: on damaged frames gdcm ends the process.
    decoded: Pixels = np.empty(
        (length, dataset.Rows, dataset.Columns),
        np.uint8 if dataset.BitsAllocated == 8 else np.uint16,
    )
    for index, frame in enumerate(frames):
        pixels = next((p for d in decoders if (p := _tried(d, frame)) is not None), None)
        if pixels is None or pixels.shape != decoded.shape[1:]:
            raise Undecodable(f"damaged: frame {index + 1} of {length} does not decode")
        if pixels.dtype.itemsize > decoded.itemsize:
            raise Undecodable(f"damaged: frame {index + 1} of {length} has more bits than it says")
        decoded[index] = pixels
    return decoded


def _fragments(dataset: Dataset, length: int) -> Iterator[bytes]:
    """The compressed frames, refusing the truncation that some JPEG decoders paint over."""
    syntax = dataset.file_meta.TransferSyntaxUID
    found = 0
    try:
        for frame in generate_frames(dataset.PixelData, number_of_frames=length):
            found += 1
            # The mark cannot occur within coded data, and real cines have any bytes after it.
            if syntax in JPEG_FAMILY and frame.rfind(JPEG_END) < 0:
                raise Undecodable(f"frame {found} of {length} is cut short")
            yield frame
            if found == length:
                return
    except Undecodable:
        raise
    except Exception as problem:  # pydicom's parser fails in many ways on damaged data
        raise Undecodable(
            f"the pixel data are damaged after {found} of {length} frames"
        ) from problem
    raise Undecodable(f"the pixel data end after {found} of {length} frames")


def _tried(decoder: FrameDecoder, frame: bytes) -> Pixels | None:
    """One decoded grey frame, or None where this decoder cannot read it."""
    try:
        pixels = decoder(frame)
    except Exception:  # noqa: BLE001 - each codec has an error class of its own
        return None
    return pixels if pixels.dtype in (np.uint8, np.uint16) else None


def _by_pydicom(dataset: Dataset, length: int) -> Pixels:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        array, _ = get_decoder(syntax).as_array(dataset, raw=True)
    except Exception as problem:
        name = uid.UID(syntax).keyword or "unknown transfer syntax"
        raise Undecodable(f"no installed decoder reads its frames ({name})") from problem
    frames: Pixels = np.asarray(array).reshape(-1, dataset.Rows, dataset.Columns)
    if len(frames) != length or frames.dtype not in (np.uint8, np.uint16):
        raise Undecodable(f"the pixel data hold {len(frames)} of {length} frames")
    return frames
