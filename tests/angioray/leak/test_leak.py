"""Copies are found, other pictures are not, and the command says what that means for folds."""

import json
import os
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from angioray.__main__ import COMMANDS
from angioray.leak.duplicates import compared_frames
from angioray.leak.fingerprints import Fingerprint
from angioray.leak.likeness import likeness
from angioray.study.frame_index import FrameIndex
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from benchmarks.measuring.planted_copies import Picture, copy_of
from preprocess.cohort import (
    Cohort,
    Sequence,
    Verdict,
    frames_digest,
    store_cine,
    write_annotations,
    write_manifest,
)
from preprocess.cohort.display import Display
from preprocess.console.command_line import run_one_of
from preprocess.importers.arcade import import_arcade
from preprocess.phantom.examples import examples
from tests.toy_cohort import write_toy_cohort

DATA = Path(os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
ARCADE = [DATA / f"arcade_{name}_1200.tar" for name in ("stenosis", "views")]
CHESTS, COPIES = 4, 13


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
    assert (
        "1 pairs of images within the cohort have near-duplicate frames: 1 groups of 2 of 4" in said
    )
    assert "Whether a group joins patients is not known" in said
    assert "Pairs within it by published parts: train and val 1." in said
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort", patients=3)
    boxes = [
        replace(box, confidence=0.4, verdict={2: Verdict.LOST, 3: Verdict.CHECK}[box.frame_index])
        if box.sequence_id == "S00RCA" and box.frame_index in (2, 3)
        else box
        for box in cohort.boxes
    ]
    boxes.append(replace(boxes[-1], ignored=True))
    write_annotations(cohort.folder, list(cohort.sequences.values()), boxes)
    cohort = Cohort.open(cohort.folder)
    leak(cohort.folder, "--frame-random", tmp_path / "stills")
    said = capsys.readouterr().out
    assert "49 stills" in said, "6 cines of 5 boxed frames, one lost, and 4 of 5 healthy ones"
    assert said.count("--detector.judged_frames optimal --detector.variants '[B]'") == 2
    loose = Cohort.open(tmp_path / "stills")
    assert len(loose.sequences) == len({s.patient_id for s in loose.sequences.values()}) == 49
    assert (loose.cine("S00RCA-f0003") == cohort.cine("S00RCA")[3:4]).all()

    def seen(of: Cohort) -> tuple[Any, ...]:
        """What is trained on and judged, but for the names."""
        index = CohortIndex.of(of, StudySettings().view_classes)
        keys = index.judged_frames(of.sequences, "optimal")
        judged = FrameIndex(cohort=of).judged([of.image_id(*key) for key in keys])
        areas = (judged.truth, judged.ignored)
        return (
            *(sorted(box for each in of.values() for box in each.tolist()) for of in areas),
            *(len(index.detector_frames(of.sequences, variant)) for variant in ("B", "NL")),
            len(index.healthy_frames(of.sequences, "optimal")),
        )

    assert seen(loose) == seen(cohort)
    assert len(seen(loose)[1]) == 2, "a doubtful box and an area to ignore"
    study = Study.plan(loose, tmp_path / "runs", StudySettings(folds=2, tasks=("detector",)))
    sides = study.splits["detector/RCA"][0]
    assert {name[:3] for name in sides.train} & {name[:3] for name in sides.validation}
    with pytest.raises(SystemExit):
        leak(cohort.folder, "--frame-random", tmp_path / "stills")
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
