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
from pathlib import Path

import pytest
from pydicom import uid

from tests.preprocess.tiny_archive import SIZE, noise, write_cine

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
