"""One road from an archive to a report: its folders, and what the commands said on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom

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

    @property
    def tracked(self) -> Path:
        """MLflow's database, which it makes where the study is started."""
        return self.folder / "mlflow.db"

    def study(self, runs: Path, *options: object) -> tuple[object, ...]:
        """The arguments that begin or continue the study in another folder."""
        fixed = ("angioray.cv", self.cohort, "--config", self.settings, "--all-folds")
        return (*fixed, "--runs", runs, *options)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def identifiers(archive: Path) -> Iterator[str]:
    """Whatever the archive's headers and paths tell of a person, an institution or an exam."""
    for path in files(archive / "dicom"):
        yield from (part.partition(".")[0] for part in path.relative_to(archive / "dicom").parts)
        header = pydicom.dcmread(path, stop_before_pixels=True)
        yield header.PatientID
        yield str(header.PatientName)
        yield header.PatientName.family_name
        for keyword in (
            *("PatientBirthDate", "StudyDate", "AccessionNumber", "InstitutionName"),
            *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StationName"),
            *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName"),
        ):
            yield str(header[keyword].value)
