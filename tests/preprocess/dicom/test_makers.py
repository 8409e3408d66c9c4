"""The maker of a device is one of a few names, whatever its header says."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.dicom.makers import maker_of
from preprocess.dicom.reader import read_cine
from tests.preprocess.tiny_archive import SIZE, noise, write_cine


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Philips Medical Systems (Netherlands)", "Philips"),
        ("SIEMENS", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("General  Electric Co.", "GE"),
        ("TOSHIBA_MEC", "Canon"),
        ("Canon Medical Systems", "Canon"),
        (" GEMS", "GE"),
        ("Geneva Heart Hospital", "other"),
        ("Klinikum Canon Strasse", "other"),
        ("Dr Siemens, St. Mary Hospital", "other"),
        ("St. Phantom Heart Centre", "other"),
        ("\u5cf6\u6d25", "other"),
        (" \0", None),
        ("", None),
    ],
    ids=ascii,
)
def test_makers_by_hand(written: str, expected: str | None) -> None:
    assert maker_of(written) == expected


def test_the_header_is_read_and_its_text_is_not_kept(tmp_path: Path) -> None:
    write_cine(tmp_path / "a", noise(), Manufacturer="Siemens, room of Dr. Okafor")
    write_cine(tmp_path / "b", noise())
    said = read_cine(tmp_path / "a", size=SIZE).acquisition
    assert said.manufacturer == "Siemens" and "Okafor" not in repr(said)
    assert read_cine(tmp_path / "b", size=SIZE).acquisition.manufacturer is None
