"""The sweep of one fold: its plan, its search and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from angioray.cluster.flops import run_steps
from angioray.cluster.nodes import nodes_for
from angioray.cluster.plan import LaneGroup
from angioray.study.selection import CohortIndex
from angioray.study.settings import StudySettings, Task
from angioray.study.study import Study
from preprocess.cohort import Cohort, count_phantoms
from preprocess.storage import Storage, absolute
from tune.cost import TrialCost
from tune.objective import Objective
from tune.results import SCHEMA_VERSION, SweepFolder
from tune.search.candidates import FirstTrials
from tune.search.order import Order
from tune.search.progress import Standing
from tune.search.room import Room, room
from tune.search.worker import TrialInputs, clear_snapshots, end_trial
from tune.space.parameters import Range
from tune.space.space import Space, at, learning_rate, plain, rate_changes
from tune.space.space_file import SPACES, read_space, refusals
from tune.trials import Trial, best_of

TUNE_FOLDER = "tune"
"""Ray Tune's own files: an experiment for each start of the sweep."""


@dataclass(frozen=True)
class FoldSweep:
    """A sweep over one fold's training part.

    Attributes:
        folder: where it is kept.
        cohort: what it learns from.
        order: what was asked for.
        fold: the one whose validation part no trial sees.
        objective: what trials are measured on.
        first: what is searched, and what is tried before a sampler is asked.
        rungs: steps at which trials are judged.
    """

    folder: SweepFolder
    cohort: Cohort
    order: Order
    fold: int
    objective: Objective
    first: FirstTrials
    rungs: tuple[int, ...]

    @classmethod
    def plan(cls, folder: Storage, cohort: Cohort, order: Order, fold: int) -> FoldSweep:
        """Lay it out without writing anything.

        Raises:
            ValueError: something of the order cannot be; all that is wrong with the space at once.
        """
        objective = Objective.of(
            cohort,
            order.settings,
            task=order.task,
            view=order.view,
            variant=order.variant,
            fold=fold,
        )
        study = objective.study(objective.base, folder, cohort.copy.location)
        study.look_for_weights()
        file = order.space or SPACES / f"{order.task}.yaml"
        space = read_space(file, objective.base, order.task)
        space = without_unused(space, given=order.space is not None)
        if order.search == "pbt":
            space = learning_rate_alone(space, order.task, given=order.space is not None)
        attempt = TrialCost(space, objective, order.most_cost)
        if problems := refusals(space, attempt, space.edges(), space.corners()):
            raise ValueError(f"{file} cannot be searched:\n  - " + "\n  - ".join(problems))
        _refuse_two_courses(space, order.task)
        _look_for_weights(file, space, partial(objective.study, folder=folder, cohort=""))
        first = FirstTrials.of(space, objective, cohort)
        index = CohortIndex.of(cohort, objective.base.view_classes)
        rungs = order.rungs(run_steps(study, index, study.runs[0]))
        sweep = cls(
            SweepFolder(folder),
            cohort,
            order,
            fold,
            objective,
            first,
            rungs,
        )
        sweep._refuse_large_grid()
        return sweep

    def carry_out(
        self,
        say: Callable[[str], None],
        shown: Callable[[Standing], None],
        group: LaneGroup | None = None,
    ) -> list[Trial]:
        """Begin it, or go on with it, to its end.

        Args:
            say: is told what was decided.
            shown: is told how it stands, a few times a second.
            group: trials at once, and the resources of each; as the cluster bears if None.

        Returns:
            Its trials.

        Raises:
            ValueError: another sweep lies in its folder, or no trial fits the cluster.
        """
        for line in (*self.first.in_words(), *self.cost.never_drawn()):
            say(line)
        if group is None and not self.folder.begun():
            group = self.group(say)  # nothing is written before it can start
        self.folder.freeze(self.document(), self.cohort)
        inputs, table = self.inputs, _Table(self)
        recorded = inputs.recorded(self.order.samples)
        trials = tuple(recorded[number] for number in sorted(recorded))
        table.keep(trials)
        if len(trials) < self.count or any(trial.state == "running" for trial in trials):
            from tune.search.launch import run_search

            def keep(standing: Standing) -> None:
                nonlocal trials
                trials = standing.trials
                table.keep(trials)
                shown(standing)

            group = group or self.group(say)
            files = self.folder.files / TUNE_FOLDER
            scores = -1
            while not run_search(
                self.order, self.first, self.cost, inputs, recorded, group, files, keep
            ):
                recorded = inputs.recorded(self.order.samples)
                before, scores = scores, sum(len(each.curve) for each in recorded.values())
                if scores == before:
                    raise ValueError(
                        "Processes die before any trial gets further (out of memory?); see Ray's "
                        "logs. The same command with --resume goes on."
                    )
        if inputs.population:
            for trial in trials:
                clear_snapshots(inputs, trial.number)
        return list(trials)

    def group(self, say: Callable[[str], None] = lambda line: None) -> LaneGroup:
        """Join the cluster, and cut it into trials.

        Raises:
            ValueError: it cannot be reached, or no trial fits.
        """
        found = self.room(starting=True)
        for note in found.notes:
            say(note)
        return found.group

    def room(self, *, starting: bool) -> Room:
        """What the cluster has for its trials; ``starting`` one here where none is meant.

        Raises:
            ValueError: it cannot be reached, or no trial fits.
        """
        trials, location = self.folder.trials, absolute(self.cohort.copy.location)
        study = self.objective.study(self.objective.base, trials, location)
        nodes = nodes_for(study, self.cohort.digest, self.order.address, starting=starting)
        return room(
            self.objective,
            self.space,
            trials,
            self.cohort,
            self.order.samples,
            self.order.lanes,
            nodes,
            self.order.most_cost,
        )

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.first.space

    @property
    def cost(self) -> TrialCost:
        """What its trials cost."""
        return TrialCost(self.space, self.objective, self.order.most_cost)

    @property
    def count(self) -> int:
        """Trials in all: a grid may have fewer than were asked for."""
        if self.order.search != "grid":
            return self.order.samples
        points = sum(self.cost.allows(params) for params in self.space.grid())
        return min(self.order.samples, len(self.first.candidates) + points)

    @property
    def inputs(self) -> TrialInputs:
        """What its processes must know."""
        return TrialInputs(
            self.folder.trials,
            absolute(self.cohort.copy.location),
            self.cohort.digest,
            self.objective,
            self.space,
            self.rungs,
            self.order.search == "pbt",
        )

    def document(self) -> dict[str, Any]:
        """``sweep.json``."""
        run, together = self.objective.run, self.order.search == "pbt"
        stops = not (together or self.order.exact)
        sequences = self.cohort.sequences.values()
        return {
            "schema_version": SCHEMA_VERSION,
            "cohort_digest": self.cohort.digest,
            "cohort": {
                "sequences": len(sequences),
                "phantoms": count_phantoms(sequences),
                "contents": self.cohort.contents,
            },
            "task": run.task,
            "view": run.view,
            "variant": run.variant,
            "size": run.size,
            "seed": self.order.seed,
            "samples": self.order.samples,
            "search": self.order.search,
            "exact": self.order.exact,
            "most_cost": self.order.most_cost,
            "rungs": list(self.rungs),
            "reduction": self.order.halving.reduction if stops else None,
            "population": asdict(self.order.population) if together else None,
            "metric": self.objective.metric,
            "space": self.space.as_json(),
            "base": plain(self.objective.base),
            "outer_fold": self.fold,
            "seen": self.objective.seen(self.cohort),
            "anchor_sets": [each.as_json() for each in self.first.anchor_sets],
        }

    def best_settings(self, trials: Sequence[Trial]) -> StudySettings:
        """The settings of the best trial.

        Raises:
            ValueError: no trial was finished.
        """
        if (best := best_of(trials)) is None:
            reasons = sorted({trial.reason for trial in trials if trial.reason})
            raise ValueError(
                f"No trial in {self.folder.files} was finished, so there are no best settings. "
                + " ".join(reasons)
            )
        return best.settings(self.space)

    def _refuse_large_grid(self) -> None:
        if self.order.search != "grid":
            return
        if lacking := [p.name for p in self.space if not p.domain.has_grid]:
            raise ValueError(
                f"A grid needs `points` or `step` for each range, but {', '.join(lacking)} have "
                "none. Write them into the space, or search with tpe or random."
            )
        trials = len(self.first.candidates) + sum(1 for _ in self.space.grid())
        if trials > self.order.samples:
            raise ValueError(
                f"The grid has {trials} trials and samples is {self.order.samples}. Give "
                f"`--samples {trials}`, or write a coarser space: fewer `points` and choices."
            )


