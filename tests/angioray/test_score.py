"""Anybody's COCO results are scored as pycocotools scores them, and mistakes are told."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from angioray import CONFIGS
from angioray.__main__ import COMMANDS
from angioray.study.coverage import judged_healthy, judged_on
from angioray.study.published_frames import CohortFrames
from angioray.study.run_folder import Judgement, RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings
from angioray.study.study import Study
from preprocess.cohort import Cohort
from preprocess.console.command_line import run_one_of
from preprocess.importers.arcade import import_arcade
from preprocess.importers.cadica import import_cadica
from preprocess.importers.danilov import import_danilov
from tests.angioray.synthetic_study import write_cohort, write_study

SIDE = 64
CATEGORIES = [{"id": 1, "name": "1"}, {"id": 26, "name": "stenosis"}]
LESIONS = {"10": [[10, 10, 20, 20]], "2": [[0, 0, 16, 16], [30, 30, 20, 12]], "7": [[40, 4, 9, 9]]}
"""By file name: neither its number nor its place is the image's id."""
IDS = {"10": 1, "2": 2, "7": 3}


def listing(lesions: Mapping[str, list[list[float]]], ids: Mapping[str, int]) -> dict[str, Any]:
    """A COCO file as ARCADE's are."""
    boxes = [(ids[name], box) for name, drawn in lesions.items() for box in drawn]
    return {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": SIDE, "height": SIDE}
            for name, i in ids.items()
        ],
        "categories": CATEGORIES,
        "annotations": [
            {"id": number, "image_id": i, "category_id": 26, "bbox": box, "iscrowd": 0}
            | {"area": box[2] * box[3]}
            for number, (i, box) in enumerate(boxes, start=1)
        ],
    }


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (SIDE, SIDE), np.uint8)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture(scope="module")
def arcade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of ARCADE's layout, and beside it ``val.json`` and ``train.json``."""
    folder = tmp_path_factory.mktemp("arcade")
    train = {"10": [[5.0, 30.0, 20.0, 9.0]], "2": [[30.0, 1.0, 8.0, 8.0]], "7": [[1.0, 1, 9, 9]]}
    for part, lesions in (("train", train), ("val", LESIONS)):
        for name in lesions:
            picture(folder / f"set/stenosis/{part}/images/{name}.png")
        path = folder / f"set/stenosis/{part}/annotations/{part}.json"
        path.parent.mkdir()
        path.write_text(json.dumps(listing(lesions, IDS)))
        (folder / f"{part}.json").write_text(path.read_text())
    import_arcade(folder / "set", folder / "cohort", processes=1)
    return folder


def result(image: Any, box: Any, score: Any, category: Any = 26) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


HAND = [
    result(1, [10, 10, 20, 20], 0.9),
    result(1, [40, 40, 20, 20], 0.8),
    result(2, [30, 30, 20, 12], 0.7),
    result(2, [2, 40, 20, 20], 0.3),
]
"""Right, wrong, right, wrong; a third and a fourth lesion of the four are missed."""


