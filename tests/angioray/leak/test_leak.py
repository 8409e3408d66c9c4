"""Copies are found, other pictures are not, and the command says what that means for folds."""

import json
import os
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from angioray.__main__ import COMMANDS
from angioray.leak.duplicates import compared_frames
from angioray.leak.fingerprints import Fingerprint
from angioray.leak.likeness import likeness
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import (
    Cohort,
    Sequence,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.display import Display
from preprocess.console.command_line import run_one_of
from preprocess.importers.arcade import import_arcade
from preprocess.phantom.examples import examples

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
ARCADE = [DATA / f"arcade_{name}_1200.tar" for name in ("stenosis", "views")]
CHESTS, COPIES = 4, 13
SIDE = 512

Picture = NDArray[np.uint8]


def leak(*words: object) -> None:
    run_one_of(COMMANDS, prog="angioray", argv=["leak", *map(str, words)])


def stills(folder: Path, pictures: dict[str, Picture], **parts: str) -> Path:
    """A cohort of pictures, each of a patient of its own."""
    sequences = [
        Sequence(
            sequence_id=name,
            patient_id=name,
            view=None,
            length=1,
            height=len(picture),
            width=picture.shape[1],
            bits_stored=8,
            display=Display(lower=0, upper=255),
            frames_digest=frames_digest(picture[None]),
            reference_frame=0,
            part=parts.get(name),
        )
        for name, picture in pictures.items()
    ]
    for sequence in sequences:
        store_cine(folder, sequence, pictures[sequence.sequence_id][None])
    write_manifest(folder, [])
    write_annotations(folder, sequences, [])
    return folder


def copy_of(picture: Picture, random: np.random.Generator) -> Picture:
    """Shifted by up to 24 of 512 pixels or cropped by up to a tenth, in another window, as JPEG."""
    grey = 255 * (picture.astype(np.float32) / 255) ** random.uniform(0.7, 1.4)
    grey = (grey - 128) * random.uniform(0.75, 1.25) + 128 + random.uniform(-25, 25)
    if random.random() < 0.5:
        move = np.array([[1, 0, random.integers(-24, 25)], [0, 1, random.integers(-24, 25)]], "f4")
        grey = cv2.warpAffine(grey, move, (SIDE, SIDE))
    else:
        side = int(SIDE * random.uniform(0.9, 1))
        x, y = random.integers(SIDE - side + 1, size=2)
        grey = cv2.resize(grey[y : y + side, x : x + side], (SIDE, SIDE))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 96))]
    coded = cv2.imencode(".jpg", np.clip(grey, 0, 255).astype(np.uint8), quality)[1]
    found: Any = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
    return np.asarray(found, np.uint8)


@pytest.fixture(scope="module")
def hearts() -> dict[str, Picture]:
    """Two hearts before each chest: the background is the same, the arteries are others."""
    return {
        f"chest{chest}-heart{heart}": examples(5, chest)[6 * heart].frame
        for chest in range(CHESTS)
        for heart in range(2)
    }


