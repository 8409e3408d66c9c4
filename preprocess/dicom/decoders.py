"""Decoders of pixel data, bit for bit.

:func:`frame_decoders` is the table of decoders: for each transfer syntax the fastest permissively
licensed function for one frame. Other syntaxes go to pydicom and its installed plugins.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from preprocess.dicom.acceptance import value_of
from preprocess.dicom.fragments import HEADER_BYTES, Undecodable, compressed_frames

Pixels = NDArray[np.unsignedinteger[Any]]
FrameDecoder = Callable[[memoryview, Pixels], object]
"""Decodes a codestream into an array [H, W], and raises where its size or depth is another."""

JPEG_END = b"\xff\xd9"
JPEG_2000_START = b"\xff\x4f\xff\x51"
SIZ = struct.Struct(">4x4I16xH")
"""What follows: length, capabilities, the grid's and the image's corner, tiles, components."""
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
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
    uid.RLELossless,
)
LOSSY = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
)
"""Syntaxes whose codec may return a little more than the brightest value that went in."""
LARGEST_OVERSHOOT = 1 / 8
"""Of the values that Bits Stored can tell apart; what lies higher has bits of something else."""
LEAST_STEP = 1 / 16
"""Of the same values: a pixel that differs by more from those around it is seen."""
MOST_STEPS = 0.01
"""Of the pixels around cleared ones, beyond the share that the rest of the picture has."""
COPYLEFT_PLUGINS = ("pylibjpeg",)
"""Plugins of pydicom that are never called: pylibjpeg may stand on pylibjpeg-libjpeg (GPL)."""


def decoded_frames(
    dataset: Dataset, pixel_data: memoryview, length: int
) -> Iterator[tuple[Pixels, int]]:
    """Yield each frame of a grey-scale image; it is overwritten by the next.

    Bits beyond Bits Stored (0028,0101) are no part of a pixel value: old software kept overlays
    there, and those may spell a name. They are cleared, whatever decoder the frame comes from.

    Args:
        dataset: with the Image Pixel module; it need not hold the pixel data.
        pixel_data: the value of PixelData (7FE0,0010).
        length: the number of frames that the header promises.

    Yields:
        uint8[H, W] where Bits Allocated (0028,0100) is 8, else uint16[H, W]; and of how many
        values bits were cleared.

    Raises:
        Undecodable: the data are shorter than promised, damaged, or no decoder reads them.
    """
    lossy = dataset.file_meta.TransferSyntaxUID in LOSSY
    for frame in _whole_values(dataset, pixel_data, length):
        yield _within(frame, dataset.BitsStored, lossy=lossy)


def _whole_values(dataset: Dataset, pixel_data: memoryview, length: int) -> Iterator[Pixels]:
    """Each frame with all the bits that were allocated."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        yield from _native(dataset, pixel_data, length)
        return
    if len(pixel_data) < HEADER_BYTES * length:  # even an empty frame has a header
        raise Undecodable(f"the pixel data cannot hold {length} frames")
    if decoder := frame_decoders().get(syntax):
        yield from _encapsulated(dataset, pixel_data, length, decoder)
    else:
        yield from _by_pydicom(dataset, pixel_data, length)