def _look_for_weights(file: Path, space: Space, study_of: Callable[[StudySettings], Study]) -> None:
    """Every file of weights that a trial may start from is looked for once."""
    if not any(parameter.name.endswith((".weights", ".backbone")) for parameter in space):
        return
    studies: dict[object, Study] = {}
    for params in space.edges():
        settings = space.settings(params)
        parts = settings.view, settings.detector
        study = study_of(settings)
        for path in study.weights_files:
            if not Path(path).is_absolute():
                raise ValueError(
                    f"{file} searches the weights {path}. Write their whole path, for trials run "
                    "in another folder."
                )
        studies.setdefault(tuple((part.backbone, part.weights) for part in parts), study)
    for study in studies.values():
        study.look_for_weights()


def without_unused(space: Space, *, given: bool) -> Space:
    """The space without the settings that the detector's architecture does not use.

    Args:
        space: as its file has it.
        given: whether somebody wrote it for this search; then it must hold none of them.

    Raises:
        ValueError: it holds one.
    """
    detector = space.base.detector
    idle = {f"detector.{name}" for name in detector.unused}
    unused = [p.name for p in space if {p.name, p.name.rpartition(".")[0]} & idle]
    if given and unused:
        raise ValueError(
            f"{detector.architecture} does not use {', '.join(unused)}. Take them out of the space."
        )
    return replace(space, parameters=tuple(p for p in space if p.name not in unused))