def test_planted_copies_are_found_and_nothing_else(
    hearts: dict[str, Picture], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    planted = {
        f"{name}-copy{number}": copy_of(picture, random)
        for name, picture in hearts.items()
        for number in range(COPIES)
    }
    places = stills(tmp_path / "own", hearts), stills(tmp_path / "other", planted)
    leak(*places, "--out", tmp_path / "leak", "--pairs", 8)
    document = json.loads((tmp_path / "leak" / "leak.json").read_text())
    found = [(pair["sequence_id"], pair["other_sequence_id"]) for pair in document["pairs"]]
    right = [copy.startswith(f"{name}-copy") for name, copy in found]
    assert all(right)
    assert len(found) >= 0.99 * len(planted)
    assert document["groups"] == []
    said = capsys.readouterr().out
    assert f"{len(found)} pairs lie between the cohorts: 8 of 8 sequences" in said
    page = (tmp_path / "leak" / "leak.html").read_text()
    assert page.count("<figure>") == 8
    assert "http" not in page.replace("http-equiv", "")
    assert len((tmp_path / "leak" / "pairs.csv").read_text().splitlines()) == len(found) + 1


def test_groups_join_through_the_other_cohort_and_studies_take_them(
    hearts: dict[str, Picture], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = (picture for name, picture in hearts.items() if name.endswith("heart0"))
    own = {"a": first, "b": others[0], "c": np.roll(first, 9, axis=1), "d": others[1]}
    place = stills(tmp_path / "own", own, a="train", b="train", c="val", d="val")
    other = stills(tmp_path / "other", {"x": others[1], "y": first})
    leak(place, other, "--out", tmp_path / "leak")
    said = capsys.readouterr().out
    assert "Across published parts: train and val 1." in said
    assert "3 pairs lie between the cohorts: 3 of 4 sequences" in said
    document = json.loads((tmp_path / "leak" / "leak.json").read_text())
    assert document["groups"] == [["a", "c"]]
    assert Counter(pair["of_other_cohort"] for pair in document["pairs"]) == {True: 3, False: 1}


def test_likeness_of_a_picture_with_itself_and_with_another(hearts: dict[str, Picture]) -> None:
    patterns = [Fingerprint.of(picture).pattern for picture in hearts.values()]
    assert likeness(patterns[0], patterns[0]) == pytest.approx(1, abs=1e-3)
    assert likeness(patterns[0], patterns[2]) < 0.5


def test_the_frames_that_are_compared(toy_cohort: Cohort) -> None:
    sequence = toy_cohort.sequences["S00RCA"]  # frames 2 to 6 are optimal, 4 is the reference
    assert compared_frames(sequence, 1) == [4]
    assert compared_frames(sequence, 3) == [3, 4, 5]
    assert compared_frames(sequence, 100) == [2, 3, 4, 5, 6]
    assert compared_frames(replace(sequence, reference_frame=None), 1) == [4]


def test_frames_cut_loose_from_their_patients(
    toy_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leak(toy_cohort.folder, "--frame-random", tmp_path / "stills")
    assert "100 stills" in capsys.readouterr().out  # 20 cines of 5 boxed frames
    loose = Cohort.open(tmp_path / "stills")
    assert len(loose.sequences) == len({s.patient_id for s in loose.sequences.values()}) == 100
    assert (loose.cine("S00RCA-f0003") == toy_cohort.cine("S00RCA")[3:4]).all()
    boxes = {b.box_xyxy for b in toy_cohort.boxes if b.sequence_id == "S00RCA"}
    assert {b.box_xyxy for b in loose.boxes if b.sequence_id == "S00RCA-f0003"} == boxes
    study = Study.plan(loose, tmp_path / "runs", StudySettings(folds=2, tasks=("detector",)))
    sides = study.splits["detector/RCA"][0]
    assert {name[:3] for name in sides.train} & {name[:3] for name in sides.validation}
    with pytest.raises(SystemExit):
        leak(toy_cohort.folder, "--frame-random", tmp_path / "stills")
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not all(path.is_file() for path in ARCADE),
    reason="ARCADE is not on this machine (set ANGIORAY_REAL_DATA to its folder)",
)
def test_the_two_tasks_of_arcade_share_images(tmp_path: Path) -> None:
    places = []
    for path in ARCADE:
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path / path.stem, filter="data")
        places.append(tmp_path / f"{path.stem}-cohort")
        import_arcade(tmp_path / path.stem, places[-1])
    leak(*places, "--out", tmp_path / "leak", "--pairs", 0)
    pairs = json.loads((tmp_path / "leak" / "leak.json").read_text())["pairs"]
    between = [pair for pair in pairs if pair["of_other_cohort"]]
    copies = [pair for pair in between if pair["likeness"] > 0.93]
    parts = Counter((pair["part"], pair["other_part"]) for pair in copies)
    assert parts == {
        ("train", "train"): 249,
        ("train", "val"): 71,
        ("val", "train"): 18,
        ("val", "val"): 1,
    }
    assert not [pair for pair in between if 0.91 < pair["likeness"] < 0.95]
