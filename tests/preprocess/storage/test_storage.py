"""A folder on a disk and one in an object store: the same to those who use them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from moto.core.authorization import enable_iam_authentication

from preprocess.cohort import Cohort
from preprocess.storage import FolderStorage, Storage, StorageError, open_storage
from preprocess.storage import lease as leases
from preprocess.storage import objects as objects_module
from preprocess.storage.lease import Lease
from preprocess.storage.objects import ObjectStorage
from preprocess.storage.store import ObjectStore
from tests.s3_server import BUCKET, S3

numbers = count()


@pytest.fixture(params=["folder", "s3"])
def folder(request: pytest.FixtureRequest, s3: S3, tmp_path: Path) -> Storage:
    """An empty folder of either kind."""
    if request.param == "folder":
        return open_storage(tmp_path / "runs")
    return open_storage(s3.uri(f"study{next(numbers)}/runs"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that live faster; a store dates its objects in whole seconds."""
    for name, seconds in {"BEAT_S": 0.2, "HELD_S": 1.0, "LAPSE_S": 3.0, "SETTLE_S": 0.2}.items():
        monkeypatch.setattr(leases, name, seconds)


def test_files_are_read_as_they_were_written(folder: Storage) -> None:
    assert folder.read("a.json") is None
    assert folder.read_json("a.json") is None
    assert not folder.exists("a.json")
    assert folder.files() == {}
    folder.delete("a.json")
    folder.clear()

    folder.write_json("a.json", {"of": "é"})
    folder.write("empty", b"")
    (folder / "below").write("b", bytes(range(256)))
    assert folder.read_json("a.json") == {"of": "é"}
    assert folder.read_text("a.json") == '{\n "of": "\\u00e9"\n}\n'
    assert folder.read("empty") == b""
    assert (folder / "below").read("b") == bytes(range(256))
    if isinstance(folder, FolderStorage):
        with pytest.raises(ValueError, match="below is a folder, where a file is expected"):
            folder.read("below")
    assert folder.files().keys() == {"a.json", "empty"}
    assert all(abs(when - time.time()) < 60 for when in folder.files().values())

    folder.write("a.json", b"anew")
    folder.delete("empty")
    assert folder.read("a.json") == b"anew"
    assert folder.files().keys() == {"a.json"}
    (folder / "below").clear()
    assert (folder / "below").files() == {}
    assert open_storage(str(folder)).read("a.json") == b"anew"


def test_a_damaged_file_is_named(folder: Storage) -> None:
    folder.write("result.json", b'{"seconds": ')
    folder.write("settings.yaml", b"M\xfcller")
    with pytest.raises(ValueError, match=r"result\.json.* is damaged \(Expecting value"):
        folder.read_json("result.json")
    with pytest.raises(ValueError, match=r"settings\.yaml.* is damaged \(no text in UTF-8\)"):
        folder.read_text("settings.yaml")


def test_places_have_names(folder: Storage) -> None:
    assert folder.name == "runs"
    assert (folder / "run").name == "run"
    assert (folder / "run").parent == folder
    assert str(folder / "run") == f"{folder}/run"
    assert open_storage(folder) is folder


def test_a_location_keeps_its_options(s3: S3) -> None:
    endpoint = s3.environment["AWS_ENDPOINT_URL"].removeprefix("http://")
    location = f"s3://{BUCKET}/options?endpoint_override={endpoint}&scheme=http"
    folder = open_storage(location) / "run"
    folder.write("a", b"1")
    assert str(folder) == f"s3://{BUCKET}/options/run?endpoint_override={endpoint}&scheme=http"
    assert open_storage(str(folder)).read("a") == b"1"
    assert s3.get("options/run/a") == b"1"


def test_what_was_appended_is_there_before_what_follows(
    folder: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_module, "APPEND_EVERY_S", 1000.0)
    folder.write("log", b"1\n")
    folder.append("log", b"2\n")
    folder.append("log", b"3\n")
    assert folder.read("log") == b"1\n2\n3\n"
    (folder / "checkpoint").write("state.json", b"{}")
    elsewhere = open_storage(str(folder))
    assert elsewhere.read("log") == b"1\n2\n3\n"
    elsewhere.append("log", b"4\n")
    elsewhere.write("result.json", b"{}")
    assert open_storage(str(folder)).read("log") == b"1\n2\n3\n4\n"
    folder.write("log", b"anew\n")
    folder.append("log", b"5\n")
    folder.write("result.json", b"{}")
    assert open_storage(str(folder)).read("log") == b"anew\n5\n"


