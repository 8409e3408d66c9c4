"""How fast a review goes on: the real page, in a real browser, on a copy of a cohort.

Every sequence is accepted with Enter, half of them as soon as they are drawn, half after a look.
Cines are read from Zarr as the page reads them, and played at 30 frames/s. In a cine of 60 frames,
made of one that is played there and back, boxes are corrected by key, until their tracks are drawn.

    python benchmarks/review.py demo/cohort --out benchmarks/results/review.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence as Many
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)  # for the server

from preprocess.cohort import (  # noqa: E402
    BoxSource,
    Cohort,
    frames_digest,
    store_cine,
    update_attributes,
    write_annotations,
)
from preprocess.tracking.propagate import PropagateSettings, propagate  # noqa: E402
from tests.browser import CHROMIUM, Browser  # noqa: E402
from tests.preprocess.review.reviewing import reviewed  # noqa: E402

RATE = 30
"""Frames per second of every cine."""
LOOK_S = 1.0
READ, PLAYED, PLAY_S = 20, 5, 3.0
"""Cines that are read and that are played, and how long."""
LONG, CORRECTED = 60, (45, 15, 52, 37)
"""Frames of the corrected cine, and where its boxes are corrected one after the other: the first
two change the tracks of half of it each, for its reference frame is in the middle."""
WHOLE = "window.review?.id && review.loaded === review.length"
ARRIVALS = """(async () => {
  const begun = performance.now(), arrived = [];
  const reader = (await fetch("/api/sequences/%s/frames")).body.getReader();
  for (let bytes = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return { arrived, bytes, whole: performance.now() - begun };
    bytes += value.length;
    while (bytes >= (arrived.length + 1) * %d) arrived.push(performance.now() - begun);
  }
})()"""
"""When each frame of a cine is there, in ms."""
CORRECTION = """(() => {
  const tracks = () => JSON.stringify(review.state.boxes.filter(box => box.source === "tracked"));
  const before = tracks();
  let begun = 0;
  addEventListener("keydown", event => { begun = event.timeStamp; }, { capture: true, once: true });
  window.corrected = new Promise(done => {
    const look = () => {
      if (begun && review.saved && tracks() !== before)
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
      else setTimeout(look, 5);
    };
    look();
  });
})()"""
"""Promises the ms from the next key until other tracked boxes are drawn."""


def main() -> None:
    """Measure, print the rows and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cohort", type=Path, help="a cohort without any review")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = measured(options.cohort, Path(temporary))
    for row in rows:
        print(f"{row['name']:<64}{row['ours']:>10} {row['unit']}")
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load in the last minutes": [round(load, 1) for load in os.getloadavg()],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(f"Wrote {options.out}")


def measured(cohort: Path, temporary: Path) -> list[dict[str, Any]]:
    """Every row, on copies in a folder that is thrown away."""
    folder = temporary / "cohort"
    shutil.copytree(cohort, folder)
    for sequence in Cohort.open(folder).sequences.values():
        update_attributes(folder, replace(sequence, frame_time_ms=1000 / RATE))
    with at_the_page(long_cohort(cohort, temporary / "long")) as page:
        rows = correcting(page)
    with at_the_page(folder) as page:
        rows += reading(page, Cohort.open(folder))
        rows += playing(page)
        return rows + accepting(page, len(Cohort.open(folder).sequences))


@contextmanager
def at_the_page(folder: Path) -> Any:
    """The page of a cohort, at its first sequence."""
    with reviewed(folder) as review, Browser(str(CHROMIUM), width=1280, height=720) as page:
        page.open(review.address)
        page.wait(WHOLE)
        yield page
        assert page.complaints == [], page.complaints


