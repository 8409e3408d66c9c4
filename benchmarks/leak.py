"""The leak ruler on planted copies and on ARCADE, and its speed.

A pair is false if one of them is a copy (``measuring/planted_copies.py``) of a picture that is no
near-duplicate of the other.

    python benchmarks/leak.py --data FOLDER --work FOLDER --out benchmarks/results/leak.json

The data folder holds ``arcade_stenosis_1200.tar`` and ``arcade_views_1200.tar``.
"""

from __future__ import annotations

import tarfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import Row, measure_parts
from measuring.planted_copies import Picture, copy_of

from angioray.leak.__main__ import LeakSettings
from angioray.leak.duplicates import SeenFrame, near_duplicates, seen_frames
from angioray.leak.fingerprints import Fingerprint
from preprocess.cohort import Cohort, Sequence
from preprocess.cohort.display import Display
from preprocess.importers.arcade import import_arcade
from preprocess.phantom.examples import FRAMES, examples

LEAST = LeakSettings().likeness
PLANTED = 600
CHESTS, COPIES = 12, 13
SAME = 0.93
"""Likeness from which two pictures of ARCADE are one; frames of one cine have 0.89 at most."""


@dataclass(frozen=True)
class Planted:
    """A copy, and of which sequence."""

    frame: SeenFrame
    source: str


def phantoms(data: Path, work: Path) -> Iterator[Row]:
    """Copies of phantoms, two hearts before each chest."""
    del data, work  # it makes its own
    random = np.random.default_rng(0)
    pictures = {
        f"chest{chest}-heart{heart}": examples(5, chest)[FRAMES * heart].frame
        for chest in range(CHESTS)
        for heart in range(2)
    }
    own = [seen(name, picture) for name, picture in pictures.items()]
    planted = [
        Planted(seen(f"{name}-copy{number}", copy_of(picture, random), of_other=True), name)
        for name, picture in pictures.items()
        for number in range(COPIES)
    ]
    yield from scored("phantoms", own, planted)


def arcade(data: Path, work: Path) -> Iterator[Row]:
    """The two tasks of ARCADE, and copies planted among them."""
    stenosis, views = (arcade_cohort(data, work, name) for name in ("stenosis", "views"))
    clock, processor = time.perf_counter(), time.process_time()
    own = seen_frames(stenosis, 1, of_other=False)
    other = seen_frames(views, 1, of_other=True)
    random = np.random.default_rng(0)
    planted = []
    for frame in own[:PLANTED]:
        name = frame.sequence.sequence_id
        copy = copy_of(stenosis.frame_8bit(name, 0), random)
        planted.append(Planted(seen(f"{name}-copy", copy, of_other=True), name))
    frames = [*own, *other, *(each.frame for each in planted)]
    pairs = near_duplicates(frames, LEAST)
    taken = time.perf_counter() - clock, time.process_time() - processor
    yield Row(f"{len(frames)} pictures, making the copies included", taken[0], None, "s", {}, False)
    yield Row("the same, seconds of all cores together", taken[1], None, "CPU s", {}, False)
    between = [p for p in pairs if p.of_other and not p.other.sequence_id.endswith("-copy")]
    for name, least in (("the same picture", SAME), ("near-duplicates", LEAST)):
        chosen = [pair for pair in between if pair.likeness >= least]
        for parts in (None, ("train", "val"), ("val", "train")):
            of = [p for p in chosen if parts is None or (p.one.part, p.other.part) == parts]
            where = "" if parts is None else f", {parts[0]} and {parts[1]}"
            count = len({pair.one.sequence_id for pair in of})
            title = f"ARCADE, {name}: stenosis images of 1200 with a syntax image{where}"
            yield Row(title, count, None, "images", {})
    yield from scored("ARCADE", own, planted)


def scored(name: str, own: list[SeenFrame], planted: list[Planted]) -> Iterator[Row]:
    """Copies found, and false pairs."""
    mates = defaultdict(set)
    for pair in near_duplicates(own, LEAST):
        mates[pair.one.sequence_id].add(pair.other.sequence_id)
        mates[pair.other.sequence_id].add(pair.one.sequence_id)
    source = {each.frame.sequence.sequence_id: each.source for each in planted}
    pairs = near_duplicates([*own, *(each.frame for each in planted)], LEAST)
    found, false = set(), 0
    for pair in pairs:
        if not pair.of_other:
            continue
        one, copied = pair.one.sequence_id, source[pair.other.sequence_id]
        if one == copied:
            found.add(pair.other.sequence_id)
        else:
            false += one not in mates[copied]
    yield Row(f"{name}: planted copies found, of {len(planted)}", len(found), None, "copies", {})
    yield Row(f"{name}: false pairs", false, None, "pairs", {}, False)


def seen(name: str, picture: Picture, *, of_other: bool = False) -> SeenFrame:
    """A picture as a frame of a sequence of its own."""
    still = Sequence(
        sequence_id=name,
        patient_id=name,
        view=None,
        length=1,
        height=len(picture),
        width=picture.shape[1],
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_digest="",
    )
    return SeenFrame(still, 0, of_other, Fingerprint.of(picture))


def arcade_cohort(data: Path, work: Path, name: str) -> Cohort:
    """One task of ARCADE as a cohort."""
    cohort = work / f"arcade-{name}"
    if not (cohort / "annotations.json").is_file():
        with tarfile.open(data / f"arcade_{name}_1200.tar") as archive:
            archive.extractall(work / f"arcade-{name}-source", filter="data")
        import_arcade(work / f"arcade-{name}-source", cohort)
    return Cohort.open(cohort)


if __name__ == "__main__":
    measure_parts(__doc__, arcade, phantoms)
