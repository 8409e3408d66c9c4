"""What the page shows of a cohort, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from preprocess.cohort.cines import bytes_per_pixel
from preprocess.cohort.phantoms import count_phantoms, phantom_notice
from preprocess.cohort.records import Exclusion
from preprocess.cohort.reviews import GROUPS, Review, state_as_json
from preprocess.ingest.journal import source_files
from preprocess.review.corrections import Corrections
from preprocess.review.doubts import Doubt
from preprocess.views import VIEW_CLASSES, angles_in_words


class Contents:
    """A cohort under review as the page asks for it.

    Attributes:
        corrections: the decisions.
    """

    def __init__(self, corrections: Corrections, doubts: Mapping[str, Sequence[Doubt]]) -> None:
        """``doubts`` are by sequence, the most doubtful first; the others follow."""
        self.corrections = corrections
        self._doubts = doubts
        self._files = source_files(corrections.cohort.folder)
        doubtful = [name for name in doubts if name in corrections.sequences]
        self._order = list(dict.fromkeys([*doubtful, *corrections.sequences]))

    def overview(self) -> dict[str, Any]:
        """The cohort and a line for each of its sequences, the most doubtful first."""
        sequences = self.corrections.sequences.values()
        named = {self.corrections.review(s.sequence_id).state.view for s in sequences}
        return {
            "name": self.corrections.cohort.folder.absolute().name,
            "reader": self.corrections.reader,
            "views": [*VIEW_CLASSES, *sorted(v for v in named if v and v not in VIEW_CLASSES)],
            "exclusions": list(Exclusion),
            "notice": phantom_notice(count_phantoms(sequences), len(sequences)),
            "sequences": [self._line(name) for name in self._order],
        }

    def sequence(self, sequence_id: str) -> dict[str, Any]:
        """All that is known of one sequence, but its frames."""
        review = self.corrections.review(sequence_id)
        sequence = self.corrections.sequences[sequence_id]
        display = sequence.display
        return {
            "id": sequence_id,
            "revision": review.revision,
            "accepted": review.accepted,
            "by": review.by,
            "at": review.at,
            "bytes_per_pixel": bytes_per_pixel(self.corrections.cohort.folder, sequence_id),
            "display": {
                "lower": display.lower,
                "upper": display.upper,
                "inverted": display.inverted,
                "modality_lut": display.modality_lut,
            },
            "proposed": {
                "phases": sequence.phases_proposed,
                "reference": sequence.reference_proposed,
            },
            "state": state_as_json(review.state),
            "original": state_as_json(review.before),
        }

    def warm_up(self) -> None:
        """Read the first cine, for the first reading of a process takes half a second."""
        for name in self._order[:1]:
            with suppress(ValueError):  # the page says what is wrong with it
                self.corrections.frames(name)

    def standing(self) -> str:
        """How far the review is, as a sentence."""
        reviews = [self.corrections.review(name) for name in self.corrections.sequences]
        accepted = sum(review.accepted for review in reviews)
        changed = sum(map(is_changed, reviews))
        count = f"{len(reviews)} sequence{'s' if len(reviews) != 1 else ''}"
        return f"{count}: {accepted} accepted, {changed} changed."

    def _line(self, name: str) -> dict[str, Any]:
        sequence, review = self.corrections.sequences[name], self.corrections.review(name)
        state = review.state
        return {
            "id": name,
            "patient": sequence.patient_id,
            "view": state.view,
            "angles": angles_in_words(sequence),
            "length": sequence.length,
            "width": sequence.width,
            "height": sequence.height,
            "frame_time_ms": sequence.frame_time_ms,
            "doubts": [
                {"words": d.words, "frame": d.frame_index, "box": d.box_xyxy}
                for d in self._doubts.get(name, ())
            ],
            "accepted": review.accepted,
            "changed": is_changed(review),
            "exclude": state.exclude,
            "lesions": len({box.instance_id for box in state.boxes if not box.ignored}),
            "file": self._files.get(name),
            "revision": review.revision,
        }


def is_changed(review: Review) -> bool:
    """Whether a reader has changed anything, rather than accepted what there was."""
    state, before = review.state, review.before
    same_boxes = state.key_boxes == before.key_boxes
    return not same_boxes or any(
        getattr(state, name) != getattr(before, name) for group in GROUPS for name in group
    )
