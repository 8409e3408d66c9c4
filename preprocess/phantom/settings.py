"""The settings of a phantom archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from preprocess.console.settings import Count, Proportion, Settings, bounds

FRAME_SIZE_PX = 512
FRAME_TIME_MS = 1000 / 15
SEEDS = 1 << 62
"""Archives have seeds below this number; what networks are pretrained on has those above."""


@dataclass(frozen=True, kw_only=True)
class PhantomSettings(Settings):
    """How large a synthetic archive is and what it is made of.

    The same settings give the same bytes, whatever ``processes`` is.
    """

    patients: Count = 24
    """Patients with usable sequences, 1 or more. Bearers of an implant come in addition."""
    sequences: Count = 62
    """Usable sequences of all patients, at least one for each. Discarded ones come in addition."""
    frames_min: Annotated[int, bounds(8)] = 30
    """Fewest frames in a sequence, 8 or more."""
    frames_max: Count = 40
    """Most frames in a sequence, at least ``frames_min``. There are 15 frames in a second."""
    seed: Annotated[int, bounds(0, below=SEEDS)] = 0
    """Any whole number from 0 to below 2^62: another seed, another archive."""
    rca_fraction: Proportion = 0.45
    """Share of right coronary sequences, 0 to 1; the others show the left artery."""
    healthy_fraction: Proportion = 0.2
    """Share of the usable sequences that show no lesion, 0 to 1."""
    multiple_lesion_fraction: Proportion = 0.25
    """Share of the usable sequences that show two or three lesions, 0 to 1."""
    implant_fraction: Proportion = 0.03
    """Discarded sequences with sternal wires and a stent valve, per usable one, 0 to 1."""
    pacemaker_fraction: Proportion = 0.03
    """Discarded sequences with a pacemaker and its lead, per usable one, 0 to 1."""
    ifr_wire_fraction: Proportion = 0.03
    """Discarded sequences with a pressure wire in the artery, per usable one, 0 to 1."""
    jpeg_fraction: Proportion = 0.8
    """Share of files in JPEG Lossless SV1 (1.2.840.10008.1.2.4.70), 0 to 1; the others are
    uncompressed."""
    processes: Count | None = None
    """Worker processes, 1 or more; as many as there are cores if not given."""

    def conflicts(self) -> Iterator[str]:
        """Numbers that no archive has together."""
        if self.sequences < self.patients:
            yield (
                f"sequences is {self.sequences}; it must be {self.patients} or more, one for each "
                "patient"
            )
        if self.frames_max < self.frames_min:
            yield f"frames_max is {self.frames_max}; it must be {self.frames_min} or more"
        if self.healthy_fraction + self.multiple_lesion_fraction > 1:
            yield "healthy_fraction and multiple_lesion_fraction together exceed 1"
