"""The plan of a phantom archive: its patients, their sequences, and what each shows."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from preprocess.phantom.devices import IFR_WIRE, IMPLANT, PACEMAKER
from preprocess.phantom.settings import PhantomSettings

Artery = Literal["RCA", "LCA"]

_FAMILY = (
    *("Adler", "Brandt", "Castell", "Dorn", "Eklund", "Farrow", "Gallo", "Hollis", "Ivers"),
    *("Jansen", "Kessler", "Moreau", "Novak", "Orsini", "Palmer", "Quint", "Rossi", "Santos"),
)
_GIVEN = {
    "F": ("Anna", "Beatriz", "Clara", "Elena", "Greta", "Irene", "Judith", "Karin", "Rosa"),
    "M": ("Albert", "Bruno", "Carlos", "Emil", "Frank", "Georg", "Henrik", "Jonas", "Luis"),
}


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A fictitious patient, as a hospital's headers name one."""

    number: int
    name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    room: int
    """Which of the two C-arms, 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class ArchivePlan:
    """One sequence before anything of it is drawn."""

    number: int
    """Position in the archive, from 0."""
    patient: Patient
    artery: Artery
    view: str
    """The label's free text: RCA, LCA, LCx/LAD or LAD/LCx."""
    angle: int
    """Which of the C-arm positions for this patient's artery, from 0."""
    angles: int
    """How many positions this patient's artery is seen from."""
    lesions: int
    exclude: str
    """Empty, or why the sequence is discarded."""
    frames: int
    jpeg: bool
    acquisition: int
    """Number of the sequence within the patient's study, from 1."""

    @property
    def path(self) -> str:
        """The file's place below ``dicom/``: some hospitals' exports have an extension."""
        ending = ".dcm" if self.patient.room else ""
        study = f"ST{self.patient.number + 1:06d}"
        return f"{self.patient.patient_id}/{study}/IM{self.acquisition:06d}{ending}"


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """The random numbers of one purpose, apart from those of any other."""
    words = [int.from_bytes(hashlib.sha256(str(k).encode()).digest()[:4], "big") for k in key]
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(words)))


def uid(seed: int, *key: int | str) -> str:
    """A DICOM unique identifier (PS3.5 B.2) that depends on nothing but its arguments."""
    digest = hashlib.sha256("|".join(map(str, ("phantom", seed, *key))).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def make(settings: PhantomSettings) -> tuple[ArchivePlan, ...]:
    """All sequences of the archive, patient by patient; the discarded ones are among them."""
    rng = generator(settings.seed, "plan")
    dealt = _deal(settings, rng)
    lesions = _lesion_counts(dealt, settings, rng)
    excluded = _excluded(settings, lesions, rng)
    rows = [(patient, artery, "") for patient, artery in dealt] + excluded
    rows.sort(key=lambda row: row[0])
    plans: list[ArchivePlan] = []
    for number, (patient, artery, exclude) in enumerate(rows):
        study = [p for p in plans if p.patient.number == patient]
        plans.append(
            ArchivePlan(
                number=number,
                patient=_patient(patient, settings.seed),
                artery=artery,
                view=_view(artery, rng),
                angle=sum(p.artery == artery for p in study),
                angles=sum(row[:2] == (patient, artery) for row in rows),
                lesions=lesions.get((patient, artery), 1),
                exclude=exclude,
                frames=int(rng.integers(settings.frames_min, settings.frames_max + 1)),
                jpeg=bool(rng.random() < settings.jpeg_fraction),
                acquisition=len(study) + 1,
            )
        )
    return tuple(plans)


def _deal(settings: PhantomSettings, rng: np.random.Generator) -> list[tuple[int, Artery]]:
    """Patient and artery of every usable sequence; each patient gets the same number, or one more.

    Most patients have both arteries injected, some only one.
    """
    right = round(settings.sequences * settings.rca_fraction)
    arteries: list[Artery] = ["RCA" if i < right else "LCA" for i in range(settings.sequences)]
    order = rng.permutation(settings.sequences)
    patients = np.sort(np.arange(settings.sequences) % settings.patients)
    return [(int(p), arteries[int(i)]) for p, i in zip(patients, order, strict=True)]


def _lesion_counts(
    dealt: Sequence[tuple[int, Artery]], settings: PhantomSettings, rng: np.random.Generator
) -> dict[tuple[int, Artery], int]:
    """How many lesions each patient's artery has, close to the asked shares of sequences."""
    counts: dict[tuple[int, Artery], int] = {}
    for artery in ("RCA", "LCA"):
        mine = [key for key in dealt if key[1] == artery]
        keys = sorted(set(mine))
        keys = [keys[i] for i in rng.permutation(len(keys))]
        healthy = round(settings.healthy_fraction * len(mine))
        several = round(settings.multiple_lesion_fraction * len(mine))
        for key in keys:
            size = mine.count(key)
            if healthy >= size:
                counts[key], healthy = 0, healthy - size
            elif several >= size:
                counts[key], several = 2 + int(rng.random() < 0.25), several - size
            else:
                counts[key] = 1
    return counts


def _excluded(
    settings: PhantomSettings,
    lesions: dict[tuple[int, Artery], int],
    rng: np.random.Generator,
) -> list[tuple[int, Artery, str]]:
    """The discarded sequences: bearers of a device are patients of their own, a wire is not."""
    diseased = [key for key, count in sorted(lesions.items()) if count] or sorted(lesions)
    rows: list[tuple[int, Artery, str]] = [
        (*diseased[int(rng.integers(len(diseased)))], IFR_WIRE)
        for _ in range(round(settings.ifr_wire_fraction * settings.sequences))
    ]
    bearer = settings.patients
    for device, fraction in (
        (IMPLANT, settings.implant_fraction),
        (PACEMAKER, settings.pacemaker_fraction),
    ):
        for _ in range(round(fraction * settings.sequences)):
            rows.append((bearer, "RCA" if rng.random() < settings.rca_fraction else "LCA", device))
            bearer += 1
    return rows


def _patient(number: int, seed: int) -> Patient:
    rng = generator(seed, "patient", number)
    sex = "M" if rng.random() < 0.68 else "F"
    family = _FAMILY[int(rng.integers(len(_FAMILY)))]
    given = _GIVEN[sex][int(rng.integers(len(_GIVEN[sex])))]
    return Patient(
        number=number,
        name=f"{family}^{given}",
        patient_id=f"{int(rng.integers(100, 1000))}{number + 1:04d}",
        birth_date=f"{rng.integers(1934, 1972)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        sex=sex,
        study_date=f"{rng.integers(2018, 2024)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        room=int(rng.random() < 0.45),
    )


def _view(artery: Artery, rng: np.random.Generator) -> str:
    if artery == "RCA":
        return "RCA"
    return str(rng.choice(["LCA", "LCx/LAD", "LAD/LCx"], p=[0.7, 0.15, 0.15]))
