"""The settings of lanes: how many there are, and which resources each has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How runs share the resources of the cluster; changes no number of the study."""

    lanes: int | None = None
    """Runs at once; as many as the resources bear if null."""
    ranks: int | None = None
    """Processes of one run, each with the resources below. If null one, and several for the last
    runs where GPUs would stand idle and frozen batch norms make it the same training."""
    cpus: float = 1.0
    """CPU cores of a process; its computing threads follow."""
    gpus: float | None = None
    """GPUs of a process where the cluster has any; a fraction shares one among runs. If null one,
    or a fraction where there are more runs than GPUs and each is too small to keep one busy."""
    grow: bool = False
    """The cluster grows on demand (autoscaling): do not refuse `lanes` that it cannot bear yet."""
    stuck_after_s: float = 1800.0
    """A run that gets no further for so many seconds is taken from its lane and tried anew."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, expected {least}"
            for name, value, fits, least in (
                ("lanes", self.lanes, self.lanes is None or self.lanes >= 1, "1 or more"),
                ("ranks", self.ranks, self.ranks is None or self.ranks >= 1, "1 or more"),
                ("cpus", self.cpus, self.cpus > 0, "more than 0"),
                ("gpus", self.gpus, self.gpus is None or self.gpus >= 0, "0 or more"),
                ("stuck_after_s", self.stuck_after_s, self.stuck_after_s > 0, "more than 0"),
                ("grow", self.grow, self.lanes or not self.grow, "`lanes` with it, how many"),
            )
            if not fits
        ]
        if (self.ranks or 1) > 1 and (self.gpus or 1) % 1:
            problems.append(
                "ranks is above 1 and gpus a fraction, but two ranks of one run must not share "
                "a GPU; expected whole gpus"
            )
        if problems:
            raise ValueError("The lanes' settings cannot work: " + "; ".join(problems) + ".")