def test_a_log_that_grows_is_seen_elsewhere_before_long(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_module, "APPEND_EVERY_S", 0.2)
    folder = open_storage(s3.uri("growing"))
    folder.append("log", b"1\n")
    time.sleep(0.3)
    folder.append("log", b"2\n")
    assert s3.get("growing/log") == b"1\n2\n"


def test_one_process_at_a_time(folder: Storage, quick: None) -> None:
    other = open_storage(str(folder))
    assert not folder.is_locked()
    with folder.locked(wait=False):
        assert other.is_locked()
        with pytest.raises(BlockingIOError), other.locked(wait=False):
            pass
        folder.write("a", b"mine")
    assert not other.is_locked()
    with other.locked(wait=False):
        other.write("a", b"now mine")
    assert folder.read("a") == b"now mine"


def test_who_waits_gets_it_next(folder: Storage, quick: None) -> None:
    order = []

    def second() -> None:
        with open_storage(str(folder)).locked(wait=True):
            order.append("second")

    with ThreadPoolExecutor() as threads, folder.locked(wait=True):
        waiting = threads.submit(second)
        time.sleep(1.5)
        order.append("first")
        assert not waiting.done()
    waiting.result()
    assert order == ["first", "second"]


def test_of_many_who_begin_together_one_gets_it(s3: S3, quick: None) -> None:
    store, key = ObjectStore.of(s3.uri("rush"))
    asking = [Lease(store, f"{key}/.lock") for _ in range(6)]

    def ask(lease: Lease) -> bool:
        try:
            lease.acquire(wait=False)
        except BlockingIOError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        got = list(threads.map(ask, asking))
    assert sum(got) == 1
    asking[got.index(True)].check()
    for lease in asking:
        lease.release()
    assert s3.keys("rush") == []


def test_a_dead_holder_is_followed_once_his_lock_has_lapsed(s3: S3, quick: None) -> None:
    folder = open_storage(s3.uri("dead"))
    assert isinstance(folder, ObjectStorage)
    lease = Lease(folder.store, f"{folder.key}/.lock")
    lease.acquire(wait=False)
    began = time.monotonic()
    lease._over.set()  # as kill -9 does: nothing is renewed, nothing given back
    with open_storage(str(folder)).locked(wait=False):
        assert 1.0 < time.monotonic() - began < 6.0
    assert s3.keys("dead") == []


def test_a_holder_that_was_taken_for_dead_writes_no_more(s3: S3, quick: None) -> None:
    folder = open_storage(s3.uri("late"))
    with folder.locked(wait=False):
        folder.write("a", b"mine")
        # What another leaves who found the lock lapsed.
        s3.put("late/.lock", b'{"owner": "process 7 on node7", "token": "another"}')
        time.sleep(0.5)
        with pytest.raises(StorageError, match="process 7 on node7 has taken over"):
            (folder / "checkpoint").write("state.json", b"late")
        open_storage(str(folder)).write("a", b"theirs")
        with pytest.raises(StorageError, match="process 7 on node7 has taken over"):
            folder.delete("a")
        with pytest.raises(StorageError, match="process 7 on node7 has taken over"):
            (folder / "checkpoint").clear()
    assert s3.keys("late") == [".lock", "a"]
    assert s3.get("late/a") == b"theirs"


def test_a_holder_whose_successor_has_come_and_gone_writes_no_more(s3: S3, quick: None) -> None:
    folder = open_storage(s3.uri("later"))
    with folder.locked(wait=False):
        s3.client.delete_object(Bucket="angiograms", Key="later/.lock")
        time.sleep(0.5)
        with pytest.raises(StorageError, match="another process has taken over"):
            folder.write("a", b"late")
    assert s3.keys("later") == []