def _within(frame: Pixels, bits: int, *, lossy: bool) -> tuple[Pixels, int]:
    """A frame of values of so many bits, and of how many values further bits were cleared.

    A lossy codec may return a little more than white among whites. Without its highest bit such a
    value would be black, so it becomes white. Of an overlay a codec may leave traces in the bits
    that stay: those cannot be cleared, and the frame is refused.
    """
    highest = int(frame.max(initial=0))
    if highest < 2**bits:
        return frame, 0
    largest = frame.dtype.type(2**bits - 1)
    beyond, cleared = frame > largest, frame & largest
    if lossy:
        around = cv2.dilate(beyond.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        steps, clipped = _steps(cleared), np.minimum(frame, largest)
        # Of both readings, the one that fits into the picture is right.
        is_overshoot = _steps(clipped)[around].sum() <= steps[around].sum()
        if is_overshoot and highest < 2**bits * (1 + LARGEST_OVERSHOOT):
            return clipped, 0
        seen = steps > LEAST_STEP * 2**bits
        elsewhere = seen[~around].mean() if not around.all() else 0
        if seen[around].mean() > elsewhere + MOST_STEPS:
            raise Undecodable(
                f"lossy compression mixed its pixels with bits beyond the {bits} stored"
            )
    return cleared, int(np.count_nonzero(beyond))


def _steps(frame: Pixels) -> NDArray[np.int32]:
    """How far each pixel is from the median of the 5 x 5 around it."""
    medians = np.asarray(cv2.medianBlur(frame, 5), np.int32)
    steps: NDArray[np.int32] = np.abs(frame.astype(np.int32) - medians)
    return steps


def stored_dtype(dataset: Dataset) -> np.dtype[np.unsignedinteger[Any]]:
    """Of the frames as they are yielded and kept."""
    return np.dtype(np.uint8 if dataset.BitsAllocated == 8 else np.uint16)


def frame_decoders() -> dict[str, FrameDecoder]:
    """The fast decoder of each transfer syntax, where imagecodecs is installed."""
    try:
        import imagecodecs
    except ImportError:  # pydicom's own plugins do, at a fraction of the speed
        return {}

    def rle(frame: memoryview, out: Pixels) -> object:
        if int.from_bytes(frame[:4], "little") != out.itemsize:  # it would leave pixels unset
            raise ValueError("a segment for each byte of a pixel is expected")
        flat = out.reshape(-1).view(np.uint8)
        dtype = out.dtype.newbyteorder("<")
        return imagecodecs.dicomrle_decode(bytes(frame), dtype, out=flat.data)

    def into(function: Callable[..., object]) -> FrameDecoder:
        return lambda frame, out: function(frame, out=out)

    # libjpeg-turbo decodes lossless JPEG in 0.6 of the time of the fastest other one.
    jpeg, jpeg_ls, openjpeg = map(
        into, (imagecodecs.jpeg8_decode, imagecodecs.jpegls_decode, imagecodecs.jpeg2k_decode)
    )

    def jpeg_2000(frame: memoryview, out: Pixels) -> object:
        # OpenJPEG takes memory for whatever size a codestream claims to have.
        if _jpeg_2000_shape(frame) != out.shape:
            raise ValueError("the codestream has another size")
        return openjpeg(frame, out)

    return {
        uid.JPEGLosslessSV1: jpeg,
        uid.JPEGLossless: jpeg,
        uid.JPEGBaseline8Bit: jpeg,
        uid.JPEGExtended12Bit: jpeg,
        uid.JPEGLSLossless: jpeg_ls,
        uid.JPEGLSNearLossless: jpeg_ls,
        uid.JPEG2000Lossless: jpeg_2000,
        uid.JPEG2000: jpeg_2000,
        uid.HTJ2KLossless: jpeg_2000,
        uid.HTJ2KLosslessRPCL: jpeg_2000,
        uid.HTJ2K: jpeg_2000,
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


def _native(dataset: Dataset, pixel_data: memoryview, length: int) -> Iterator[Pixels]:
    big = dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian
    dtype = stored_dtype(dataset).newbyteorder(">" if big else "<")
    pixels = dataset.Rows * dataset.Columns
    whole = len(pixel_data) // (pixels * dtype.itemsize)
    if whole < length:
        raise Undecodable(f"the pixel data end after {whole} of {length} frames")
    if whole > length:
        raise Undecodable(f"the pixel data hold {whole} frames, the header says {length}")
    for index in range(length):
        offset = index * pixels * dtype.itemsize
        frame = np.frombuffer(pixel_data, dtype, count=pixels, offset=offset)
        frame = frame.reshape(dataset.Rows, dataset.Columns)
        yield frame.astype(dtype.newbyteorder("="), copy=False)


def _encapsulated(
    dataset: Dataset, pixel_data: memoryview, length: int, decoder: FrameDecoder
) -> Iterator[Pixels]:
    # pydicom's plugins are no second chance here: on damaged frames gdcm ends the process.
    frames = _compressed(dataset, pixel_data, length)
    # Some decoders paint over what is missing. The mark cannot occur within coded data, and real
    # cines have any bytes after it.
    marked = dataset.file_meta.TransferSyntaxUID != uid.RLELossless
    for number, frame in enumerate(frames, start=1):
        if not frame or (marked and not _holds_end(frame)):
            raise Undecodable(f"frame {number} of {length} is cut short")
    out: Pixels = np.empty((dataset.Rows, dataset.Columns), stored_dtype(dataset))
    for number, frame in enumerate(frames, start=1):
        if not (_decoded(decoder, frame, out) or _widened(decoder, frame, out)):
            raise Undecodable(f"damaged: frame {number} of {length} does not decode")
        yield out


def _compressed(dataset: Dataset, pixel_data: memoryview, length: int) -> list[memoryview]:
    table = value_of(dataset, "ExtendedOffsetTable")
    return compressed_frames(pixel_data, length, table if isinstance(table, bytes) else None)


def _holds_end(frame: memoryview) -> bool:
    return JPEG_END in bytes(frame[-64:]) or JPEG_END in bytes(frame)


def _decoded(decoder: FrameDecoder, frame: memoryview, out: Pixels) -> bool:
    """Whether the frame could be decoded, to the size and depth of ``out``."""
    try:
        decoder(frame, out)
    except Exception:  # noqa: BLE001 - each codec has an error class of its own
        return False
    return True


def _jpeg_2000_shape(frame: memoryview) -> tuple[int, int] | None:
    """Rows and columns of a grey codestream, by its SIZ segment (ISO/IEC 15444-1, A.5.1)."""
    _, start, segment = bytes(frame).partition(JPEG_2000_START)
    if not start or len(segment) < SIZ.size:
        return None
    right, bottom, left, top, components = SIZ.unpack_from(segment)
    return (bottom - top, right - left) if components == 1 else None


def _widened(decoder: FrameDecoder, frame: memoryview, out: Pixels) -> bool:
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


def _by_pydicom(dataset: Dataset, pixel_data: memoryview, length: int) -> Iterator[Pixels]:
    syntax = dataset.file_meta.TransferSyntaxUID
    frames = _compressed(dataset, pixel_data, length)
    image = Dataset()
    image.file_meta = dataset.file_meta
    image.Rows, image.Columns, image.NumberOfFrames = dataset.Rows, dataset.Columns, length
    image.SamplesPerPixel, image.PixelRepresentation = 1, 0
    image.PhotometricInterpretation = dataset.PhotometricInterpretation
    image.BitsAllocated = dataset.BitsAllocated
    # Of Bits Stored, plugins would clear the others by themselves, and nobody would know.
    image.BitsStored, image.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    image.PixelData = encapsulate([bytes(frame) for frame in frames])
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    for plugin in _permissive_plugins(syntax):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they may repeat what a header says
                array, _ = get_decoder(syntax).as_array(image, raw=True, decoding_plugin=plugin)
        except Exception:  # noqa: BLE001 - each plugin has error classes of its own
            continue
        decoded: Pixels = np.asarray(array).reshape(-1, dataset.Rows, dataset.Columns)
        if len(decoded) != length or decoded.dtype != stored_dtype(dataset):
            raise Undecodable(f"the pixel data hold {len(decoded)} of {length} frames")
        yield from decoded
        return
    name = uid.UID(syntax).keyword or "unknown transfer syntax"
    raise Undecodable(f"no installed decoder reads its frames ({name})")
