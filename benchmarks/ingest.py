"""Whole ingest of JPEG Lossless cines, beside a bare decoder loop, a naive script and itself.

The archive is made here: cines of 60 frames of 512 x 512 (an artery moving over a noisy
background), JPEG Lossless SV1, in a temporary folder. What is compared alternates, and the best
round of each counts. One process is compared by the processor's time as well, for what else runs
on a machine, and a disk that is written to, move the clock on the wall.

    python benchmarks/ingest.py --out benchmarks/results/ingest.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from preprocess.dicom.decoders import decoder_name
from preprocess.ingest.command import IngestSettings, ingest

FRAMES, SIZE = 60, 512
NAIVE_CINES, FEW_CINES = 2, 4
Work = Callable[[], None]
Row = dict[str, str | float | bool]


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--cines", type=int, default=160, help="cines of the archive (11 MB each)")
    parser.add_argument("--rounds", type=int, default=4, help="timed rounds of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ingest_benchmark_") as name:
        folder = Path(name)
        write_archive(folder, options.cines)
        rows = [
            *speed(folder, options.cines, options.rounds),
            memory(folder, options.cines),
        ]
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "decoder": decoder_name(uid.JPEGLosslessSV1),
        "imagecodecs": imagecodecs.__version__,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(f"{row['name']:<62} {row['ours']:>8} {row['peer']:>8} {row['unit']:<9}", end="")
        print(f" ratio {row['ratio']}")
    print(f"Wrote {options.out}")


def speed(folder: Path, cines: int, rounds: int) -> list[Row]:
    """Frames a second of one process, of two, of the bare loop and of the naive script."""
    paths = sorted((folder / "dicom").iterdir())
    fragments = [
        frame
        for path in paths[:FEW_CINES]
        for frame in generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=FRAMES)
    ]
    work: dict[str, tuple[Work, int]] = {
        "one": (lambda: ingest_archive(folder, cines, 1), cines),
        "bare": (lambda: bare_loop(fragments, cines // FEW_CINES), cines // FEW_CINES * FEW_CINES),
        "two": (lambda: ingest_archive(folder, cines, 2), cines),
        "naive": (lambda: naive_script(folder, paths[:NAIVE_CINES]), NAIVE_CINES),
    }
    best, by_processor = dict.fromkeys(work, 0.0), dict.fromkeys(work, 0.0)
    for _ in range(rounds):
        for name, (function, read) in work.items():
            clean(folder)
            start, busy = time.perf_counter(), time.process_time()
            function()
            passed, busy = time.perf_counter() - start, time.process_time() - busy
            best[name] = max(best[name], read * FRAMES / passed)
            by_processor[name] = max(by_processor[name], read * FRAMES / busy)
    bare = "one process, beside the bare decoder loop"
    return [
        row(bare, best["one"], best["bare"]),
        row(f"{bare}, by processor time", by_processor["one"], by_processor["bare"]),
        row("one process, beside pydicom and Zarr as they come", best["one"], best["naive"]),
        row("two processes, beside one", best["two"], best["one"]),
    ]


def memory(folder: Path, cines: int) -> Row:
    """Peak memory of one process over the whole archive, beside a few cines of it."""
    peak = {count: peak_mib(folder, count) for count in (FEW_CINES, cines)}
    name = f"peak memory over {cines} cines, beside {FEW_CINES}"
    return {**row(name, peak[cines], peak[FEW_CINES], "MiB"), "higher_is_better": False}


def row(name: str, ours: float, peer: float, unit: str = "frames/s") -> Row:
    """One line of the result."""
    return {
        "name": name,
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "ratio": round(ours / peer, 2),
        "unit": unit,
        "higher_is_better": True,
    }


def write_archive(folder: Path, cines: int) -> None:
    """Cines of four noisy scenes, each file with a patient and an instance of its own."""
    generator = np.random.default_rng(0)
    scenes = [encapsulate([encode(frame) for frame in scene(generator)]) for _ in range(FEW_CINES)]
    (folder / "dicom").mkdir()
    for number in range(cines):
        write_cine(folder / "dicom" / f"{number:03d}.dcm", scenes[number % FEW_CINES], number)
    for count in (FEW_CINES, cines):
        some = folder / f"some{count}"
        some.mkdir()
        # With their bounds: what labels leave open is proposed, which benchmarks/phases.py times.
        lines = ["file,view,reference_frame,introducing_start,optimal_start,vanishing_start"]
        for path in sorted((folder / "dicom").iterdir())[:count]:
            (some / path.name).symlink_to(path)
            lines.append(f"{path.name},RCA,30,10,20,50")
        (folder / f"some{count}.csv").write_text("\n".join(lines) + "\n")


def scene(generator: np.random.Generator) -> np.ndarray:
    """A bright chest, a dark artery that beats, and quantum noise (uint8[T, H, W])."""
    y, x = np.mgrid[:SIZE, :SIZE]
    chest = 140 + 50 * np.exp(-((x - 256) ** 2 + (y - 256) ** 2) / 90000)
    frames = np.empty((FRAMES, SIZE, SIZE), np.uint8)
    for t in range(FRAMES):
        artery = 60 * np.exp(-((x - 200 - 60 * np.sin(y / 60 + t / 10)) ** 2) / 30)
        noisy = chest - artery + generator.normal(0, 6, (SIZE, SIZE))
        frames[t] = np.clip(np.round(noisy), 0, 255)
    return frames


def encode(frame: np.ndarray) -> bytes:
    """JPEG Lossless, first-order prediction."""
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1))


def write_cine(path: Path, pixel_data: bytes, number: int) -> None:
    """An XA cine without more than it needs."""
    dataset = Dataset()
    dataset.SOPClassUID = uid.XRayAngiographicImageStorage
    dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
    dataset.PatientID = f"patient {number}"
    dataset.Modality = "XA"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = FRAMES, SIZE, SIZE
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixel_data
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
    dataset.save_as(path, enforce_file_format=True)


def ingest_archive(folder: Path, cines: int, processes: int) -> None:
    """What is measured."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ingest(
            folder / f"some{cines}",
            labels=folder / f"some{cines}.csv",
            out=folder / "cohort",
            settings=IngestSettings(processes=processes),
        )


