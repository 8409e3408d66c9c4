"""The doctor counts what a study lacks, and names what can be added without counting it."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

from angioray.doctor import EXTRAS, PACKAGES, doctor


def test_a_package_that_can_be_added_is_no_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    absent: set[str] = set()
    version = importlib.metadata.version

    def look_up(name: str) -> str:
        if name in absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name in optional else version(name)

    optional = {name for _, names in EXTRAS.values() for name in names}
    monkeypatch.setattr(importlib.metadata, "version", look_up)

    def lacking() -> tuple[int, list[str]]:
        doctor()
        said = capsys.readouterr().out
        (count,) = re.findall(r"^(\d+) of \d+ checks", said, re.MULTILINE)
        return int(count), [" ".join(line.split()) for line in said.splitlines()]

    before, lines = lacking()
    assert "✓ export to ONNX onnx 1.0, onnxscript 1.0" in lines
    absent |= {"onnxscript", "wandb"}
    same, lines = lacking()
    assert same == before
    absent_one = "onnx 1.0, onnxscript not installed; optional: pip install 'angioray[onnx]'"
    assert f"– export to ONNX {absent_one}" in lines
    absent.add(*PACKAGES["predictions as DICOM"])
    one_more, lines = lacking()
    assert one_more == before + 1
    assert "! predictions as DICOM highdicom not installed; run `make setup`" in lines
