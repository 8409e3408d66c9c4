"""Fixtures of the preprocessing tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.preprocess.tiny_archive import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive in a folder of its own."""
    made = Archive(tmp_path / "archive")
    made.src.mkdir(parents=True)
    return made
