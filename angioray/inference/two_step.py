"""Both steps on new frames: name the view, then detect with that view's detectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from angioray.evaluation.matching import Detections
from angioray.inference.ensemble import flipped_boxes, flipped_images, fuse
from angioray.inference.settings import EnsembleSettings, Flip
from angioray.inference.trained import Models
from angioray.study.detector_task import detect_frames
from angioray.study.held_out import HeldOut
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import ALL_VIEWS, CohortIndex
from angioray.study.study import Study
from angioray.study.view_task import view_probabilities
from angioray.training.frames import FrameKey, FrameStore, load_frames
from angioray.training.precision import dtype_here
from preprocess.cohort import Cohort
from preprocess.console.progress import track

_FRAMES_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class NamedView:
    """What step 1 says of a sequence."""

    view: str
    probabilities: Mapping[str, float]
    """Of each class: the mean over the models that judged the sequence."""
    models: int


@dataclass(frozen=True, kw_only=True)
class TwoStep:
    """A study's finished models at work on a cohort, each sequence judged by models that never
    saw its patient."""

    study: Study
    cohort: Cohort
    held_out: HeldOut
    ensemble: EnsembleSettings
    device: torch.device
    models: Models = field(default_factory=Models)
    quiet: bool = False
    """Show no progress."""

    def name_views(self, frames: Mapping[str, FrameKey], size: int) -> dict[str, NamedView]:
        """Step 1 on one frame of each sequence, but for those that no finished model may judge.

        Raises:
            ValueError: no view classifier of that size is finished.
        """
        runs = [r for r in self.study.runs if r.task == "view" and r.size == size]
        said: dict[str, list[dict[str, float]]] = defaultdict(list)
        shared = self._share_out(runs, "view", frames, f"view classifier at {size} px")
        for run, sequences in self._tracked(shared, "Naming views"):
            model = self.models.classifier(self._folder(run), self.device)
            classes = self._folder(run).result()["classes"]
            for keys in _pieces([frames[sequence] for sequence in sequences]):
                store = self._load(keys, size)
                for key, row in zip(keys, self._probabilities(model, store, keys), strict=True):
                    said[key[0]].append(dict(zip(classes, row.tolist(), strict=True)))
        return {sequence: _named(answers) for sequence, answers in said.items()}

    def detect(
        self, keys: Iterable[FrameKey], views: Mapping[str, str], variant: str
    ) -> dict[FrameKey, Detections]:
        """Step 2: boxes on frames, by the detectors of the view that each sequence is taken for.

        Frames of a view that has no detector get no boxes; those that no finished model may judge
        are left out.

        Raises:
            ValueError: no detector of a view that has some is finished.
        """
        by_view: dict[str, list[FrameKey]] = defaultdict(list)
        detectors = {run.view for run in self.study.runs if run.task == "detector"}
        for key in keys:
            by_view[ALL_VIEWS if ALL_VIEWS in detectors else views[key[0]]].append(key)
        found: dict[FrameKey, Detections] = {}
        for view, of_view in by_view.items():
            if view in detectors:
                found |= self._detect(of_view, view, variant)
            else:
                found |= {key: (np.empty((0, 4)), np.empty(0)) for key in of_view}
        return found

    def _detect(self, keys: list[FrameKey], view: str, variant: str) -> dict[FrameKey, Detections]:
        runs = [r for r in self.study.runs if r.view == view and r.variant == variant]
        of_sequence: dict[str, list[FrameKey]] = defaultdict(list)
        for key in keys:
            of_sequence[key[0]].append(key)
        answers: dict[FrameKey, list[Detections]] = defaultdict(list)
        label = f"{view} detector, variant {variant}"
        shared = self._share_out(runs, f"detector/{view}", of_sequence, label)
        for run, sequences in self._tracked(shared, f"Looking, {view}"):
            model = self.models.detector(self._folder(run), self.device)
            for piece in _pieces([key for s in sequences for key in of_sequence[s]]):
                store = self._load(piece, run.size)
                for flip in (None, *self.ensemble.flips):
                    looked_at = store if flip is None else _flipped(store, flip)
                    found = detect_frames(model, looked_at, piece, self._precision)
                    for key, answer in found.items():
                        answers[key].append(self._unflipped(key, answer, flip))
        most = self.study.settings.detector.max_predictions
        iou = self.ensemble.fusion_iou
        return {key: fuse(said, iou=iou, most=most) for key, said in answers.items()}

    @property
    def _precision(self) -> torch.dtype:
        return dtype_here(self.study.settings.precision, self.device)

    def _probabilities(
        self, model: torch.nn.Module, store: FrameStore, keys: Sequence[FrameKey]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return view_probabilities(model, store, keys, self._precision)

    def _unflipped(self, key: FrameKey, answer: Detections, flip: Flip | None) -> Detections:
        boxes, scores = answer
        if flip is None:
            return boxes, scores
        sequence = self.cohort.sequences[key[0]]
        size = sequence.width if flip == "horizontal" else sequence.height
        return flipped_boxes(boxes, flip, size), scores

    def _share_out(
        self, runs: Sequence[Run], split_key: str, sequences: Iterable[str], what: str
    ) -> list[tuple[Run, list[str]]]:
        """The finished runs, and which sequences each may judge."""
        finished = {run.fold: run for run in runs if self._folder(run).finished}
        if not finished:
            raise ValueError(
                f"No {what} of the study in {self.study.folder} is finished. Continue it with "
                f"`python -m angioray.cv COHORT --all-folds --runs {self.study.folder}`."
            )
        shared: dict[int, list[str]] = {fold: [] for fold in finished}
        for sequence in sequences:
            for fold in set(self.held_out.folds(split_key, sequence)) & finished.keys():
                shared[fold].append(sequence)
        return [(finished[fold], of_fold) for fold, of_fold in shared.items() if of_fold]

    def _tracked(
        self, shared: list[tuple[Run, list[str]]], label: str
    ) -> Iterable[tuple[Run, list[str]]]:
        return shared if self.quiet else track(shared, total=len(shared), label=label)

    def _folder(self, run: Run) -> RunFolder:
        return RunFolder.of(self.study.folder, run)

    def _load(self, keys: Sequence[FrameKey], size: int) -> FrameStore:
        return load_frames(self.cohort, keys, size=size, device=self.device)


def frames_to_name(index: CohortIndex, sequences: Iterable[str]) -> dict[str, FrameKey]:
    """The frame that each sequence's view is named from: its reference, or the middle optimal."""
    return {sequence: index.view_frame(sequence) for sequence in sequences}


def _named(answers: Sequence[Mapping[str, float]]) -> NamedView:
    classes = sorted({name for answer in answers for name in answer})
    means = {
        name: float(np.mean([answer.get(name, 0.0) for answer in answers])) for name in classes
    }
    best = max(classes, key=lambda name: means[name])
    return NamedView(view=best, probabilities=means, models=len(answers))


def _flipped(store: FrameStore, flip: Flip) -> FrameStore:
    return replace(store, pixels=flipped_images(store.pixels, flip))


def _pieces(keys: Sequence[FrameKey]) -> Iterable[Sequence[FrameKey]]:
    """Frames in pieces that fit into memory, those of a cine together where they can be."""
    return (keys[i : i + _FRAMES_AT_ONCE] for i in range(0, len(keys), _FRAMES_AT_ONCE))
