"""The ARCADE layout, with its known quirks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from preprocess.annotations.mismatches import mismatches_path
from preprocess.cohort import Cohort, Phase, read_manifest
from preprocess.importers.arcade import import_arcade
from tests.preprocess.tiny_archive import noise

CATEGORIES = [{"id": n, "name": name} for n, name in ((1, "1"), (6, "6"), (26, "stenosis"))]


def split(folder: Path, images: dict[int, str], annotations: list[dict[str, Any]]) -> None:
    (folder / "annotations").mkdir(parents=True)
    document = {
        "images": [{"id": n, "file_name": name} for n, name in images.items()],
        "annotations": annotations,
        "categories": CATEGORIES,
    }
    (folder / "annotations" / f"{folder.name}.json").write_text(json.dumps(document))


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def of(image_id: int, category: int, *bbox: float) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category, "bbox": list(bbox)}


@pytest.fixture
def arcade(tmp_path: Path) -> Path:
    src = tmp_path / "arcade"
    grey = noise(3, 40)
    picture(src / "stenosis/val/images/7.png", grey[0])
    picture(src / "stenosis/val/images/8.png", np.repeat(grey[1][..., None], 3, axis=2))
    # The ids run against the names, as in the published val part.
    split(
        src / "stenosis/val",
        {1: "8.png", 2: "7.png", 3: "9.png"},
        [of(2, 26, 5, 6, 10, 12), of(1, 26, 35, 35, 20, 20), of(1, 26, 3, 3, 0, 9)],
    )
    for name in ("1.png", "2.png"):
        picture(src / f"syntax/train/images/{name}", grey[2])
    split(
        src / "syntax/train",
        {1: "1.png", 2: "2.png"},
        [of(1, 1, 0, 0, 9, 9), of(2, 6, 0, 0, 9, 9)],
    )
    picture(src / "syntax/val/images/1.png", grey[2])
    (src / "syntax/val/views.csv").write_text("file_name,view\n1.png,LCA\n")
    return src


def test_both_parts_become_one_cohort(
    arcade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_arcade(arcade, tmp_path / "cohort", processes=1)
    cohort = Cohort.open(tmp_path / "cohort")
    views = {name: sequence.view for name, sequence in cohort.sequences.items()}
    assert views == {
        "arcade_stenosis_val_7": None,
        "arcade_stenosis_val_8": None,
        "arcade_syntax_train_1": "RCA",
        "arcade_syntax_train_2": "LCA",
        "arcade_syntax_val_1": "LCA",
    }
    assert len({s.patient_id for s in cohort.sequences.values()}) == 5
    assert all(s.frames_in(Phase.OPTIMAL) == range(1) for s in cohort.sequences.values())
    found = {box.sequence_id: box.box_xyxy for box in cohort.boxes}
    assert found == {
        "arcade_stenosis_val_7": (5, 6, 15, 18),
        "arcade_stenosis_val_8": (35, 35, 40, 40),
    }
    np.testing.assert_array_equal(cohort.cine("arcade_stenosis_val_8")[0], noise(3, 40)[1])
    (rejected,) = [r for r in read_manifest(cohort.folder) if r.status == "rejected"]
    assert "no such image" in rejected.reason
    assert "names no patient" in capsys.readouterr().out


def test_again_it_writes_the_same(arcade: Path, tmp_path: Path) -> None:
    import_arcade(arcade, tmp_path / "cohort", processes=1)
    first = (tmp_path / "cohort/annotations.json").read_bytes()
    import_arcade(arcade, tmp_path / "cohort", processes=1)
    assert (tmp_path / "cohort/annotations.json").read_bytes() == first


def test_wrong_folders_are_said(arcade: Path, tmp_path: Path, toy_cohort: Cohort) -> None:
    with pytest.raises(ValueError, match="is no ARCADE folder"):
        import_arcade(toy_cohort.folder, tmp_path / "cohort")
    with pytest.raises(ValueError, match="holds another cohort"):
        import_arcade(arcade, toy_cohort.folder)
    for path in arcade.rglob("*.json"):
        path.write_text('{"images": []}')
    (arcade / "syntax/val/views.csv").unlink()
    with pytest.raises(ValueError, match="not the COCO file that ARCADE publishes: it lists no im"):
        import_arcade(arcade, tmp_path / "cohort")


def test_a_damaged_part_is_counted_and_the_others_imported(
    arcade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = arcade / "stenosis/val/annotations/val.json"
    damaged.write_text('{"images": [')
    (arcade / "syntax/val/views.csv").write_text("name,view\n1.png,LCA\n")
    import_arcade(arcade, tmp_path / "cohort", processes=1)
    names = list(Cohort.open(tmp_path / "cohort").sequences)
    assert names == ["arcade_syntax_train_1", "arcade_syntax_train_2"]
    lines = mismatches_path(tmp_path / "cohort").read_text().splitlines()
    assert [line.partition(": unreadable: ")[0] for line in lines] == [
        str(damaged),
        str(arcade / "syntax/val/views.csv"),
    ]
    assert "2 annotation files are damaged" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "boxes"), [("Stenosis", 1), ("no_stenosis", 0), ("sten", 1)])
def test_the_stenoses_are_known_by_name_and_none_is_lost_in_silence(
    arcade: Path, tmp_path: Path, name: str, boxes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = arcade / "stenosis/val/annotations/val.json"
    path.write_text(path.read_text().replace('"stenosis"', f'"{name}"'))
    import_arcade(arcade, tmp_path / "out", processes=1)
    found = Cohort.open(tmp_path / "out").boxes
    assert len([box for box in found if "stenosis_val_7" in box.sequence_id]) == boxes
    assert (name == "Stenosis") == ("categor" not in capsys.readouterr().out)


@pytest.mark.parametrize(
    ("table", "view"),
    [
        ("file_name;view\n1.png;LCA\n", "LCA"),
        ("View,File_name\nRCA,1.png\n", "RCA"),
        ('file_name,view\n1.png,"LCA\n' + "2.png,RCA\n" * 20_000, None),
        ("name,view\n1.png,LCA\n", None),
    ],
)
def test_the_table_of_views_is_read_as_programs_save_it_or_counted_as_damaged(
    arcade: Path, tmp_path: Path, table: str, view: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (arcade / "syntax/val/views.csv").write_bytes(table.encode("utf-16"))
    import_arcade(arcade, tmp_path / "out", processes=1)
    found = Cohort.open(tmp_path / "out").sequences.get("arcade_syntax_val_1")
    assert (found and found.view) == view
    assert ("1 annotation files are damaged" in capsys.readouterr().out) == (view is None)


def test_two_images_of_one_id_are_nobody_s(arcade: Path, tmp_path: Path) -> None:
    path = arcade / "stenosis/val/annotations/val.json"
    document = json.loads(path.read_text())
    document["images"].append({"id": 2, "file_name": "8.png"})
    path.write_text(json.dumps(document))
    import_arcade(arcade, tmp_path / "cohort", processes=1)
    boxed = {box.sequence_id for box in Cohort.open(tmp_path / "cohort").boxes}
    assert boxed == {"arcade_stenosis_val_8"}
    assert "same id: image_id 2" in mismatches_path(tmp_path / "cohort").read_text()
