"""The order of a sweep: what is searched, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from angioray.cluster.lane_settings import LaneSettings
from angioray.cluster.trackers import Track
from angioray.study.settings import StudySettings, Task, Variant
from preprocess.console.settings import Count, Positive, Seed, Settings
from tune.search.settings import HalvingSettings, PopulationSettings, Search


@dataclass(frozen=True, kw_only=True)
class Order(Settings):
    """What somebody wants searched, and how.

    Attributes:
        settings: the base that all but the searched settings stay at.
        task: whose settings.
        view: the detector's view; the only one there is if empty.
        variant: of the detector; the first of the settings if None.
        space: the space's YAML file; the task's default if None.
        search: where trials come from.
        samples: trials at most.
        halving: when they are stopped.
        population: how they take over from each other where ``search`` is ``pbt``.
        seed: of the sampler.
        lanes: how trials share the cluster.
        address: of the cluster.
        exact: the same seed gives the same trials, on one GPU as on many.
        most_cost: the cost of the dearest trial that is tried, in trials of the base.
        track: where each trial is logged as well.
    """

    settings: StudySettings
    task: Task = "detector"
    view: str = ""
    variant: Variant | None = None
    space: Path | None = None
    search: Search = "tpe"
    samples: Count = 40
    halving: HalvingSettings = field(default_factory=HalvingSettings)
    population: PopulationSettings = field(default_factory=PopulationSettings)
    seed: Seed = 0
    lanes: LaneSettings = field(default_factory=LaneSettings)
    address: str | None = None
    exact: bool = False
    most_cost: Positive | None = None
    track: Track | None = None

    def conflicts(self) -> Iterator[str]:
        """Several processes for a trial."""
        if (self.lanes.ranks or 1) > 1:
            yield (
                f"lanes.ranks is {self.lanes.ranks}, but a trial is one process: GPUs are better "
                "used by more trials at once; leave it out"
            )

    def rungs(self, budget: int) -> tuple[int, ...]:
        """The steps at which trials are judged, the last being the budget."""
        if self.search == "pbt":
            return self.population.steps(budget)
        return (budget,) if self.exact else self.halving.steps(budget)