def score(
    cohort: Path, rows: Any, tmp_path: Path, *words: str, config: str = "arcade"
) -> dict[str, Any]:
    """The JSON that the command writes."""
    path, out = tmp_path / "results.json", tmp_path / "out.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    argv = ["score", str(cohort), str(path), "--config", config, "--out", str(out), *words]
    run_one_of(COMMANDS, prog="angioray", argv=argv)
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def score_runs(cohort: Path, runs: Path, *words: str) -> dict[str, Any]:
    """The JSON that the command writes of a runs folder."""
    out = runs.parent / "out.json"
    argv = ["score", str(cohort), str(runs), "--out", str(out), *words]
    run_one_of(COMMANDS, prog="angioray", argv=argv)
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def coco_eval(truth: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[float, float]:
    """AP at IoU 0.50 to 0.95 and at 0.50, by pycocotools alone."""
    coco = COCO()
    coco.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def test_by_hand_and_by_pycocotools(
    arcade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = score(arcade / "cohort", HAND, tmp_path, "--images", str(arcade / "val.json"))
    value = {name: metric["value"] for name, metric in found["metrics"].items()}
    # Precision 1 at the 26 recalls up to 1/4, 2/3 at the 25 up to 1/2, of 101.
    by_hand = (26 + 25 * 2 / 3) / 101
    assert value["AP@IoU0.50/max100"] == pytest.approx(by_hand)
    assert value["AP@IoU0.20/max100"] == pytest.approx(by_hand)
    assert value["recall@IoU0.20/score0.50/max5"] == 2 / 4
    assert value["precision@IoU0.20/score0.50/max5"] == 2 / 3
    truth = listing(LESIONS, IDS)
    assert (value["AP@IoU0.50:0.95/max100"], value["AP@IoU0.50/max100"]) == pytest.approx(
        coco_eval(truth, [dict(row) for row in HAND]), abs=1e-9
    )
    assert found["metrics"]["AP@IoU0.50/max100"]["ci95"] is None, "of three images none is honest"
    said = capsys.readouterr().out
    assert "Judged: 3 frames with 4 lesions of 3 sequences, 0 of healthy arteries; without" in said
    assert "without a result are 1 frames with boxes and 0 healthy ones." in said
    assert "one for each image, for the set names no patients" in said
    assert (found["frames"], found["frames_without_a_result"], found["patients"]) == (3, 1, 3)


def test_random_boxes_of_equal_scores_are_ranked_as_pycocotools_ranks_them(
    arcade: Path, tmp_path: Path
) -> None:
    random, truth = np.random.default_rng(0), listing(LESIONS, IDS)
    for _ in range(5):
        rows = [
            result(i, (np.array(box) + random.normal(0, 2, 4)).clip(1).tolist(), score)
            for name, i in IDS.items()
            for box in LESIONS[name] * 6
            for score in random.choice([0.3, 0.5, 0.7], 1).tolist()
        ]
        random.shuffle(rows)  # type: ignore[arg-type]
        found = score(arcade / "cohort", rows, tmp_path, "--images", str(arcade / "val.json"))
        ap = (found["metrics"][f"AP@IoU{iou}/max100"]["value"] for iou in ("0.50:0.95", "0.50"))
        assert tuple(ap) == pytest.approx(coco_eval(truth, rows), abs=1e-9)


def test_frames_are_found_by_number_and_by_name(arcade: Path, tmp_path: Path) -> None:
    by_listing = score(arcade / "cohort", HAND, tmp_path, "--images", str(arcade / "val.json"))
    names = {i: f"val/images/{name}.jpg" for name, i in IDS.items()}
    annotations = json.loads((arcade / "cohort/annotations.json").read_text())
    numbers = {
        i: next(
            image["id"]
            for image in annotations["images"]
            if image["file_name"].startswith(f"arcade_stenosis_val_{name}/")
        )
        for name, i in IDS.items()
    }
    for ids in (names, numbers):
        rows = [row | {"image_id": ids[row["image_id"]], "category_id": 1} for row in HAND]
        assert score(arcade / "cohort", rows, tmp_path) == by_listing
    rows = [*rows, result(1, [0, 0, 9, 9], 0.9, category=1)]  # of the train part
    assert score(arcade / "cohort", rows, tmp_path) == by_listing


def test_frames_of_a_cine_are_found_though_numbers_are_missing(tmp_path: Path) -> None:
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for number in (3, 4, 9):
        picture(tmp_path / f"set/14_002_5_{number:04d}.bmp")
        rows.append(f"14_002_5_{number:04d}.bmp,{SIDE},{SIDE},Stenosis,{number},9,30,30")
    (tmp_path / "set/labels.csv").write_text("\n".join(rows))
    import_danilov(tmp_path / "set", tmp_path / "cohort", processes=1)
    found = [result("14_002_5_0009", [9, 9, 21, 21], 0.9, category=1)]
    (tmp_path / "plain.yaml").write_text("detector: {judged_frames: optimal}")
    said = score(tmp_path / "cohort", found, tmp_path, config=str(tmp_path / "plain.yaml"))
    assert said["frames"] == 3
    assert said["metrics"]["precision@IoU0.20/score0.50/max5"]["value"] == 1


def cadica(folder: Path, patients: int) -> Path:
    """A cohort of CADICA's layout; patients of even numbers are healthy."""
    for number in range(1, patients + 1):
        patient, healthy = f"p{number}", number % 2 == 0
        listed = "nonlesionVideos.txt" if healthy else "lesionVideos.txt"
        video = folder / "set" / patient / "v1"
        names = [f"{patient}_v1_0000{number}" for number in (1, 2)]
        for name in names:
            picture(video / f"input/{name}.png")
            if not healthy:
                (video / "groundtruth").mkdir(exist_ok=True)
                (video / f"groundtruth/{name}.txt").write_text("9 9 20 20 p50_70")
        (video / f"{patient}_v1_selectedFrames.txt").write_text("\n".join(names))
        (video.parent / listed).write_text("v1")
    import_cadica(folder / "set", folder / "cohort", processes=1)
    return folder / "cohort"


def test_healthy_arteries_are_judged_with_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cadica(tmp_path, 2)
    (tmp_path / "plain.yaml").write_text("detector: {judged_frames: optimal}")
    boxes = {"p1_v1_00001": [[9, 9, 20, 20]], "p2_v1_00001": [[1, 1, 9, 9], [30, 30, 9, 9]]}
    rows = [
        result(name, box, 0.9 - 0.1 * number, category=1)
        for name, of_frame in boxes.items()
        for number, box in enumerate(of_frame, start=name.startswith("p2"))
    ]
    found = score(tmp_path / "cohort", rows, tmp_path, config=str(tmp_path / "plain.yaml"))
    value = {name: metric["value"] for name, metric in found["metrics"].items()}
    assert (found["frames"], found["healthy_frames"]) == (4, 2)
    assert value["healthy/false_boxes_per_frame@score0.50/max5"] == 2 / 2
    assert value["healthy/specificity_sequence@score0.50"] == 0
    assert value["precision@IoU0.20/score0.50/max5"] == 1 / 3
    assert value["AP@IoU0.30/max100"] == value["AP@IoU0.50/max100"] == pytest.approx(51 / 101)
    said = capsys.readouterr().out
    assert "false boxes a healthy frame" in said
    assert "without a result are 1 frames with boxes and 1 healthy ones." in said
    assert "No result is on a healthy frame." not in said
    score(tmp_path / "cohort", rows[:1], tmp_path, config=str(tmp_path / "plain.yaml"))
    assert "No result is on a healthy frame." in capsys.readouterr().out


def test_runs_that_judged_no_healthy_arteries_have_no_rows_of_them(tmp_path: Path) -> None:
    place = cadica(tmp_path, 4)
    cohort = Cohort.open(place)
    settings = StudySettings(folds=2, tasks=("detector",))
    study = Study.plan(cohort, tmp_path / "runs", settings)
    study.freeze(cohort)
    index = CohortIndex.of(cohort, settings.view_classes)
    for run in study.runs:
        judged = [cohort.image_id(*key) for key in judged_on(study, index, run)]
        looked_at = [cohort.image_id(*key) for key in judged_healthy(study, index, run)]
        assert len(judged) == len(looked_at) == 1
        healthy = [{"image_id": i, "patient_is_healthy": True} for i in looked_at]
        RunFolder.of(study.folder, run).finish(run, Judgement([], judged, {}, {}, healthy), 1, 1)
    row = "healthy/specificity_sequence@score0.50"
    found = score_runs(place, tmp_path / "runs")
    assert (found["healthy_frames"], found["metrics"][row]["value"]) == (2, 1)
    for path in (tmp_path / "runs").glob("*/healthy_images.json"):
        path.unlink()  # as of an earlier version
    found = score_runs(place, tmp_path / "runs")
    assert (found["frames"], found["healthy_frames"]) == (2, 0)
    assert row not in found["metrics"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("{", "line 1, is no JSON"),
        ({"annotations": []}, "holds an object, expected COCO results: a list of {"),
        ([{"image_id": 1}], "result 1: it has no category_id. Expected {"),
        ([result(9, [1, 1, 9, 9], 0.5)], "result 1: image 9 is not listed in "),
        ([result(1, [1, 1, 9, 9], 0.5, 1)], "its category_id is 1; lesions are 26. Leave other"),
        ([result(1, [1, 1, 9], 0.5)], "its bbox is [1, 1, 9]. Expected [x, y, width, height]."),
        ([result(1, [9, 9, -4, 4], 0.5)], "of a negative size. Expected [x, y, width, height]."),
        ([result(1, [1, 1, 9, 9], float("nan"))], "its score is nan. Expected a number from 0 to"),
        ([result(1, [1, 1, 9, 9], 55)], "its score is 55. Expected a number from 0 to 1."),
        ([result(1, [40, 40, 60, 60], 0.5)], "has boxes that look like corners x1, y1, x2, y2"),
        ([result(1, [0.1, 0.1, 0.2, 0.2], 0.5)], "has boxes that are shares of the picture"),
        ([HAND[0], *HAND], "has the same box with the same score 2 times, on image 1"),
    ],
)
def test_a_mistake_is_told(
    rows: Any, expected: str, arcade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        score(arcade / "cohort", rows, tmp_path, "--images", str(arcade / "val.json"))
    assert expected in capsys.readouterr().err


def test_images_of_another_part_are_not_taken_for_those_of_the_same_name(
    arcade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        score(arcade / "cohort", HAND, tmp_path, "--images", str(arcade / "train.json"))
    assert (
        "other boxes than the cohort on 3 of 3 images of the same name" in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        score(arcade / "cohort", [result("11.png", [1, 1, 9, 9], 0.5, 1)], tmp_path)
    assert "'11.png' is no image of the cohort.\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # the first images of the cohort are of the train part
        score(arcade / "cohort", [result(i, [1, 1, 9, 9], 0.5, 1) for i in (1, 2)], tmp_path)
    assert "has 2 results, none on a frame that is judged." in capsys.readouterr().err


def test_a_hospital_s_cohort_is_scored_by_its_own_ids(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, patients=2)
    with pytest.raises(ValueError, match=r"It knows no file names: give its own image ids\."):
        CohortFrames(cohort, []).find("11.png")


def test_of_a_study_one_variant_and_its_first_seed_are_one_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_cohort(tmp_path / "cohort")
    runs = write_study(tmp_path / "runs", cohort, seeds=2, leave_out=["detector-RCA-BG-128-fold3"])
    found = score_runs(tmp_path / "cohort", runs)
    files = sorted(runs.glob("detector-*-B-128-fold?/predictions.json"))
    rows = [row for path in files for row in json.loads(path.read_text())]
    (tmp_path / "plain.yaml").write_text("seed: 0")
    alone = score(tmp_path / "cohort", rows, tmp_path, config=str(tmp_path / "plain.yaml"))
    assert found["metrics"] == alone["metrics"]
    assert found["frames"] == 20
    assert score_runs(tmp_path / "cohort", runs, "--variant", "BG")["frames"] == 18
    said = capsys.readouterr().out
    assert "10 detectors of variant B taken (B, BG are there), of 2 seeds the first." in said
    assert "9 detectors of variant BG taken" in said
    assert "their folds are not judged: detector-RCA-BG-128-fold3." in said
    folds = tmp_path / "folds.json"
    patients = sorted({s.patient_id for s in cohort.sequences.values()})
    folds.write_text(json.dumps([{"validation": patients[i::2]} for i in (0, 1)]))
    for words, mistake in (
        (
            ("--detector.judged_frames", "optimal"),
            "on 20 frames; these settings ask for 120",
        ),
        (("--splits", str(folds)), "detector-LCA-B-128-fold0 has another fold than the protocol."),
        (("--variant", "NL"), "has no detector of variant 'NL': "),
    ):
        with pytest.raises(SystemExit):
            score_runs(tmp_path / "cohort", runs, *words)
        assert mistake in capsys.readouterr().err


def test_the_real_val_part(tmp_path: Path) -> None:
    """ARCADE's own files, with boxes near the real ones and scores of one digit."""
    real = Path(os.environ.get("ANGIORAY_REAL_DATA", CONFIGS.parents[2] / "shared/data"))
    if not (real / "arcade_sample").is_dir():
        pytest.skip("no real data here")
    import_arcade(real / "arcade_sample", tmp_path / "cohort", processes=1)
    path = real / "arcade_sample/stenosis/val/annotations/val.json"
    truth = json.loads(path.read_text())
    there = {p.name for p in (real / "arcade_sample/stenosis/val/images").iterdir()}
    truth["images"] = [image for image in truth["images"] if image["file_name"] in there]
    ids = {image["id"] for image in truth["images"]}
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in ids]
    (tmp_path / "val.json").write_text(json.dumps(truth))
    random = np.random.default_rng(1)
    rows = [
        result(a["image_id"], (a["bbox"] + random.normal(0, 4, 4)).clip(1).tolist(), score)
        for a in truth["annotations"] * 3
        for score in random.integers(1, 10, 1) / 10
    ]
    found = score(tmp_path / "cohort", rows, tmp_path, "--images", str(tmp_path / "val.json"))
    ap = (found["metrics"][f"AP@IoU{iou}/max100"]["value"] for iou in ("0.50:0.95", "0.50"))
    assert tuple(ap) == pytest.approx(coco_eval(truth, rows), abs=1e-6)
    low, high = found["metrics"]["AP@IoU0.50/max100"]["ci95"]
    assert 0 < low < found["metrics"]["AP@IoU0.50/max100"]["value"] < high < 1
