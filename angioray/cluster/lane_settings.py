"""The settings of lanes: how many there are, and which resources each has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.console.settings import Count, NotNegative, Positive, Settings


@dataclass(frozen=True, kw_only=True)
class LaneSettings(Settings):
    """How runs share the resources of the cluster; changes no number of the study."""

    lanes: Count | None = None
    """Runs at once; as many as the resources bear if null."""
    ranks: Count | None = None
    """Processes of one run, each with the resources below. If null one, and several for the last
    runs where GPUs would stand idle and frozen batch norms make it the same training."""
    cpus: Positive = 1.0
    """CPU cores of a process; its computing threads follow."""
    gpus: NotNegative | None = None
    """GPUs of a process where the cluster has any; a fraction shares one among runs. If null one,
    or a fraction where there are more runs than GPUs and each is too small to keep one busy."""
    grow: Count | None = None
    """GPUs (CPU cores where `gpus` is 0) up to which the cluster grows on demand, in nodes like the
    largest there. If null, what the file of `ray up` says; elsewhere, as on Kubernetes, give it."""
    stuck_after_s: Positive = 1800.0
    """A run that gets no further for so many seconds is taken from its lane and tried anew."""

    def conflicts(self) -> Iterator[str]:
        """What lanes cannot be given."""
        if self.gpus is not None and self.gpus % 1:
            if self.gpus > 1:
                yield f"gpus is {self.gpus:g}; above 1 it must be a whole number"
            elif (self.ranks or 1) > 1:
                yield (
                    f"gpus is {self.gpus:g} and ranks {self.ranks}, but two ranks of one run must "
                    "not share a GPU; it must be a whole number"
                )
