"""What names of categories say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preprocess.annotations.categories import is_lesion, is_no_lesion
from preprocess.annotations.region_files import read_regions
from preprocess.annotations.regions import Region


@pytest.mark.parametrize(
    ("names", "lesion", "no_lesion"),
    [
        (["Stenosis ", "STENOSES", "st\u00e9nose", "ste\u0301nose", "L\u00e4sion"], True, False),
        (["stenosis_LAD", "Stenosis (RCA)", "mild ostial lesion", "culprit-lesion"], True, False),
        (["nonlesion", "no_stenosis", "NoLesion", "not a lesion", "stenosis: no"], False, True),
        (["lesion-free", "stenosisfree", "keine Stenose", "pas de st\u00e9nose"], False, True),
        (["healthy vessel", "guide catheter", "LAD artery", "background"], False, True),
        (["pre-stenosis", "lesion_videos", "p50_70", "1", "", "stent stenosis"], False, False),
    ],
)
def test_every_word_of_a_name_counts(names: list[str], lesion: bool, no_lesion: bool) -> None:
    for name in names:
        assert (is_lesion(name), is_no_lesion(name)) == (lesion, no_lesion), name


@pytest.mark.parametrize(
    ("categories", "category_id", "expected"),
    [
        ([{"id": 0, "name": 0}, {"id": 1, "name": "stenosis"}], 0, "0"),
        ([{"id": 7}, {"id": 1, "name": "stenosis"}], 7, "7"),
        ([{"id": 7, "name": ""}], 7, "7"),
        ([{"id": 7, "name": "catheter"}], None, "catheter"),
        ([], None, ""),
        ([{"id": 7, "name": "catheter"}, {"id": 1, "name": "stenosis"}], None, "unreadable value"),
    ],
)
def test_a_category_without_a_name_is_no_lesion_in_silence(
    tmp_path: Path, categories: Any, category_id: int | None, expected: str
) -> None:
    annotation = {"image_id": 5, "bbox": [1, 2, 3, 4], "category_id": category_id}
    images = [{"id": 5, "file_name": "cine7_5.png"}]
    document = {"images": images, "annotations": [annotation], "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(document))
    (found,) = read_regions(tmp_path / "a.json")
    if isinstance(found, Region):
        assert found.category == expected
    else:
        assert f": {expected}: no category_id" in str(found)
