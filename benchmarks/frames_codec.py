"""How cines are stored: codecs of Zarr by speed and size, on real cines or on simulated ones.

Each cine is written and read through zarr-python with the codec pipeline of zarrs, one frame a
chunk, the cine a shard, a CRC-32C on each frame, by one thread. What is compared alternates, and
the best round of each counts. Times are the processor's: frames a second of one core. Without
`--dicom` the cines are phantoms.

    python benchmarks/frames_codec.py --dicom FOLDER --out benchmarks/results/frames_codec.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from preprocess.dicom.reader import read_cine
from preprocess.phantom.archive import write_archive
from preprocess.phantom.settings import PhantomSettings

Cines = list[NDArray[np.unsignedinteger[Any]]]
ROUNDS = 5
CODECS: dict[str, list[Any]] = {
    "none": [],
    **{f"zstd, level {level}": [ZstdCodec(level=level)] for level in (-5, -1, 1, 3)},
    "blosc zstd, level 1, bitshuffle": [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")],
    "the same, a frame a block": [
        BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=512 * 512)
    ],
    "blosc lz4, level 5, bitshuffle": [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")],
}


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--dicom", type=Path, help="a folder with XA cines of 512 x 512")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="frames_codec_") as name:
        folder = Path(name)
        cines = real(options.dicom) if options.dicom else simulated(folder / "archive")
        rows = measured(cines, folder / "arrays")
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    frames = sum(map(len, cines))
    print(f"{len(cines)} cines, {frames} frames, {'real' if options.dicom else 'simulated'}")
    for row in rows:
        print(f"{row['name']:50} {row['ours']:8.2f} {row['unit']}")
    print(f"Wrote {options.out}")


def real(folder: Path) -> Cines:
    """The cines of a folder as they are stored."""
    return [read_cine(path).frames for path in sorted(folder.glob("*.dcm"))]


def simulated(folder: Path) -> Cines:
    """Two cines of phantoms."""
    write_archive(folder, PhantomSettings(patients=2, sequences=2, frames_min=40, frames_max=40))
    return [read_cine(path).frames for path in sorted((folder / "dicom").rglob("*.dcm"))]


def measured(cines: Cines, folder: Path) -> list[dict[str, Any]]:
    """A row for writing, for reading and for the size of each codec."""
    write_s = {name: float("inf") for name in CODECS}
    read_s, size = dict(write_s), dict.fromkeys(CODECS, 0)
    settings = {
        "codec_pipeline.path": "zarrs.ZarrsCodecPipeline",
        "threading.max_workers": 1,
        "async.concurrency": 1,
    }
    with zarr.config.set(settings):
        for _ in range(ROUNDS):
            for name, codec in CODECS.items():
                shutil.rmtree(folder, ignore_errors=True)
                paths = [folder / str(number) for number in range(len(cines))]

                def write(paths: list[Path] = paths, codec: list[Any] = codec) -> None:
                    for path, cine in zip(paths, cines, strict=True):
                        array = zarr.create_array(
                            path,
                            shape=cine.shape,
                            dtype=cine.dtype,
                            chunks=(1, *cine.shape[1:]),
                            shards=cine.shape,
                            compressors=[*codec, Crc32cCodec()],
                        )
                        array[:] = cine

                def read(paths: list[Path] = paths) -> None:
                    for path, cine in zip(paths, cines, strict=True):
                        found = zarr.open_array(path, mode="r")[:]
                        assert np.asarray(found)[-1, -1, -1] == cine[-1, -1, -1]

                write_s[name] = min(write_s[name], seconds(write))
                read_s[name] = min(read_s[name], seconds(read))
                size[name] = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    frames, raw = sum(map(len, cines)), sum(cine.nbytes for cine in cines)
    return [
        row
        for name in CODECS
        for row in (
            _row(f"{name}: written", frames / write_s[name], "frames/s", higher=True),
            _row(f"{name}: read", frames / read_s[name], "frames/s", higher=True),
            _row(f"{name}: size", size[name] / raw, "of raw", higher=False),
        )
    ]


def seconds(work: Callable[[], None]) -> float:
    """What it takes of the processor."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _row(name: str, ours: float, unit: str, *, higher: bool) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 3),
        "peer": None,
        "ratio": None,
        "unit": unit,
        "higher_is_better": higher,
    }


if __name__ == "__main__":
    main()
