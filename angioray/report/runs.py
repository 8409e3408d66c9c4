"""A runs folder as the report reads it: the frozen study, and what each run has so far."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from angioray.study.splits import Fold
from angioray.study.study import BEGUN_EARLIER, read_study
from preprocess.cohort import Cohort, phantom_notice
from preprocess.console.tables import plain
from preprocess.storage import Location, Storage, StorageError, open_storage

State = Literal["finished", "failed", "unfinished"]
FOLDERS = re.compile(r"(?<![\w./:])/(?:[^\s/:;,'\"()`]+/)+")
"""Before the name of a file or folder in a sentence: a report is shared, and they name people."""
GroupKey = tuple[str, str, str, int, str]


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """One run of the study's matrix and its folder, whatever that holds by now."""

    folder: Storage
    name: str
    task: str
    view: str
    variant: str
    size: int
    fold: int
    repeat: int = 0
    """Which seed of its fold, from 0."""
    system: str = ""
    """Which of the study's systems; empty for its own networks."""

    @property
    def label(self) -> str:
        """Its fold, and its seed unless that is the first: ``0``, ``0, seed 1``."""
        return f"{self.fold}, seed {self.repeat}" if self.repeat else str(self.fold)

    @property
    def split_key(self) -> str:
        """Which of the study's splits the run belongs to."""
        return "view" if self.task == "view" else f"detector/{self.view}"

    @property
    def state(self) -> State:
        """A run is finished once it has its result."""
        if self.result is not None:
            return "finished"
        return "failed" if self.failure is not None else "unfinished"

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """``result.json``, or None."""
        if (document := self.read("result.json")) is None:
            return None
        with self.reading("result.json"):
            numbers = {**document["metrics"], "seconds": document.get("seconds")}
            _check_numbers(numbers)
            return dict(document)

    @cached_property
    def failure(self) -> str | None:
        """Why the run failed, as it said itself, but for the names of folders."""
        if (document := self.read("failure.json")) is None:
            return None
        with self.reading("failure.json"):
            return FOLDERS.sub("", plain(str(document["reason"])))

    @property
    def reason_missing(self) -> str:
        """Why there is no result, in words."""
        if self.failure is not None:
            return f"failed: {self.failure}"
        steps = self.curve[-1].get("step") if self.curve else None
        return "not started" if steps is None else f"still running, or stopped, at step {steps}"

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``; the last may still be being written."""
        lines = (self.text("metrics.jsonl") or "").split("\n")
        with self.reading("metrics.jsonl"):
            curve = [json.loads(line) for line in lines[:-1] if line.strip()]
            for entry in curve:
                _check_numbers(entry)
            return curve

    def metric(self, name: str) -> float | None:
        """A metric of the finished run; None if it is undefined or not there."""
        if self.result is None:
            return None
        value = self.result["metrics"].get(name)
        return None if value is None else float(value)

    def read(self, name: str) -> Any:
        """One JSON file of the run's folder, or None."""
        return self.folder.read_json(name)

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Make one sentence of whatever a file of the run's folder raises that is not as written.

        Raises:
            ValueError: it is not.
        """
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
            raise ValueError(
                f"{self.folder / name} is not what was written ({problem!r:.100}). Put it back "
                f"from a copy, or remove {self.folder} and train that run again."
            ) from problem

    def text(self, name: str) -> str | None:
        """One text file of the run's folder, or None."""
        return self.folder.read_text(name)


