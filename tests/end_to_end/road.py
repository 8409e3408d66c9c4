"""One road from an archive to a report: its folders, and what the commands said on it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

Said = dict[str, subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Road:
    """Where the commands wrote, and what they said, by their name."""

    folder: Path
    said: Said

    @property
    def archive(self) -> Path:
        """The phantom's archive."""
        return self.folder / "archive"

    @property
    def cohort(self) -> Path:
        """What ingest made of it."""
        return self.folder / "cohort"

    @property
    def settings(self) -> Path:
        """Settings under which the study trains in seconds."""
        return self.folder / "tiny.yaml"

    @property
    def runs(self) -> Path:
        """The study's runs, where it was carried out."""
        return self.folder / "runs"

    def study(self, runs: Path, *options: object) -> tuple[object, ...]:
        """The arguments that begin or continue the study in another folder."""
        fixed = ("angioray.cv", self.cohort, "--config", self.settings, "--all-folds")
        return (*fixed, "--runs", runs, *options)
