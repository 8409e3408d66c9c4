"""The settings of a phantom archive."""

from __future__ import annotations

from dataclasses import dataclass

FRAME_SIZE_PX = 512
FRAME_TIME_MS = 1000 / 15
SEEDS = 1 << 62
"""Archives have seeds below this number; what networks are pretrained on has those above."""


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """How large a synthetic archive is and what it is made of.

    The same settings give the same bytes, whatever ``processes`` is.
    """

    patients: int = 24
    """Patients with usable sequences, 1 or more. Bearers of an implant come in addition."""
    sequences: int = 62
    """Usable sequences of all patients, at least one for each. Discarded ones come in addition."""
    frames_min: int = 30
    """Fewest frames in a sequence, 8 or more."""
    frames_max: int = 40
    """Most frames in a sequence, at least ``frames_min``. There are 15 frames in a second."""
    seed: int = 0
    """Any whole number from 0: another seed, another archive."""
    rca_fraction: float = 0.45
    """Share of right coronary sequences, 0 to 1; the others show the left artery."""
    healthy_fraction: float = 0.2
    """Share of the usable sequences that show no lesion, 0 to 1."""
    multiple_lesion_fraction: float = 0.25
    """Share of the usable sequences that show two or three lesions, 0 to 1."""
    implant_fraction: float = 0.03
    """Discarded sequences with sternal wires and a stent valve, per usable one, 0 to 1."""
    pacemaker_fraction: float = 0.03
    """Discarded sequences with a pacemaker and its lead, per usable one, 0 to 1."""
    ifr_wire_fraction: float = 0.03
    """Discarded sequences with a pressure wire in the artery, per usable one, 0 to 1."""
    jpeg_fraction: float = 0.8
    """Share of files in JPEG Lossless SV1 (1.2.840.10008.1.2.4.70), 0 to 1; the others are
    uncompressed."""
    processes: int | None = None
    """Worker processes, 1 or more; as many as there are cores if not given."""

    def __post_init__(self) -> None:
        problems = []
        if self.patients < 1:
            problems.append(f"patients is {self.patients}, expected 1 or more")
        if self.sequences < self.patients:
            problems.append(
                f"sequences is {self.sequences}, expected at least one for each of the "
                f"{self.patients} patients"
            )
        if not 8 <= self.frames_min <= self.frames_max:
            problems.append(
                f"frames_min and frames_max are {self.frames_min} and {self.frames_max}, "
                "expected 8 <= frames_min <= frames_max"
            )
        if not 0 <= self.seed < SEEDS:
            problems.append(f"seed is {self.seed}, expected 0 or more, below 2^62")
        if self.processes is not None and self.processes < 1:
            problems.append(f"processes is {self.processes}, expected 1 or more")
        for name, value in vars(self).items():
            if name.endswith("_fraction") and not 0 <= value <= 1:
                problems.append(f"{name} is {value}, expected 0 to 1")
        if self.healthy_fraction + self.multiple_lesion_fraction > 1:
            problems.append("healthy_fraction and multiple_lesion_fraction together exceed 1")
        if problems:
            raise ValueError("The phantom's settings do not fit: " + "; ".join(problems) + ".")
