"""The frames of a cohort that a run trains on and is judged on (paper, sections 3 and 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

from angioray.study.splits import Member
from preprocess.cohort import Cohort, Phase, Sequence, Verdict
from preprocess.views import example_mapping

if TYPE_CHECKING:  # it needs PyTorch, which a comparison of readers does not wait for
    from angioray.training.frames import FrameKey

T = TypeVar("T")

ALL_VIEWS = "all"
"""The detector view of a cohort whose boxes carry no view."""


@dataclass(frozen=True)
class CohortIndex:
    """A cohort seen through the study's view classes.

    Attributes:
        cohort: the cohort.
        view_class: the class of each sequence that has a view.
        boxed: sequences with a box on their reference frame.
        healthy: sequences that a reader found free of lesions.
        unfilled: sequences in which no artery fills; they are none of the others.
    """

    cohort: Cohort
    view_class: dict[str, str]
    boxed: frozenset[str]
    healthy: frozenset[str]
    unfilled: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cohort: Cohort, classes: Mapping[str, str]) -> CohortIndex:
        """Index a cohort.

        Raises:
            ValueError: a view name of the labels has no class.
        """
        views = {name: s.view for name, s in cohort.sequences.items() if s.view}
        if unknown := sorted(set(views.values()) - set(classes)):
            raise ValueError(
                f"The cohort names views without a class: {', '.join(unknown)}. Known are "
                f"{', '.join(classes)}. Map each in the setting `view_classes`, such as "
                f"`--view_classes '{example_mapping(unknown, classes)}'`."
            )
        reference = {
            key for key in cohort.boxes_by_frame if is_reference(cohort.sequences[key[0]], key[1])
        }
        boxed = frozenset(name for name, _ in reference)
        # Where a reader drew a lesion, the artery is filled, whatever was found in the pixels.
        unfilled = {name for name, s in cohort.sequences.items() if s.shows_no_filling} - boxed
        healthy = {name for name, s in cohort.sequences.items() if s.no_lesion} - unfilled
        return cls(
            cohort,
            {name: classes[view] for name, view in views.items() if name not in unfilled},
            boxed,
            frozenset(healthy),
            frozenset(unfilled),
        )

    @property
    def classes(self) -> list[str]:
        """The view classes that the cohort has sequences of, in alphabetical order."""
        return sorted(set(self.view_class.values()))

    @property
    def detector_views(self) -> list[str]:
        """The views that get a detector: each class with boxes, or `all` if no box has a view."""
        views = sorted({self.view_class[s] for s in self.boxed if s in self.view_class})
        return views or ([ALL_VIEWS] if self.boxed else [])

    def view_members(self) -> list[Member]:
        """The sequences of the view classifier, balanced by class."""
        sequences = self.cohort.sequences
        return [
            Member(
                sequence_id, sequences[sequence_id].patient_id, view, sequences[sequence_id].part
            )
            for sequence_id, view in self.view_class.items()
        ]

    def detector_members(self, view: str) -> list[Member]:
        """The sequences of one view's detectors, balanced by lesions per frame and health."""
        members = []
        for sequence_id in sorted(self.boxed | self.healthy):
            if view not in (ALL_VIEWS, self.view_class.get(sequence_id)):
                continue
            sequence = self.cohort.sequences[sequence_id]
            lesions = min(len(self._reference_boxes(sequence)), 2)
            stratum = f"{lesions} lesions"
            members.append(Member(sequence_id, sequence.patient_id, stratum, sequence.part))
        return members

    def view_frames(
        self, sequence_ids: Iterable[str], per_sequence: int | None
    ) -> list[tuple[FrameKey, str]]:
        """Frames to learn views from, with their class: optimal ones, evenly thinned if asked."""
        return [
            ((sequence_id, t), self.view_class[sequence_id])
            for sequence_id in sequence_ids
            for t in _thinned(contrast_frames(self.cohort.sequences[sequence_id]), per_sequence)
        ]

    def view_frame(self, sequence_id: str) -> FrameKey:
        """The one frame a sequence's view is judged on: reference, or the middle optimal one."""
        return sequence_id, view_frame(self.cohort.sequences[sequence_id])

    def detector_frames(self, sequence_ids: Iterable[str], variant: str) -> list[FrameKey]:
        """Frames to learn lesions from; those where the tracker lost one are left out.

        So are those with an area to ignore: it may hold lesions, which would be learned as none.
        """
        frames: list[FrameKey] = []
        for sequence_id in sequence_ids:
            sequence = self.cohort.sequences[sequence_id]
            if sequence_id in self.boxed:
                frames += self._boxed_frames(sequence)
                if "BG" in variant:
                    frames += [(sequence_id, t) for t in sequence.frames_in(Phase.NO_CONTRAST)]
            elif sequence_id in self.healthy and "NL" in variant:
                frames += [(sequence_id, t) for t in contrast_frames(sequence)]
        return [key for key in frames if key not in self.cohort.ignored_by_frame]

    def judged_frames(
        self, sequence_ids: Iterable[str], which: Literal["reference", "optimal"]
    ) -> list[FrameKey]:
        """Frames a detector is judged on: those with boxes, of sequences with lesions."""
        return [
            key
            for sequence_id in sequence_ids
            if sequence_id in self.boxed
            for key in self._boxed_frames(self.cohort.sequences[sequence_id])
            if which == "optimal" or is_reference(self.cohort.sequences[sequence_id], key[1])
        ]

    def healthy_frames(
        self, sequence_ids: Iterable[str], which: Literal["reference", "optimal"]
    ) -> list[FrameKey]:
        """Frames of healthy sequences that a detector is judged on beside those with boxes.

        With ``reference`` the one that names the view: a healthy sequence then counts with one
        frame, as one with lesions does.
        """
        return [
            (sequence_id, t)
            for sequence_id in sequence_ids
            if sequence_id in self.healthy - self.boxed
            for sequence in [self.cohort.sequences[sequence_id]]
            for t in ([view_frame(sequence)] if which == "reference" else contrast_frames(sequence))
        ]

    def lesion_frames(self, sequence_id: str, at_most: int) -> list[FrameKey]:
        """Frames of a sequence with every lesion's box, evenly thinned; all runs have them."""
        return _thinned(self.detector_frames([sequence_id], "B"), at_most)

    def _boxed_frames(self, sequence: Sequence) -> list[FrameKey]:
        """Frames with contrast and with every lesion's box."""
        return [
            key
            for t in contrast_frames(sequence)
            if (key := (sequence.sequence_id, t)) in self.cohort.boxes_by_frame
            and key not in self._lost
        ]

    @cached_property
    def _lost(self) -> set[FrameKey]:
        return {
            (box.sequence_id, box.frame_index)
            for box in self.cohort.boxes
            if box.verdict is Verdict.LOST
        }

    def _reference_boxes(self, sequence: Sequence) -> list[object]:
        if sequence.reference_frame is None:
            return []
        key = (sequence.sequence_id, sequence.reference_frame)
        return list(self.cohort.boxes_by_frame.get(key, []))


def view_frame(sequence: Sequence) -> int:
    """The index of the one frame that names a view: reference, or the middle optimal one."""
    if sequence.reference_frame is not None:
        return sequence.reference_frame
    optimal = contrast_frames(sequence)
    return optimal[len(optimal) // 2]


def is_reference(sequence: Sequence, frame_index: int) -> bool:
    """Whether a frame is its sequence's reference frame."""
    return sequence.reference_frame == frame_index


def contrast_frames(sequence: Sequence) -> range:
    """A sequence's optimal interval; all its frames where nobody labelled intervals."""
    return sequence.frames_in(Phase.OPTIMAL) or range(sequence.length)


def _thinned(frames: Listed[T], at_most: int | None) -> list[T]:
    if at_most is None or len(frames) <= at_most:
        return list(frames)
    return [frames[(2 * i + 1) * len(frames) // (2 * at_most)] for i in range(at_most)]