def test_who_cannot_renew_his_lock_stops_writing_before_it_lapses(
    s3: S3, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_storage(s3.uri("silent"))

    def gone(*_: object) -> None:
        raise StorageError("the store does not answer")

    with folder.locked(wait=False):
        monkeypatch.setattr(Lease, "_holder", gone)
        time.sleep(1.2)
        with pytest.raises(StorageError, match="could not be renewed for 3 s"):
            folder.write("a", b"1")
        monkeypatch.undo()
        for name, seconds in {"BEAT_S": 0.2, "HELD_S": 1.0, "LAPSE_S": 3.0}.items():
            monkeypatch.setattr(leases, name, seconds)
        folder.write("a", b"2")  # waits for the next beat
    assert s3.get("silent/a") == b"2"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"token": 3, "owner": null}'])
def test_a_lock_that_says_nothing_lapses_like_any_other(
    s3: S3, quick: None, content: bytes
) -> None:
    s3.put("odd/.lock", content)
    folder = open_storage(s3.uri("odd"))
    assert folder.is_locked()
    with folder.locked(wait=False):
        folder.write("a", b"1")
    assert s3.keys("odd") == ["a"]


def test_what_is_no_json_is_said_with_its_file(folder: Storage) -> None:
    for content in (b"{", b"\xff", b"[" * 100_000):
        folder.write("odd.json", content)
        with pytest.raises(ValueError, match=r"odd\.json is damaged"):
            folder.read_json("odd.json")


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_a_clock_that_is_off_by_an_hour_steals_nothing_and_waits_for_nobody(
    s3: S3, quick: None, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + off)
    mine, theirs = (open_storage(s3.uri(f"off{off:.0f}")) for _ in range(2))
    with mine.locked(wait=False):
        assert theirs.is_locked()
        with pytest.raises(BlockingIOError), theirs.locked(wait=False):
            pass
        mine.write("a", b"mine")
    assert abs(theirs.files()["a"] - theirs.now()) < 60
    # What a holder leaves who was killed.
    s3.put(f"off{off:.0f}/.lock", b'{"owner": "process 7 on node7", "token": "another"}')
    began = time.monotonic()
    assert theirs.is_locked()
    with theirs.locked(wait=False):
        assert time.monotonic() - began < 8.0
    assert not mine.is_locked()
    assert s3.keys(f"off{off:.0f}") == ["a"]


def test_who_may_only_read_still_sees_a_lock(
    s3: S3, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise StorageError("no right")

    folder = open_storage(s3.uri("seen"))
    with folder.locked(wait=False):
        monkeypatch.setattr(ObjectStore, "put", refused)
        assert open_storage(s3.uri("seen")).is_locked()
        monkeypatch.undo()


def test_a_cohort_comes_as_it_is_read(s3: S3, toy_cohort: Cohort) -> None:
    location = s3.upload(toy_cohort.folder, "toy/cohort")
    cohort = Cohort.open(location)
    assert cohort.digest == toy_cohort.digest
    assert cohort.copy.location == location
    assert cohort.folder.is_relative_to(s3.cache)
    first, second, *_ = cohort.sequences
    shards = sorted(cohort.folder.rglob("c/0/0/0"))
    assert shards == []
    np.testing.assert_array_equal(cohort.cine(first), toy_cohort.cine(first))
    assert [path.parents[3].name for path in cohort.folder.rglob("c/0/0/0")] == [first]
    left = cohort.copy.missing_bytes()
    whole = (toy_cohort.folder / "frames.zarr" / second / "c" / "0" / "0" / "0").stat().st_size
    cohort.bring([second])
    assert left - cohort.copy.missing_bytes() == whole
    assert not list(cohort.folder.rglob("*.partial"))

    s3.client.delete_object(Bucket=BUCKET, Key=f"toy/cohort/frames.zarr/{first}/c/0/0/0")
    np.testing.assert_array_equal(cohort.cine(first), toy_cohort.cine(first))  # of the copy
    with pytest.raises(ValueError, match=r"are damaged \(c/0/0/0 is not there\)"):
        Cohort.open(location).cine(first)


def test_a_changed_cohort_is_another_copy(s3: S3, toy_cohort: Cohort) -> None:
    location = s3.upload(toy_cohort.folder, "changing/cohort")
    before = Cohort.open(location)
    content = (toy_cohort.folder / "annotations.json").read_bytes()
    s3.put("changing/cohort/annotations.json", content.replace(b'"good"', b'"check"'))
    after = Cohort.open(location)
    assert after.folder != before.folder
    assert after.digest != before.digest
    first = next(iter(before.sequences))
    s3.put(f"changing/cohort/frames.zarr/{first}/c/0/0/0", b"another size")
    with pytest.raises(StorageError, match="has changed while it was read"):
        before.cine(first)


def test_many_processes_may_bring_the_same_files(s3: S3, toy_cohort: Cohort) -> None:
    location = s3.upload(toy_cohort.folder, "many/cohort")

    def read(_: int) -> bytes:
        cohort = Cohort.open(location)
        return b"".join(cohort.cine(s).tobytes() for s in cohort.sequences)

    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(read, range(4)))
    assert found == {b"".join(toy_cohort.cine(s).tobytes() for s in toy_cohort.sequences)}


