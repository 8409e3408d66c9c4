"""Files found while others are read."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocess.cohort import Cohort, read_manifest
from preprocess.ingest import file_discovery
from preprocess.ingest.command import IngestSettings, ingest
from preprocess.ingest.file_discovery import FileDiscovery
from preprocess.ingest.journal import Journal, Record
from tests.preprocess.tiny_archive import SIZE, Archive

NOBODY = 65534


def test_every_file_at_any_depth_in_a_fixed_order_but_ours(tmp_path: Path) -> None:
    written = ("a.angioray-sr.dcm", ".a.angioray-pr.dcm.12-34.partial")
    for name in ("b/2", "b/1", "a", "c/d/e.dcm", "cohort/x", "sequences.csv", *written):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "c" / "loop").symlink_to(tmp_path)
    found = FileDiscovery(tmp_path, [tmp_path / "cohort", tmp_path / "sequences.csv"])
    assert list(found) == ["a", "b/1", "b/2", "c/d/e.dcm"] == found.names
    assert found.is_complete
    assert not found.is_empty()
    assert found.closed == [tmp_path / "c" / "loop"]


def test_links_that_lead_nowhere_are_files_that_cannot_be_read(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add("a.dcm")
    (archive.src / "circle.dcm").symlink_to("circle.dcm")
    (archive.src / "gone.dcm").symlink_to(archive.folder / "nothing")
    (archive.src / "linked").symlink_to(archive.folder)
    os.mkfifo(archive.src / "pipe")
    archive.rows += ["circle.dcm,RCA,1,0,1,3,0.8,,", "gone.dcm,RCA,1,0,1,3,0.8,,"]
    out = archive.folder / "cohort"
    ingest(archive.src, labels=archive.labels, out=out, settings=IngestSettings(size=SIZE))
    reasons = [row.reason for row in read_manifest(out)]
    assert reasons == ["", "cannot be read", "cannot be read"]
    assert "1 folders of" in capsys.readouterr().out


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that may not be opened; root, who may open all, is nobody meanwhile."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed as a whole
        Path(name).chmod(0o755)
        (Path(name) / "closed").mkdir(mode=0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(NOBODY)
        yield Path(name) / "closed"
        os.seteuid(before)


def test_closed_folders_are_named(closed: Path) -> None:
    found = FileDiscovery(closed.parent, [])
    assert found.is_empty()
    assert found.closed == [closed]


def test_what_stops_it_is_raised_where_names_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path, _: list[Path]) -> Iterator[Path]:
        yield folder / "a"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(file_discovery, "walk", broken)
    with pytest.raises(OSError, match="Input/output error"):
        list(FileDiscovery(tmp_path, []))


def test_the_first_file_is_finished_before_the_last_is_found(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's end is not found until something is in the journal."""
    for name in ("a.dcm", "b.dcm", "z.dcm"):
        archive.add(name)
    journalled = threading.Event()
    append = Journal.append

    def tell(journal: Journal, record: Record) -> None:
        append(journal, record)
        journalled.set()

    def slow(folder: Path, closed: list[Path]) -> Iterator[Path]:
        for path in whole(folder, closed):
            if path.name == "z.dcm":
                assert journalled.wait(timeout=60), "nothing was read while files were looked for"
            yield path

    whole = file_discovery.walk
    monkeypatch.setattr(file_discovery, "walk", slow)
    monkeypatch.setattr(Journal, "append", tell)
    out = archive.folder / "cohort"
    settings = IngestSettings(size=SIZE, processes=1)
    ingest(archive.src, labels=archive.labels, out=out, settings=settings)
    assert len(Cohort.open(out).sequences) == 3
