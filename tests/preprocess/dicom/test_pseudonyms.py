"""Keyed names, their key and the private journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.dicom import pseudonyms
from preprocess.dicom.pseudonyms import Pseudonyms, new_key, read_key
from preprocess.ingest.journal import Journal, Record

FILE_AB = "d8466b68e5ce6eeec4d16e1e691e60abf301147ca58ef973136da14837dc3598"


def test_names_are_keyed_stable_and_of_two_kinds() -> None:
    names = Pseudonyms(b"k" * 32)
    # printf "patient\0A" | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    assert names.patient("A") == "P33f0962b8117"
    assert names.patient("A") == Pseudonyms(b"k" * 32).patient("A")
    assert names.patient("A")[1:] != names.sequence("A")[1:]
    assert names.patient("A") != Pseudonyms(b"l" * 32).patient("A")
    assert "kkk" not in repr(names)


def test_keys_are_read_as_text_or_from_a_journal(tmp_path: Path) -> None:
    key = new_key()
    (tmp_path / "key").write_text(key.hex() + "\n")
    assert read_key(tmp_path / "key") == key
    with Journal(tmp_path / "cohort", key) as journal:
        assert read_key(journal.path) == key


@pytest.mark.parametrize("content", ["", "hello", "abcd", "{}", '{"key": 3}'])
def test_what_is_no_key_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(ValueError, match="holds no key"):
        read_key(tmp_path / "key")


def record(path: str, **values: str) -> Record:
    return Record(path=path, size_bytes=1, mtime_ns=2, size=512, skip="", reader=1, **values)


def test_the_last_record_of_a_path_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "cohort", None) as journal:
        key = journal.key
        for reason in ("first", "second"):
            journal.append(record("a", reason=reason))
        journal.note("3 regions of unknown sequence x")
    with Journal(tmp_path / "cohort", None) as journal:
        assert journal.key == key
        assert journal.records == {"a": record("a", reason="second")}
        assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_journal_is_said(tmp_path: Path) -> None:
    (tmp_path / "cohort.private.jsonl").write_text('{"nothing": 1}\n')
    with pytest.raises(ValueError, match="is damaged"):
        Journal(tmp_path / "cohort", None)


def test_two_of_one_pseudonym_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms, "SHOWN_DIGITS", 1)
    names = Pseudonyms(b"k" * 32)
    for name, kind in ((names.patient, "patients"), (names.sequence, "cines")):
        assert name("A") == name("A")
        with pytest.raises(ValueError, match=f"Two {kind} have the same pseudonym"):
            for number in range(17):
                name(str(number))


def test_a_file_is_named_under_the_key() -> None:
    # printf "file\0ab" | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    assert Pseudonyms(b"k" * 32).file("ab") == FILE_AB
    assert Pseudonyms(b"l" * 32).file("ab") != FILE_AB
    assert Pseudonyms(b"k" * 32).file("") == "", "of a file that could not be read"
