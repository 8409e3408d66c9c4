"""The sweep of one fold: its plan, its search and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from angioray.cluster.flops import run_steps
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
from tune.search.population import Population, learning_rate_alone
from tune.search.room import room
from tune.search.samplers import make_sampler
from tune.search.search import SearchRun, settings_of
from tune.search.trial import Workplace, end_trial, inherit
from tune.space.space import Space, at, learning_rate, plain, rate_changes
from tune.space.space_file import SPACES, read_space, refusals
from tune.trials import Trial, best_of

if TYPE_CHECKING:
    from angioray.cluster.nodes import Node
    from tune.search.referee import Standing


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
        if order.search == "pbt":
            space = learning_rate_alone(space, order.task, given=order.space is not None)
        attempt = TrialCost(space, objective)
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
        self, say: Callable[[str], None], shown: Callable[[Standing], None]
    ) -> list[Trial]:
        """Begin it, or go on with it, to its end.

        Args:
            say: is told what was decided.
            shown: is told how it stands, a few times a second.

        Returns:
            Its trials.

        Raises:
            ValueError: another sweep lies in its folder, or no trial fits the cluster.
        """
        for line in self.first.in_words():
            say(line)
        begun = self.folder.begun()
        group = self.group(say) if begun is None else None
        at_once = begun["at_once"] if begun else group.lanes if group else 1
        self.folder.freeze(self.document(at_once), self.cohort)
        search = self._search(at_once)
        table = _Table(self)
        table.keep(list(search.trials.values()))
        if search.over:
            return list(search.trials.values())
        from tune.search.launch import run_search

        def show(standing: Standing) -> None:
            table.keep(standing.trials)
            shown(standing)

        group = group or self.group(say)
        stuck_after_s = self.order.lanes.stuck_after_s
        ended = run_search(search, self.workplace, group, show, stuck_after_s=stuck_after_s)
        return list(ended.trials)

    def group(self, say: Callable[[str], None] = lambda line: None) -> LaneGroup:
        """Join the cluster, and cut it into trials.

        Raises:
            ValueError: it cannot be reached, or no trial fits.
        """
        nodes, lanes = self._nodes(), self.order.lanes
        return room(
            self.objective,
            self.space,
            self.folder.trials,
            self.cohort,
            self.order.samples,
            lanes,
            nodes,
            say,
        )

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.first.space

    @property
    def workplace(self) -> Workplace:
        """What its workers must know."""
        return Workplace(
            self.folder.trials,
            absolute(self.cohort.copy.location),
            self.cohort.digest,
            self.objective,
            self.rungs,
        )

    def document(self, at_once: int) -> dict[str, Any]:
        """``sweep.json``."""
        run, together = self.objective.run, self.order.search == "pbt"
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
            "at_once": at_once,
            "rungs": list(self.rungs),
            "reduction": None if together else self.order.halving.reduction,
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
        return settings_of(best, self.space)

    def _search(self, at_once: int) -> SearchRun | Population:
        order, place = self.order, self.workplace
        sampler = make_sampler(order.search, self.space, seed=order.seed, lanes=at_once)
        if order.search == "pbt":
            return Population(
                self.space,
                sampler,
                rungs=self.rungs,
                settings=order.population,
                seed=order.seed,
                samples=order.samples,
                recorded=place.recorded(order.samples),
                inherit=partial(inherit, place),
            )
        return SearchRun(
            self.space,
            sampler,
            self.first.candidates,
            rungs=self.rungs,
            reduction=order.halving.reduction,
            lanes=at_once,
            samples=order.samples,
            step_time=TrialCost(self.space, self.objective),
            recorded=place.recorded(order.samples),
        )

    def _nodes(self) -> list[Node]:
        from angioray.cluster.nodes import nodes_for

        place, cohort = self.folder.trials, absolute(self.cohort.copy.location)
        study = self.objective.study(self.objective.base, place, cohort)
        return nodes_for(study, self.cohort.digest, self.order.address, starting=True)

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
        self._folder, self._place = sweep.folder, sweep.workplace
        self._last = ""
        self._ended: set[int] = set()

    def keep(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.state != "running" and trial.number not in self._ended:
                self._ended.add(trial.number)
                end_trial(self._place, trial)
        text = repr(trials)
        if text != self._last:
            self._folder.write_table(trials)
            self._last = text