def test_copies_are_the_users_alone(
    s3: S3, toy_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = s3.upload(toy_cohort.folder, "alone/cohort")
    cache = tmp_path / "of" / "mine"
    monkeypatch.setenv("ANGIORAY_CACHE", str(cache))
    before = os.umask(0)
    try:
        Cohort.open(location)
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700

    cache.chmod(0o755)  # as an earlier version made it
    Cohort.open(location)
    assert cache.stat().st_mode & 0o777 == 0o700
    for mode in (0o770, 0o777, 0o1777):
        cache.chmod(mode)
        with pytest.raises(StorageError, match="another user's, or others can write into it"):
            Cohort.open(location)
    cache.chmod(0o700)
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("ANGIORAY_CACHE", str(tmp_path / "link"))
    Cohort.open(location)
    monkeypatch.setenv("ANGIORAY_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be trusted"):
        Cohort.open(location)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, whom root can be")
def test_a_cache_that_another_user_made_is_not_trusted(
    s3: S3, toy_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = s3.upload(toy_cohort.folder, "theirs/cohort")
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path)
    os.chown(tmp_path / "cache", 12345, 12345)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    for folder in ("cache", "link"):
        monkeypatch.setenv("ANGIORAY_CACHE", str(tmp_path / folder))
        with pytest.raises(StorageError, match="is another user's"):
            Cohort.open(location)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_no_cohort_is_said(s3: S3) -> None:
    with pytest.raises(ValueError, match=f"s3://{BUCKET}/nowhere is no cohort"):
        Cohort.open(s3.uri("nowhere"))


def test_a_bucket_that_is_not_there_is_named(s3: S3) -> None:
    with pytest.raises(StorageError, match="There is no bucket for s3://nobody-made-it"):
        open_storage("s3://nobody-made-it/cohort")
    with pytest.raises(StorageError, match="names no bucket; expected such as s3://bucket/runs"):
        open_storage("s3:///cohort")


def test_without_rights_the_sentence_says_how_to_get_them(s3: S3) -> None:
    folder = open_storage(s3.uri("mine"))
    with enable_iam_authentication():
        asks: list[Callable[[], object]] = [
            lambda: open_storage(s3.uri("mine")),
            lambda: folder.read("a"),
            lambda: folder.write("a", b"1"),
            lambda: folder.files(),
            lambda: folder.exists("a"),
        ]
        for ask in asks:
            with pytest.raises(StorageError, match="no credentials here, or they have no right"):
                ask()


def test_a_store_that_is_gone_is_said_to_be(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StorageError, match=r"does not answer .* it continues where it stopped"):
        open_storage("s3://gone/runs")


def test_a_folder_is_where_it_was(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    assert storage == FolderStorage(tmp_path)
    copy = storage.local_copy("a")
    copy.need("a")
    assert copy.path == tmp_path
    assert copy.missing_bytes() == 0


def test_threads_ask_the_stores_clock_together(s3: S3) -> None:
    folder = open_storage(s3.uri("clock"))
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: folder.now(), range(32)))
    assert max(said) - min(said) < 60
    assert s3.keys("clock") == []