def learning_rate_alone(space: Space, task: Task, *, given: bool) -> Space:
    """What a population varies of a space.

    Args:
        space: as its file has it.
        task: whose settings.
        given: whether somebody wrote it for this search; then it must hold nothing else.

    Raises:
        ValueError: it has no range of learning rates, or something beside it.
    """
    name = learning_rate(task)
    rates = [p for p in space if p.name == name and isinstance(p.domain, Range) and not p.when]
    others = [parameter.name for parameter in space if parameter.name != name]
    if not rates or (given and others):
        beside = f" and holds {', '.join(others)} beside it" if given and others else ""
        raise ValueError(
            "A population changes learning rates while it trains, and nothing else: expected a "
            f"space with a range {{low, high, log: true}} for {name} alone. This one "
            f"{'has that' if rates else 'has none'}{beside}. Search the others with tpe first."
        )
    return replace(space, parameters=(rates[0],))


def _refuse_two_courses(space: Space, task: Task) -> None:
    rate, changes = learning_rate(task), rate_changes(task)
    if at(plain(space.base), changes) and any(p.name == rate for p in space):
        raise ValueError(
            f"{rate} is searched, but the settings already have a course of learning rates "
            f"({changes}), which would override it. Take the course out of them, or the learning "
            "rate out of the space."
        )


class _Table:
    """Keeps what is on disk of the trials true as they go on."""

    def __init__(self, sweep: FoldSweep) -> None:
        self._folder, self._inputs = sweep.folder, sweep.inputs
        self._last = ""
        self._ended: set[int] = set()

    def keep(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.state != "running" and trial.number not in self._ended:
                self._ended.add(trial.number)
                end_trial(self._inputs, trial)
        text = repr(trials)
        if text != self._last:
            self._folder.write_table(trials)
            self._last = text
