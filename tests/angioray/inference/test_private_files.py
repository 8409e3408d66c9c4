"""What links new cines to patients lies beside the output of predict, which one shares."""

from __future__ import annotations

from pathlib import Path

from angioray.predict import _cohort
from preprocess.cohort import Cohort
from tests.preprocess.tiny_archive import noise, write_cine


def test_key_and_journal_lie_beside_the_output(tmp_path: Path) -> None:
    write_cine(tmp_path / "dicom" / "a.dcm", noise(2, 512), patient="MRN-7")
    out = tmp_path / "shared" / "predictions"
    cohort = Cohort.open(_cohort(str(tmp_path / "dicom"), out))
    assert cohort.folder == out / "cohort"
    journal = tmp_path / "shared" / "predictions.private.jsonl"
    assert journal.stat().st_mode & 0o777 == 0o600
    assert not [path for path in out.rglob("*") if "private" in path.name]

    # As an earlier version left it: it moves out, and patients keep their pseudonyms.
    journal.rename(out / "cohort.private.jsonl")
    again = Cohort.open(_cohort(str(tmp_path / "dicom"), out))
    assert again.sequences == cohort.sequences
    assert journal.is_file()
    assert not [path for path in out.rglob("*") if "private" in path.name]
