"""Damaged annotation files by the thousand: each gives regions and mismatches, or a sentence."""

from __future__ import annotations

import math
import plistlib
import random
import re
from pathlib import Path

import pytest

from preprocess.annotations.mismatches import Mismatch
from preprocess.annotations.region_files import read_regions
from preprocess.annotations.region_matching import fitted
from preprocess.annotations.regions import Region
from tests.preprocess.annotations.test_annotations import (
    CENTRE,
    COCO,
    CORNERS,
    CVAT,
    OSIRIX_JSON,
    SIZE_1024,
    VOC,
    XML,
    coco_box,
    cvat_box,
    voc_box,
)
from tests.preprocess.tiny_archive import osirix, roi

FILES = {
    "osirix.xml": XML,
    "osirix.json": OSIRIX_JSON,
    "osirix.plist": plistlib.dumps(osirix({3: [roi((1, 2, 30, 40), "1.2.3")]})).decode(),
    "coco.json": COCO,
    "coco_modifiers.json": coco_box(
        image={"width": 1024, "height": 1024, "frame_index": 5},
        attributes={"rotation": 30.0, "track_id": 2, "keyframe": True},
        iscrowd=0,
    ),
    "voc.xml": VOC,
    "voc_turned.xml": voc_box(
        f"<robndbox>{CENTRE}<angle>0.5</angle></robndbox><difficult>0</difficult>",
        f"<size>{SIZE_1024}</size>",
    ),
    "voc_cvat.xml": voc_box(f"<bndbox>{CORNERS}</bndbox>", f"<size>{SIZE_1024}</size>"),
    "cvat.xml": CVAT,
    "cvat_turned.xml": cvat_box("30", size=f"<original_size>{SIZE_1024}</original_size>"),
}
VALUES = [
    *(b"null", b"true", b"[]", b"{}", b"1e999", b"-7", b"7.5", b'"7"', b'"\\ud800"', b"9" * 400),
    *(b"NaN", b"-Infinity", b"\xff", b"<", b"&amp;", b"1e9", b"0", b"1e-300", b"\xc3\xa9"),
    b"_" * 3000,
]
TOKENS = re.compile(rb"[-\d.]+|\"\w+\"|<\w+>")


def mutated(whole: bytes, generator: random.Random) -> bytes:
    """Bytes changed, cut out, doubled or moved, and exchanged for other values."""
    damaged = bytearray(whole)
    for _ in range(generator.randint(1, 3)):
        at, other = (generator.randrange(len(damaged)) for _ in range(2))
        length = generator.randint(1, 40)
        kind = generator.randrange(6)
        if kind == 0:
            damaged[at] = generator.randrange(256)
        elif kind == 1:
            del damaged[at : at + length]
        elif kind == 2:
            damaged[at:at] = damaged[other : other + 2 * length]
        else:
            tokens = [found.span() for found in TOKENS.finditer(bytes(damaged))]
            start, end = generator.choice(tokens or [(at, at + 1)])
            damaged[start:end] = generator.choice(VALUES)
        if not damaged:
            return b""
    return bytes(damaged)


def check(path: Path) -> None:
    try:
        found = read_regions(path)
    except ValueError as problem:
        assert str(path) in str(problem)
        return
    for item in found:
        if isinstance(item, Mismatch):
            assert str(item).startswith(str(path))
            continue
        assert isinstance(item, Region) and item.places
        assert all(place.frame_index is None or place.frame_index >= 0 for place in item.places)
        box, mismatches = fitted(item, width=512, height=384)
        assert box or mismatches
        if box:
            assert all(map(math.isfinite, box))
            assert 0 <= box[0] <= box[2] - 1 and box[2] <= 512
            assert 0 <= box[1] <= box[3] - 1 and box[3] <= 384


@pytest.mark.parametrize("name", FILES)
def test_mutations_end_in_regions_or_a_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    assert any(isinstance(item, Region) for item in read_regions(path)), "the file is sound"
    for seed in range(500):
        path.write_bytes(mutated(FILES[name].encode(), random.Random(seed)))
        check(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_more_mutations(tmp_path: Path, name: str) -> None:
    for seed in range(1000, 11_000):
        (tmp_path / name).write_bytes(mutated(FILES[name].encode(), random.Random(seed)))
        check(tmp_path / name)
