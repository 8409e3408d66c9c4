"""A study, frozen in ``study.json`` before the first run starts: settings, folds and runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

from angioray.models.architectures import build_detector
from angioray.models.backbone import to_download
from angioray.models.classifier import view_classifier
from angioray.models.settings import NAMED_WEIGHTS
from angioray.study.differences import describe_difference, differences
from angioray.study.duplicate_groups import Groups, groups_of
from angioray.study.matrix import Run, Splits, lay_out
from angioray.study.selection import CohortIndex
from angioray.study.settings import (
    DetectorTraining,
    StudySettings,
    ViewTraining,
    settings_from_dict,
    with_absolute_paths,
)
from angioray.study.splits import Fold, splits_digest
from preprocess.cohort import Cohort, count_phantoms
from preprocess.cohort.annotations import ANNOTATIONS
from preprocess.cohort.records import check_types
from preprocess.console.names import instead
from preprocess.storage import FolderStorage, Location, Storage, absolute, open_storage
from preprocess.storage.names import check_name

SCHEMA_VERSION = 1
STUDY_FILE = "study.json"
BEGUN_EARLIER = (
    "The study was begun by a version that compared its cohort's annotations and pixels alone: "
    "whether a view or a display was changed since then cannot be told."
)
SIDES = ("train", "validation")
"""Of a fold."""


@dataclass(frozen=True)
class Study:
    """A frozen study.

    Attributes:
        folder: the runs folder.
        cohort_folder: where the cohort lay when the study was made.
        settings: what it runs with.
        splits: folds by split key (``view``, ``detector/RCA``).
        runs: the whole matrix.
        groups: near-duplicates that lie on one side of every fold.
    """

    folder: Storage
    cohort_folder: str
    settings: StudySettings
    splits: Splits
    runs: tuple[Run, ...]
    groups: Groups = ()

    @property
    def sha256(self) -> str:
        """The digest of ``study.json``: names the study where its folder may name people."""
        return hashlib.sha256(self.folder.read(STUDY_FILE) or b"").hexdigest()

    def run(self, name: str) -> Run:
        """The run of that name.

        Raises:
            ValueError: the study has no such run.
        """
        for run in self.runs:
            if run.name == name:
                return run
        there = instead(name, (run.name for run in self.runs))
        raise ValueError(f"The study in {self.folder} has no run {name!r}: {there}.")

    def runs_of_folds(self, named: str) -> list[Run]:
        """The runs of some folds, named as in ``0,1``.

        Raises:
            ValueError: a name is that of no fold.
        """
        there = [str(fold) for fold in sorted({run.fold for run in self.runs})]
        wanted = [word.strip() for word in named.strip("[]() ").split(",")]
        if unknown := [word for word in wanted if word not in there]:
            raise ValueError(
                f"{unknown[0]!r} is no fold of the study, which has {', '.join(there)}. Give their "
                "numbers with commas between, such as `--folds-only 0,1`."
            )
        return [run for run in self.runs if str(run.fold) in wanted]

    def settings_of(self, run: Run) -> StudySettings:
        """The settings of a run: the study's, with the detector of the run's system."""
        return self.settings.of_system(run.system)

    def detector_of(self, run: Run) -> DetectorTraining:
        """The settings of a run's detector."""
        return self.settings.detectors[run.system]

    def fold(self, run: Run) -> Fold:
        """The two sides of a run's fold."""
        return self.splits[run.split_key][run.fold]

    @classmethod
    def plan(cls, cohort: Cohort, runs_folder: Location, settings: StudySettings) -> Study:
        """Lay out folds and runs without writing anything.

        Raises:
            ValueError: the cohort is too small for the folds, or gives a task nothing to do.
        """
        settings = with_absolute_paths(settings)
        splits, runs = lay_out(CohortIndex.of(cohort, settings.view_classes), settings)
        location = absolute(cohort.copy.location)
        groups = groups_of(cohort, settings.groups)
        return cls(open_storage(runs_folder), location, settings, splits, runs, groups)

    def freeze(self, cohort: Cohort) -> None:
        """Write ``study.json``, or check that the one there is this study.

        Raises:
            ValueError: the folder holds another study; the differences are named. Or its
                ``study.json`` is damaged.
        """
        self.refuse_another(cohort)
        self.folder.write_json(STUDY_FILE, self._document(cohort))

    def refuse_another(self, cohort: Cohort) -> None:
        """Check that the folder holds this study, or none.

        Raises:
            ValueError: it is no folder, or holds a cohort or another study; the differences are
                named. Or its ``study.json`` is damaged.
        """
        if isinstance(self.folder, FolderStorage) and self.folder.path.is_file():
            raise ValueError(f"{self.folder} is a file, expected a folder for runs: `--runs`.")
        if self.folder.exists(ANNOTATIONS):
            raise ValueError(
                f"{self.folder} holds a cohort. Give runs a folder of their own: `--runs`."
            )
        if not self.folder.exists(STUDY_FILE):
            return
        document, kept = self._document(cohort), read_study(self.folder)
        changed = cohort.changes(kept["cohort"]["digest"], kept["cohort"].get("contents"))
        if "contents" not in kept["cohort"]:
            print(f"Note: {BEGUN_EARLIER} From now on all of it is compared.")
        # The same cohort may lie elsewhere today.
        kept["cohort"] = document["cohort"]
        self._refuse_without(kept["settings"]["systems"])
        self._accept_more(kept, document)
        words = [describe_difference(*each) for each in differences(kept, document)[:5]]
        if changed:  # folds and runs then differ as well
            words = [f"the cohort has {changed}"]
        if words:
            raise ValueError(
                f"{self.folder / STUDY_FILE} was made with other inputs: {'; '.join(words)}. "
                "Give the same ones to continue it, or another runs folder for a new study."
            )

    def _refuse_without(self, systems: Mapping[str, Any]) -> None:
        """Systems may be added to a study and not taken away: their runs are part of it."""
        if gone := [name for name in systems if name not in self.settings.systems]:
            raise ValueError(
                f"The study in {self.folder} has the systems {', '.join(systems)}, and "
                f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} not given. Give the same "
                "ones to continue it (its settings are in study.json), or another runs folder for "
                "a new study."
            )

    @staticmethod
    def _accept_more(kept: dict[str, Any], document: Mapping[str, Any]) -> None:
        """More seeds or systems continue a study: the runs of before keep names and results."""
        before, now = kept["settings"], document["settings"]
        more = now["seeds"] >= before["seeds"] and all(
            now["systems"].get(name) == system for name, system in before["systems"].items()
        )
        earlier = [
            run
            for run in document["runs"]
            if run.get("repeat", 0) < before["seeds"]
            and run.get("system", "") in ("", *before["systems"])
        ]
        if more and kept["runs"] == earlier:
            before |= {"seeds": now["seeds"], "systems": now["systems"]}
            kept["runs"] = document["runs"]

    @property
    def weights_files(self) -> list[str]:
        """The files of weights that its networks start from."""
        given = {settings.weights for settings, _ in self._networks(self.runs)}
        return sorted(given - set(NAMED_WEIGHTS))

    def look_for_weights(
        self, runs: Iterable[Run] | None = None, *, download: bool = True
    ) -> list[str]:
        """Refuse a study whose networks' weights cannot be had.

        Args:
            runs: whose networks; all of the study's if None.
            download: get published weights that are not on this machine yet.

        Returns:
            Sentences on weights that are yet to be downloaded.

        Raises:
            ValueError: they cannot be had, or do not fit the network.
        """
        notes = []
        for settings, build in self._networks(self.runs if runs is None else runs):
            backbone = settings.backbone
            if isinstance(settings, DetectorTraining):
                backbone = settings.pretrained_backbone
            source = to_download(backbone, settings.weights)
            if source is None or download:
                build()
            else:
                notes.append(
                    f"The ImageNet weights of {backbone} are not on this machine yet; "
                    f"the study begins by downloading them from {source}."
                )
        return list(dict.fromkeys(notes))

    def _networks(
        self, runs: Iterable[Run]
    ) -> Iterator[tuple[ViewTraining | DetectorTraining, Callable[[], object]]]:
        """The settings of each network of some runs, and what builds it with its weights."""
        view = self.settings.view
        for task, system in dict.fromkeys((run.task, run.system) for run in runs):
            if task == "view":
                yield view, partial(view_classifier, view.backbone, view.weights, classes=2)
            else:
                detector = self.settings.detectors[system]
                yield detector, partial(build_detector, detector)

    @classmethod
    def open(cls, location: Location) -> Study:
        """Read a frozen study.

        Raises:
            ValueError: there is none.
        """
        folder = open_storage(location)
        document = read_study(folder)
        return cls(
            folder,
            document["cohort"]["folder"],
            settings_from_dict(document["settings"]),
            _splits_of(document),
            _runs_of(document),
            _groups_of(document),
        )

    def _document(self, cohort: Cohort) -> dict[str, Any]:
        unit = {"view": self.settings.view.split_unit}
        document = {
            "schema_version": SCHEMA_VERSION,
            "cohort": {
                "folder": self.cohort_folder,
                "digest": cohort.digest,
                "contents": cohort.contents,
                "sequences": len(cohort.sequences),
                "phantoms": count_phantoms(cohort.sequences.values()),
                "patients": len({s.patient_id for s in cohort.sequences.values()}),
            },
            "settings": asdict(self.settings),
            "view_classes": self.settings.view_classes,
            "splits_sha256": splits_digest(self.splits),
            "splits": {
                key: {
                    "unit": unit.get(key, "patient"),
                    "folds": [asdict(fold) for fold in cut],
                }
                for key, cut in self.splits.items()
            },
            **self._near_duplicates(),
            "runs": [{**run.as_json(), "name": run.name} for run in self.runs],
        }
        return _plain(document)

    def _near_duplicates(self) -> dict[str, Any]:
        """The groups that were kept together; nothing where the study was given none."""
        if self.settings.groups is None:
            return {}
        groups = self.groups
        counts = {"groups": len(groups), "sequences": sum(map(len, groups))}
        return {"near_duplicates": {**counts, "sequence_ids": groups}}


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """The same as JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def read_study(folder: Storage) -> dict[str, Any]:
    """``study.json``, with the settings that came after it.

    Raises:
        ValueError: the folder holds no study of this schema version, or a damaged one.
    """
    path = folder / STUDY_FILE
    text = folder.read(STUDY_FILE)
    if text is None:
        raise ValueError(
            f"{folder} holds no study: it has no {STUDY_FILE}. Make one with "
            f"`python -m angioray.cv COHORT --all-folds --runs {folder}`."
        )
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise _damaged(path, str(problem)) from problem
    if not isinstance(document, dict) or "schema_version" not in document:
        raise _damaged(path, "it has no schema version")
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {document['schema_version']}; this version reads "
            f"{SCHEMA_VERSION}. Go on with the version that began the study."
        )
    if missing := sorted({"cohort", "settings", "splits", "runs"} - document.keys()):
        raise _damaged(path, f"it lacks {', '.join(missing)}")
    try:
        _runs_of(document)
        _splits_of(document)
        _groups_of(document)
        # A study that was begun before a setting was there goes on all the same.
        document["settings"] = _plain(asdict(settings_from_dict(document["settings"])))
        _check_cohort(document["cohort"])
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as problem:
        raise _damaged(path, " ".join(str(problem).split()).removesuffix(".")) from problem
    return document


def _runs_of(document: Mapping[str, Any]) -> tuple[Run, ...]:
    """The runs; their names, which become folders, are those that their settings give."""
    runs = []
    for entry in document["runs"]:
        run = Run(**{f.name: entry[f.name] for f in fields(Run) if f.name in entry})
        check_types(run)
        if check_name(entry["name"], "a run") != run.name:
            raise ValueError(f"the run {run.name} is called {entry['name']}")
        runs.append(run)
    return tuple(runs)


def _splits_of(document: Mapping[str, Any]) -> Splits:
    splits = {
        key: tuple(
            Fold(*(tuple(check_name(s, "a sequence") for s in fold[side]) for side in SIDES))
            for fold in cut["folds"]
        )
        for key, cut in document["splits"].items()
    }
    for run in _runs_of(document):
        if not 0 <= run.fold < len(splits[run.split_key]):
            raise ValueError(f"the run {run.name} is of a fold that is not there")
    return splits


def _groups_of(document: Mapping[str, Any]) -> Groups:
    kept = document.get("near_duplicates", {}).get("sequence_ids", ())
    return tuple(tuple(check_name(s, "a sequence") for s in group) for group in kept)


def _check_cohort(facts: Mapping[str, Any]) -> None:
    """What a study remembers of its cohort, with the types that it was written with."""
    expected = {"folder": str, "digest": str, "sequences": int, "patients": int}
    for name, kind in expected.items():
        if not isinstance(facts[name], kind):
            raise TypeError(f"{name} of its cohort is {ascii(facts[name])[:80]}")


def _damaged(path: Storage, problem: str) -> ValueError:
    return ValueError(
        f"{path} is damaged ({problem}). Put it back from a copy, or remove it and give "
        "`python -m angioray.cv` the same cohort and settings: it writes the same study again "
        "and keeps the finished runs."
    )
