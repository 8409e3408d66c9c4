"""Damaged files by the thousand: each is accepted, or rejected with a reason; none does harm.

The files are mutated and read in processes of their own, whose memory is watched. A decoder that
ends its process is what workers are for (tests of ``preprocess.console.workers``); one that hangs
or takes the machine's memory would stop an archive, so both fail here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from preprocess.dicom.reader import read_cine
from tests.preprocess.tiny_archive import SIZE, bare, noise, write_cine

REAL = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
]
MEMORY_GIB = 2.0
PATIENCE_S = 60
"""For one file, which takes milliseconds."""


def read_mutated(source: Path, scratch: Path, *, first: int, count: int, size: int) -> int:
    """Read ``count`` mutations of a file; how many processes ended on the way."""
    crashes, end = 0, first + count
    reader = Path(__file__).with_name("mutated_reader.py")
    while first < end:
        command = [sys.executable, reader, source, scratch, first, end - first, size]
        process = subprocess.run(
            [*map(str, command), str(PATIENCE_S)], capture_output=True, text=True, check=False
        )
        said = process.stderr.splitlines()
        if process.returncode == 0:
            _, peak_kib = process.stdout.split()
            assert int(peak_kib) < MEMORY_GIB * 2**20, f"{source.name} takes {peak_kib} KiB"
            return crashes
        # A negative code is a signal: the decoder ended its process, and ingest would go on. The
        # system ends (9) what takes all memory.
        assert process.returncode < 0, f"{source.name}: {said[-25:]}"
        assert process.returncode != -signal.SIGKILL, f"{source.name}: {said[-1:]} takes too much"
        crashes += 1
        first = int([line for line in said if line.isdigit()][-1]) + 1
    return crashes


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: uid.UID(syntax).keyword)
def test_mutations_are_accepted_or_rejected(tmp_path: Path, syntax: str) -> None:
    write_cine(tmp_path / "a.dcm", noise(2), syntax=syntax)
    crashes = read_mutated(tmp_path / "a.dcm", tmp_path / "b.dcm", first=0, count=120, size=SIZE)
    assert crashes == 0


def table(*, bits: int, vr: str) -> Sequence:
    """A rising table of 256 entries, in words or bytes."""
    item = Dataset()
    item.add_new(0x00283002, "US", [256, 0, bits])
    values = np.arange(256) * (1 if bits == 8 else 16)
    item.add_new(
        0x00283006,
        vr,
        values.tolist()
        if vr == "US"
        else values.astype(np.uint8 if bits == 8 else "<u2").tobytes(),
    )
    return Sequence([item])


def write_without(path: Path, kind: str, syntax: str) -> None:
    write_cine(path, noise(2), syntax=syntax)
    path.write_bytes(bare(path.read_bytes(), kind))


def write_words(path: Path) -> None:
    write_cine(path, noise(2), syntax=uid.ExplicitVRBigEndian)
    dataset = dcmread(path)
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path)


def write_jp2(path: Path) -> None:
    frames = noise(2)
    boxed = [
        imagecodecs.jpeg2k_encode(f, level=0, codecformat="jp2", reversible=True) for f in frames
    ]
    pixels = encapsulate(boxed, fragments_per_frame=3, has_bot=False)
    write_cine(path, frames, syntax=uid.JPEG2000Lossless, PixelData=pixels)


WITHOUT_WINDOW = ("WindowCenter", "WindowWidth")
FORMS: dict[str, Callable[[Path], object]] = {
    **{
        f"VOI table, {bits} bits, {vr}": partial(
            write_cine,
            frames=noise(2),
            without=WITHOUT_WINDOW,
            VOILUTSequence=table(bits=bits, vr=vr),
        )
        for bits, vr in ((16, "OW"), (8, "OW"), (16, "US"), (8, "OB"))
    },
    "VOI table, big endian": partial(
        write_cine,
        frames=noise(2),
        syntax=uid.ExplicitVRBigEndian,
        without=WITHOUT_WINDOW,
        VOILUTSequence=table(bits=8, vr="OW"),
    ),
    "modality table": partial(
        write_cine, frames=noise(2), ModalityLUTSequence=table(bits=16, vr="OW")
    ),
    "modality table, implicit": partial(
        write_cine,
        frames=noise(2),
        syntax=uid.ImplicitVRLittleEndian,
        ModalityLUTSequence=table(bits=16, vr="US"),
    ),
    "no preamble": partial(write_without, kind="no preamble", syntax=uid.ExplicitVRLittleEndian),
    "no preamble, compressed": partial(
        write_without, kind="no preamble", syntax=uid.JPEGLosslessSV1
    ),
    "no meta information, implicit": partial(
        write_without, kind="no meta information", syntax=uid.ImplicitVRLittleEndian
    ),
    "no meta information, explicit": partial(
        write_without, kind="no meta information", syntax=uid.ExplicitVRLittleEndian
    ),
    "no meta information, big endian": partial(
        write_without, kind="no meta information", syntax=uid.ExplicitVRBigEndian
    ),
    "JP2 in fragments": write_jp2,
    "big-endian words": write_words,
    **{
        f"high bits, {uid.UID(syntax).keyword}": partial(
            write_cine, frames=noise(2, bits=12) | np.uint16(1 << 15), bits=12, syntax=syntax
        )
        for syntax in (uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless)
    },
    "a window that misses": partial(
        write_cine, frames=noise(2, bits=12) | np.uint16(1024), bits=12
    ),
    "a vector of frame times": partial(
        write_cine, frames=noise(2), without=("FrameTime",), FrameTimeVector=[0, 66]
    ),
}
"""Forms of headers and pixel data beside the plain ones, by a function that writes a file."""


@pytest.mark.parametrize("form", FORMS)
def test_mutations_of_other_forms_are_accepted_or_rejected(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "a.dcm")
    read_cine(tmp_path / "a.dcm", size=SIZE)
    crashes = read_mutated(tmp_path / "a.dcm", tmp_path / "b.dcm", first=0, count=60, size=SIZE)
    assert crashes == 0


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_hundreds_of_mutations_of_other_forms(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "a.dcm")
    crashes = read_mutated(tmp_path / "a.dcm", tmp_path / "b.dcm", first=1000, count=600, size=0)
    assert crashes == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("syntax", "bits"),
    [(s, bits) for s in SYNTAXES for bits in (8, 12) if (s, bits) != (uid.JPEGBaseline8Bit, 12)],
    ids=lambda value: value if isinstance(value, int) else uid.UID(value).keyword,
)
def test_thousands_of_mutations(tmp_path: Path, syntax: str, bits: int) -> None:
    write_cine(tmp_path / "a.dcm", noise(3, bits=bits), syntax=syntax, bits=bits)
    crashes = read_mutated(tmp_path / "a.dcm", tmp_path / "b.dcm", first=1000, count=1000, size=0)
    assert crashes == 0


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL / "xa_dicom").is_dir(),
    reason="the real data are not on this machine (set ANGIORAY_REAL_DATA to their folder)",
)
@pytest.mark.parametrize(
    "name", ["philips_lca_75f_jpegbaseline.dcm", "rubo_0002_rca_96f_jpegbaseline.dcm"]
)
def test_mutations_of_real_cines(tmp_path: Path, name: str) -> None:
    crashes = read_mutated(
        REAL / "xa_dicom" / name, tmp_path / "b.dcm", first=0, count=200, size=512
    )
    assert crashes == 0