def reading(page: Browser, cohort: Cohort) -> list[dict[str, Any]]:
    """Frames from Zarr to the page, of cines that the server does not hold."""
    firsts, rates, late, asked = [], [], 0, 0
    for name, sequence in list(cohort.sequences.items())[-READ:]:
        frame_bytes = sequence.height * sequence.width * (1 if sequence.bits_stored <= 8 else 2)
        found = page.evaluate(ARRIVALS % (name, frame_bytes))
        arrived = np.asarray(found["arrived"])
        assert len(arrived) == sequence.length
        firsts.append(arrived[0])
        rates.append(found["bytes"] / found["whole"] / 1000)
        late += int((arrived > arrived[0] + np.arange(len(arrived)) * 1000 / RATE).sum())
        asked += len(arrived)
    return [
        *quantiles("from asking for a cine to its first frame", firsts, "ms"),
        row("frames read from Zarr, to the page", float(np.median(rates)), "MB/s", higher=True),
        row(f"frames that come too late for {RATE} frames/s, of {asked}", late, "frames"),
    ]


def playing(page: Browser) -> list[dict[str, Any]]:
    """Frames that the page leaves out while it plays."""
    dropped = 0
    for _ in range(PLAYED):
        page.wait(WHOLE)
        page.keys("Space")
        time.sleep(PLAY_S)
        page.keys("Space")
        dropped += page.evaluate("review.dropped")
        page.keys("PageDown")
    name = f"frames left out while {round(PLAYED * PLAY_S * RATE)} are played at {RATE} frames/s"
    return [row(name, dropped, "frames")]


def accepting(page: Browser, sequences: int) -> list[dict[str, Any]]:
    """From Enter to the next cine, half of the cohort without a look and half with one."""
    entries = "performance.getEntriesByName('accept to drawn')"
    for number in range(1, sequences):
        time.sleep(LOOK_S if number > sequences // 2 else 0)
        page.keys("Enter")
        page.wait(f"{entries}.length === {number}")
    times = page.evaluate(f"{entries}.map(entry => entry.duration)")
    halves = {"at once": times[: sequences // 2], f"after {LOOK_S:g} s": times[sequences // 2 :]}
    return [
        each
        for pace, of in halves.items()
        for each in quantiles(f"from Enter to the next cine drawn, pressed {pace}", of, "ms")
    ]


def correcting(page: Browser) -> list[dict[str, Any]]:
    """From a corrected box to its tracks, drawn."""
    times = []
    for frame in CORRECTED:
        page.keys("Home", *["ArrowRight"] * frame, "b")
        page.evaluate(CORRECTION)
        page.keys("Alt+ArrowLeft")
        times.append(page.evaluate("corrected"))
    return quantiles(f"from a corrected box to its tracks drawn, {LONG} frames", times, "ms")


def long_cohort(source: Path, folder: Path) -> Path:
    """A cohort of one tracked cine of 60 frames, all of them optimal."""
    cohort = Cohort.open(source)
    box = next(box for box in cohort.boxes if box.source is BoxSource.REFERENCE)
    frames = cohort.cine(box.sequence_id)
    missing = max(LONG - len(frames), 0)
    frames = np.pad(frames, ((0, missing), (0, 0), (0, 0)), mode="reflect")[:LONG]
    sequence = replace(
        cohort.sequences[box.sequence_id],
        length=LONG,
        frames_digest=frames_digest(frames),
        introducing_start=0,
        optimal_start=0,
        vanishing_start=LONG,
        reference_frame=LONG // 2,
    )
    store_cine(folder, sequence, frames)
    write_annotations(folder, [sequence], [replace(box, frame_index=LONG // 2)])
    propagate(folder, PropagateSettings(processes=1))
    return folder


def quantiles(name: str, times: Many[float], unit: str) -> list[dict[str, Any]]:
    """Median, 95th percentile and maximum, each a row."""
    parts = {"median": 0.5, "95th percentile": 0.95, "maximum": 1.0}
    return [row(f"{name}: {w}", float(np.quantile(times, q)), unit) for w, q in parts.items()]


def row(name: str, ours: float, unit: str, *, higher: bool = False) -> dict[str, Any]:
    """As every benchmark of the project writes it; there is no peer."""
    value = {"ours": round(ours, 1), "peer": None, "ratio": None}
    return {"name": name, **value, "unit": unit, "higher_is_better": higher}


if __name__ == "__main__":
    main()
