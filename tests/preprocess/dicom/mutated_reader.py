"""Reads mutations of one file, one after the other, and tells how many were accepted and the peak.

    python mutated_reader.py SOURCE SCRATCH FIRST COUNT SIZE PATIENCE_S

The seed of each is printed before it is read, so that whoever watches knows which one did harm.
"""

from __future__ import annotations

import faulthandler
import resource
import sys
from pathlib import Path

import numpy as np

from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.reader import read_cine, read_identity

PREAMBLE = 128
HEADER = 3000
"""The header and the wrapping of the frames are hit as often as all of the file."""
MEMORY_BYTES = 2**33
"""What a reader may take before it is refused: more than it should, and less than machines have."""
LIES = np.array([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF], "<u4")
FRAME_SIZES = (b"\xff\xc0", b"\xff\xc3", b"\xff\xf7", b"\xff\x51")
"""Markers that the size of a frame follows, in JPEG, JPEG Lossless, JPEG-LS and JPEG 2000."""


def mutated(whole: np.ndarray, seed: int) -> np.ndarray:
    """A damaged copy of a file (uint8[n]); one of six kinds of damage, by the seed."""
    generator = np.random.default_rng(seed)
    content = whole.copy()
    begin = PREAMBLE if whole[PREAMBLE : PREAMBLE + 4].tobytes() == b"DICM" else 0
    end = len(content) if seed % 2 else min(len(content), HEADER)
    at, other = (int(place) for place in generator.integers(begin, end, 2))
    length = int(generator.integers(1, 200))
    match seed // 2 % 6:
        case 0:  # single bits
            for place in generator.integers(begin, end, generator.integers(1, 9)):
                content[place] ^= 1 << generator.integers(8)
        case 1:  # cut off
            content = content[:at]
        case 2:  # one tag, or whatever is there, written over another
            piece = whole[other : other + length % 12 + 1][: len(content) - at]
            content[at : at + len(piece)] = piece
        case 3:  # a lie about a size
            size = int(generator.choice([2, 4]))
            lie = np.frombuffer(generator.choice(LIES).tobytes(), np.uint8)[:size]
            content[at : at + size] = lie[: len(content) - at]
        case 4:  # a lie about a size, after a marker that one follows
            file = content.tobytes()
            found = [file.find(marker, begin) for marker in FRAME_SIZES if marker in file]
            for place in min(found, default=at) + generator.integers(2, 24, 3):
                lie = np.frombuffer(generator.choice(LIES).astype(">u4").tobytes(), np.uint8)
                content[place : place + 4] = lie[: max(len(content) - place, 0)]
        case _:  # a piece lost, or doubled
            after = at + length if seed % 3 else at - length
            content = np.concatenate([content[:at], content[after:]])
    return content


def peak_kib() -> int:
    """Peak resident memory of this process; what getrusage says includes whoever started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """Read them all."""
    source, scratch = map(Path, sys.argv[1:3])
    first, count, size, patience_s = map(int, sys.argv[3:])
    whole = np.frombuffer(source.read_bytes(), np.uint8)
    accepted = 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for seed in range(first, first + count):
        scratch.write_bytes(mutated(whole, seed).tobytes())
        print(seed, file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(patience_s, exit=True)
        read_identity(scratch)
        try:
            cine = read_cine(scratch, size=size)
        except Rejection as reason:
            assert 5 < len(str(reason)) < 120 and "Doe" not in str(reason), str(reason)
        else:
            accepted += 1
            assert cine.frames.ndim == 3 and cine.frames.dtype in (np.uint8, np.uint16)
            cine.acquisition.display.apply(cine.frames[:1])
        faulthandler.cancel_dump_traceback_later()
    print(accepted, peak_kib())


if __name__ == "__main__":
    main()