def bare_loop(fragments: list[bytes], times: int) -> None:
    """The decoder alone, the codestreams in memory and nothing kept."""
    for _ in range(times):
        for fragment in fragments:
            imagecodecs.jpeg8_decode(fragment)


def naive_script(folder: Path, paths: list[Path]) -> None:
    """What a first script does: the libraries' defaults, frame by frame."""
    import zarr  # not by the processes that ingest starts, which import this module too

    for path in paths:
        frames = pydicom.dcmread(path).pixel_array
        array = zarr.create_array(
            folder / "naive" / path.stem, shape=frames.shape, dtype=frames.dtype
        )
        for index, frame in enumerate(frames):
            array[index] = frame


def peak_mib(folder: Path, cines: int) -> float:
    """Peak resident memory of a process that ingests some cines."""
    clean(folder)
    code = (
        "import sys; from pathlib import Path; from benchmarks import ingest; "
        "ingest.ingest_archive(Path(sys.argv[1]), int(sys.argv[2]), 1); "
        # Not getrusage, whose peak includes the process that started this one.
        "status = Path('/proc/self/status').read_text(); "
        "print(int(status.split('VmHWM:')[1].split()[0]) / 1024)"
    )
    command = [sys.executable, "-c", code, str(folder), str(cines)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def clean(folder: Path) -> None:
    """Remove what the last round wrote."""
    for made in ("cohort", "naive"):
        shutil.rmtree(folder / made, ignore_errors=True)
    (folder / "cohort.private.jsonl").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
