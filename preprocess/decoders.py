"""Compressed or plain pixel data to frames, bit for bit.

:func:`frame_decoders` is the seam: each transfer syntax and the fastest permissively licensed
function for one of its frames. What it does not name goes to pydicom and its installed plugins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from preprocess.fragments import Undecodable, compressed_frames

Pixels = NDArray[np.unsignedinteger[Any]]
FrameDecoder = Callable[[bytes, Pixels], object]
"""Decodes a codestream into an array [H, W], and raises where its size or depth is another."""

JPEG_END = b"\xff\xd9"
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
COMPRESSED = (
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.RLELossless,
)
COPYLEFT_PLUGINS = ("pylibjpeg",)
"""Plugins of pydicom that are never called: pylibjpeg may stand on pylibjpeg-libjpeg (GPL)."""


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
    decoder = frame_decoders().get(syntax)
    return _encapsulated(dataset, length, decoder) if decoder else _by_pydicom(dataset, length)


def frame_decoders() -> dict[str, FrameDecoder]:
    """The fast decoder of each transfer syntax, where imagecodecs is installed."""
    try:
        import imagecodecs
    except ImportError:  # pydicom's own plugins do, at a fraction of the speed
        return {}

    def rle(frame: bytes, out: Pixels) -> object:
        flat = out.reshape(-1).view(np.uint8)
        return imagecodecs.dicomrle_decode(frame, out.dtype.newbyteorder("<"), out=flat.data)

    def into(function: Callable[..., object]) -> FrameDecoder:
        return lambda frame, out: function(frame, out=out)

    # libjpeg-turbo decodes lossless JPEG in 0.6 of the time of the fastest other one.
    jpeg, jpeg_ls, jpeg_2000 = map(
        into, (imagecodecs.jpeg8_decode, imagecodecs.jpegls_decode, imagecodecs.jpeg2k_decode)
    )
    return {
        uid.JPEGLosslessSV1: jpeg,
        uid.JPEGLossless: jpeg,
        uid.JPEGBaseline8Bit: jpeg,
        uid.JPEGExtended12Bit: jpeg,
        uid.JPEGLSLossless: jpeg_ls,
        uid.JPEGLSNearLossless: jpeg_ls,
        uid.JPEG2000Lossless: jpeg_2000,
        uid.JPEG2000: jpeg_2000,
        uid.RLELossless: rle,
    }


def decoder_name(syntax: str) -> str:
    """Who decodes a transfer syntax here, as ``imagecodecs`` or ``pydicom with gdcm``; or empty."""
    if syntax in NATIVE:
        return "numpy"
    if syntax in frame_decoders():
        return "imagecodecs"
    plugins = _permissive_plugins(syntax)
    return f"pydicom with {plugins[0]}" if plugins else ""


def _native(dataset: Dataset, length: int) -> Pixels:
    shape = (length, dataset.Rows, dataset.Columns)
    stored = "u1" if dataset.BitsAllocated == 8 else "u2"
    big = dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian
    dtype = np.dtype((">" if big else "<") + stored)
    frame_bytes = dataset.Rows * dataset.Columns * dtype.itemsize
    if len(dataset.PixelData) < length * frame_bytes:
        raise Undecodable(
            f"the pixel data end after {len(dataset.PixelData) // frame_bytes} of {length} frames"
        )
    frames = np.frombuffer(dataset.PixelData, dtype, count=math.prod(shape)).reshape(shape)
    return frames.astype(dtype.newbyteorder("="), copy=False)


def _encapsulated(dataset: Dataset, length: int, decoder: FrameDecoder) -> Pixels:
    # pydicom's plugins are no second chance here: on damaged frames gdcm ends the process.
    frames = compressed_frames(dataset.PixelData, length, dataset.get("ExtendedOffsetTable"))
    # Some decoders paint over what is missing. The mark cannot occur within coded data, and real
    # cines have any bytes after it.
    marked = dataset.file_meta.TransferSyntaxUID != uid.RLELossless
    for number, frame in enumerate(frames, start=1):
        if not frame or (marked and frame.rfind(JPEG_END) < 0):
            raise Undecodable(f"frame {number} of {length} is cut short")
    decoded: Pixels = np.empty(
        (length, dataset.Rows, dataset.Columns),
        np.uint8 if dataset.BitsAllocated == 8 else np.uint16,
    )
    for number, (frame, out) in enumerate(zip(frames, decoded, strict=True), start=1):
        if not (_decoded(decoder, frame, out) or _widened(decoder, frame, out)):
            raise Undecodable(f"damaged: frame {number} of {length} does not decode")
    return decoded


def _decoded(decoder: FrameDecoder, frame: bytes, out: Pixels) -> bool:
    """Whether the frame could be decoded, to the size and depth of ``out``."""
    try:
        decoder(frame, out)
    except Exception:  # noqa: BLE001 - each codec has an error class of its own
        return False
    return True


def _widened(decoder: FrameDecoder, frame: bytes, out: Pixels) -> bool:
    """Decode a codestream of 8 bits a pixel where the header allocates 16."""
    narrow = np.empty(out.shape, np.uint8)
    if out.dtype == np.uint8 or not _decoded(decoder, frame, narrow):
        return False
    out[:] = narrow
    return True


def _permissive_plugins(syntax: str) -> list[str]:
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:  # no pixel data syntax that pydicom knows
        return []
    return [name for name in available if name not in COPYLEFT_PLUGINS]


def _by_pydicom(dataset: Dataset, length: int) -> Pixels:
    syntax = dataset.file_meta.TransferSyntaxUID
    for plugin in _permissive_plugins(syntax):
        try:
            array, _ = get_decoder(syntax).as_array(dataset, raw=True, decoding_plugin=plugin)
        except Exception:  # noqa: BLE001 - each plugin has error classes of its own
            continue
        frames: Pixels = np.asarray(array).reshape(-1, dataset.Rows, dataset.Columns)
        if len(frames) != length or frames.dtype not in (np.uint8, np.uint16):
            raise Undecodable(f"the pixel data hold {len(frames)} of {length} frames")
        return frames
    name = uid.UID(syntax).keyword or "unknown transfer syntax"
    raise Undecodable(f"no installed decoder reads its frames ({name})")
