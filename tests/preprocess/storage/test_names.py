"""No name that is read back leads out of its folder: of a file, a cine, a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from angioray.report.runs import ReportedStudy
from angioray.study.study import Study
from preprocess.cohort import Cohort, read_manifest, store_cine
from preprocess.storage import Storage, open_storage
from preprocess.storage.names import check_name, check_path
from tests.angioray.settings import TOY
from tests.s3_server import S3
from tests.toy_cohort import write_toy_cohort

OUTSIDE = (
    *("..", ".", "", "a/b", "/etc/passwd", "../up", "a/../../b", "a\\b", "..\\up", "a\0b", "a\nb"),
    *("a\x1b[2J", "a\x9b2J"),
    *("C:", "c:up", "x" * 256, "é" * 128, "\ud800", 7, None, ["a"]),
)
WITHIN = (
    "a",
    ".lock",
    "..a",
    "a..b",
    "S1 (2)",
    "detector-RCA-B-512-fold0",
    "é" * 127,
    "frames.zarr",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_elsewhere_is_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no name of a run: it"):
        check_name(name, "a run")
    folder: Any = open_storage(tmp_path / "runs")
    for use in (
        folder.read,
        folder.exists,
        folder.delete,
        lambda name: folder.write(name, b""),
        lambda name: folder.append(name, b""),
        lambda name: folder / name,
    ):
        with pytest.raises(ValueError, match="is no name of a file"):
            use(name)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", WITHIN)
def test_other_names_are_names(name: str, tmp_path: Path) -> None:
    assert check_name(name) == name
    (open_storage(tmp_path) / name).write("file", b"1")
    assert (tmp_path / name / "file").read_bytes() == b"1"


def test_a_path_is_names_with_slashes() -> None:
    assert check_path("frames.zarr/S1/c/0/0/0") == "frames.zarr/S1/c/0/0/0"
    for path in ("a//b", "/a", "a/", "a/../b", ""):
        with pytest.raises(ValueError, match="is no name"):
            check_path(path)


def test_a_store_has_the_same_rule(s3: S3) -> None:
    folder: Storage = open_storage(s3.uri("rule"))
    for name in ("../up", "..", "", "/a", "a\\b", "a/b"):
        with pytest.raises(ValueError, match="is no name"):
            folder.write(name, b"1")
        with pytest.raises(ValueError, match="is no name"):
            folder / name
    assert s3.keys("rule") == s3.keys("up") == []
    with pytest.raises(ValueError, match="is no name of a folder in an object store"):
        open_storage(s3.uri("rule/../other"))


@pytest.mark.parametrize(
    "key",
    [
        "frames.zarr/../../../planted",
        "frames.zarr/S00RCA/../../../../planted",
        "frames.zarr//planted",
        "frames.zarr/a\\..\\..\\planted",
    ],
)
def test_a_cohort_in_a_store_writes_nothing_outside_its_copy(
    s3: S3, toy_cohort: Cohort, key: str
) -> None:
    location = s3.upload(toy_cohort.folder, "evil/cohort")
    Cohort.open(location)
    s3.put(f"evil/cohort/{key}", b"import os")
    try:
        with pytest.raises(ValueError, match=r"is no name of an object below s3://.*evil/cohort"):
            Cohort.open(location)
    finally:
        s3.client.delete_object(Bucket="angiograms", Key=f"evil/cohort/{key}")
    assert not list(s3.cache.parent.rglob("*planted*"))


@pytest.mark.parametrize("name", ["../../elsewhere/frames.zarr/S00RCA", "..", "", "a\\b", 3])
def test_a_cohort_names_no_cine_elsewhere(tmp_path: Path, name: object) -> None:
    write_toy_cohort(tmp_path / "elsewhere", patients=1)
    cohort = write_toy_cohort(tmp_path / "cohort", patients=1)
    path = cohort.folder / "annotations.json"
    document = json.loads(path.read_text())
    document["videos"][0]["sequence_id"] = name
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="is no name of a sequence"):
        Cohort.open(cohort.folder)


def test_a_cine_is_stored_under_a_name(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort", patients=1)
    first = next(iter(cohort.sequences))
    odd = cohort.sequences[first].__class__(
        **{**vars(cohort.sequences[first]), "sequence_id": "../../planted"}
    )
    with pytest.raises(ValueError, match="is no name of a sequence"):
        store_cine(cohort.folder, odd, cohort.cine(first))
    assert not list(tmp_path.rglob("planted"))


def test_a_manifest_names_cines(tmp_path: Path) -> None:
    head = "hmac_sha256,status,reason,sequence_id,patient_id,view,exclude,no_lesion,"
    row = "reference_boxes,ifr\nab,accepted,,../S1,P1,,,False,0,\n"
    (tmp_path / "manifest.csv").write_text(head + row)
    with pytest.raises(ValueError, match=r"manifest\.csv is not what was written .*no name"):
        read_manifest(tmp_path)


def _renamed(document: dict[str, Any]) -> None:
    document["runs"][0]["name"] = "../../outside"


def _of_another_view(document: dict[str, Any]) -> None:
    document["runs"][-1]["view"] = "../../outside"


def _otherwise(document: dict[str, Any]) -> None:
    document["runs"][0]["name"] = document["runs"][1]["name"]


def _split(document: dict[str, Any]) -> None:
    document["splits"]["view"]["folds"][0]["train"][0] = "../../outside"


def _of_no_fold(document: dict[str, Any]) -> None:
    document["runs"][0]["fold"] = 7
    document["runs"][0]["name"] = "view-32-fold7"


def _numbered(document: dict[str, Any]) -> None:
    document["runs"][0]["size"] = "32"


def _listless(document: dict[str, Any]) -> None:
    document["runs"] = 3


def _set(document: dict[str, Any]) -> None:
    document["settings"] = {"no": "setting"}


def _nested(document: dict[str, Any]) -> None:
    document["settings"]["detector"] = json.loads("[" * 900 + "]" * 900)


@pytest.mark.parametrize(
    "change",
    [
        _renamed,
        _of_another_view,
        _otherwise,
        _split,
        _of_no_fold,
        _numbered,
        _listless,
        _set,
        _nested,
    ],
)
def test_a_study_names_no_folder_outside(toy_cohort: Cohort, tmp_path: Path, change: Any) -> None:
    runs = tmp_path / "a" / "b" / "runs"
    Study.plan(toy_cohort, runs, TOY).freeze(toy_cohort)
    path = runs / "study.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    for read in (Study.open, ReportedStudy.open):
        with pytest.raises(ValueError, match=r"study.json is damaged \("):
            read(runs)
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "b", "runs", "study.json"]