def _check_numbers(values: dict[str, Any]) -> None:
    if wrong := [value for value in values.values() if type(value) not in (int, float, type(None))]:
        raise TypeError(f"{wrong[0]!r:.40} is no number")
    for value in values.values():
        float(value or 0)  # whole numbers may be too large for it


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs that differ only in their fold and seed: one row of a table."""

    task: str
    view: str
    variant: str
    size: int
    system: str = ""
    runs: tuple[ReportedRun, ...]

    @property
    def finished(self) -> tuple[ReportedRun, ...]:
        """The runs with a result, by fold and seed."""
        return tuple(run for run in self.runs if run.state == "finished")

    @property
    def folds(self) -> tuple[int, ...]:
        """The planned folds."""
        return tuple(dict.fromkeys(run.fold for run in self.runs))

    @cached_property
    def by_seed(self) -> tuple[Group, ...]:
        """The runs of each seed by themselves, one a fold; those of the first predict."""
        repeats = sorted({run.repeat for run in self.runs})
        return tuple(
            replace(self, runs=tuple(run for run in self.runs if run.repeat == repeat))
            for repeat in repeats
        )

    @cached_property
    def counted(self) -> tuple[Group, ...]:
        """The seeds that numbers are of: those with the finished folds of the first that has any.

        A mean, its interval and its comparisons are then of the same runs.
        """
        folds = [[run.fold for run in seed.finished] for seed in self.by_seed]
        first = next(filter(None, folds), [])
        return tuple(s for s, of_seed in zip(self.by_seed, folds, strict=True) if of_seed == first)

    @property
    def members(self) -> tuple[ReportedRun, ...]:
        """The finished runs that predict."""
        return self.by_seed[0].finished

    @property
    def name(self) -> str:
        """What their folders are called but for the fold, such as ``detector-RCA-B-512``."""
        return self.runs[0].name.rpartition("-fold")[0]

    def silence(self, reasons: Mapping[int, str], what: str) -> list[str]:
        """A sentence on the folds that say nothing, given why; none where all do.

        Args:
            reasons: sentences by fold.
            what: was to be said, and that it is not: ``iFR is not estimated``.
        """
        if not reasons:
            return []
        fold, reason = next(iter(reasons.items()))
        folds = f"{len(reasons)} of {len(self.runs)} folds ({', '.join(map(str, reasons))})"
        return [f"{self.view}: {what} in {folds}. Fold {fold}: {reason}"]

    @property
    def models(self) -> str:
        """What the runs train, in the plural."""
        return "view classifiers" if self.task == "view" else f"{self.view} detectors"

    @property
    def title(self) -> str:
        """What the runs are, for captions."""
        if self.task == "view":
            return f"View classifier, {self.size} px"
        system = f" {self.system}" if self.system else ""
        return f"{self.view} detector{system}, variant {self.variant}, {self.size} px"


@dataclass(frozen=True, kw_only=True)
class ReportedStudy:
    """``study.json`` and the run folders beside it."""

    folder: Storage
    document: dict[str, Any]
    runs: tuple[ReportedRun, ...]

    @classmethod
    def open(cls, location: Location) -> ReportedStudy:
        """Read a runs folder.

        Raises:
            ValueError: there is no such folder, no study in it, a damaged one, or one of another
                version.
        """
        folder = open_storage(location)
        if not folder.exists("study.json"):
            raise ValueError(
                f"{folder} is no runs folder: it has no study.json, or does not exist. Give "
                "the folder that `python -m angioray.cv` wrote its runs to."
            )
        document = read_study(folder)
        known = ("name", "task", "view", "variant", "size", "fold")
        runs = tuple(
            ReportedRun(
                folder=folder / run["name"],
                repeat=run.get("repeat", 0),
                system=run.get("system", ""),
                **{key: run[key] for key in known},
            )
            for run in document["runs"]
        )
        return cls(folder=folder, document=document, runs=runs)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The study's own networks, in its order; all of the report but one section is of them."""
        return tuple(group for group in self._groups if not group.system)

    @property
    def first_detectors(self) -> tuple[Group, ...]:
        """Each view's detectors of the first variant and seed: they are asked more than boxes."""
        first: dict[str, Group] = {}
        for group in self.groups:
            if group.task == "detector":
                first.setdefault(group.view, group.by_seed[0])
        return tuple(first.values())

    @property
    def systems(self) -> tuple[Group, ...]:
        """The other detectors that it compares them with, in its order."""
        return tuple(group for group in self._groups if group.system)

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        """The runs by task, view, variant, size and system."""
        grouped: dict[GroupKey, list[ReportedRun]] = {}
        for run in self.runs:
            key = (run.task, run.view, run.variant, run.size, run.system)
            grouped.setdefault(key, []).append(run)
        return tuple(
            Group(
                task=task,
                view=view,
                variant=variant,
                size=size,
                system=system,
                runs=tuple(sorted(runs, key=lambda run: (run.fold, run.repeat))),
            )
            for (task, view, variant, size, system), runs in grouped.items()
        )

    @property
    def missing(self) -> tuple[ReportedRun, ...]:
        """The runs without a result."""
        return tuple(run for run in self.runs if run.state != "finished")

    @property
    def cohort_facts(self) -> dict[str, Any]:
        """What the study says of its cohort that others may read: not where it lies, or its ids."""
        facts: dict[str, Any] = self.document["cohort"]
        return {name: facts[name] for name in facts if name not in ("folder", "contents")}

    @property
    def banner(self) -> str:
        """What every page of the study begins with, where its cohort shows phantoms; else empty."""
        facts = self.document["cohort"]
        return phantom_notice(facts.get("phantoms", 0), facts["sequences"])

    @property
    def splits(self) -> dict[str, list[Fold]]:
        """The folds of each split (``view``, ``detector/RCA``)."""
        return {
            key: [Fold(fold["train"], fold["validation"]) for fold in cut["folds"]]
            for key, cut in self.document["splits"].items()
        }

    @property
    def view_class(self) -> dict[str, str]:
        """The class of each view name in the labels."""
        return dict(self.document.get("view_classes", {}))

    def cohort(self) -> tuple[Cohort | None, str]:
        """The cohort, if it is still where it was or beside the runs, and what is wrong if not."""
        try:
            return self._cohort()
        except StorageError as problem:
            return None, (
                f"The cohort cannot be read, so that there are no intervals, curves or pictures: "
                f"{problem}"
            )

    def _cohort(self) -> tuple[Cohort | None, str]:
        recorded = open_storage(self.document["cohort"]["folder"])
        for candidate in (recorded, self.folder.parent / recorded.name):
            if not candidate.exists("annotations.json"):
                continue
            cohort = Cohort.open(candidate)
            facts = self.document["cohort"]
            if changed := cohort.changes(facts["digest"], facts.get("contents")):
                return None, (
                    f"The cohort in {candidate} is not the one that the study was made with (it "
                    f"has {changed}), so that nothing here is drawn from it: no intervals, curves "
                    "or pictures. Restore the cohort and make the report again."
                )
            return cohort, "" if "contents" in facts else BEGUN_EARLIER
        return None, (
            f"The cohort {recorded.name!r} was not found, neither where the study was made nor "
            "beside the runs folder, so that there are no intervals, curves or pictures. Put it "
            "there and make the report again."
        )
