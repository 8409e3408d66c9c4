"""What each reader says of a cohort: its own boxes, and those that readers keep apart.

All are compared on one frame of a sequence, which the cohort chooses: a reader may have another
reference frame, whose boxes were tracked to this one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from angioray.evaluation.agreement import Reading
from angioray.evaluation.matching import FloatArray
from angioray.study.selection import view_frame
from preprocess.cohort import Box, Cohort, Verdict
from preprocess.cohort.reviews import READERS, read_reviews, readers
from preprocess.storage import open_storage

COHORT = "cohort"
"""The reader who drew the boxes of the cohort itself."""


def readings(cohort: Cohort, classes: Mapping[str, str]) -> dict[str, dict[str, Reading]]:
    """What each reader says, by reader and sequence; :data:`COHORT` comes first.

    A reader has read the sequences that they accepted and did not exclude. They say a view where
    they named one: a second reading begins without any.

    Args:
        cohort: the cohort.
        classes: the class of each name of a view; another name is a class of its own.

    Raises:
        ValueError: a reader's journal is damaged.
        StorageError: the cohort's store cannot be reached or used.
    """
    boxes = defaultdict[str, list[Box]](list)
    for box in (*cohort.boxes, *cohort.ignored):
        boxes[box.sequence_id].append(box)

    def reading(name: str, view: str | None, drawn: Sequence[Box], healthy: bool) -> Reading:
        """``healthy``: whether no box means no lesion."""
        sequence = cohort.sequences[name]
        lesions = any(not box.ignored for box in drawn)
        said = lesions or healthy
        return Reading(
            patient_id=sequence.patient_id,
            view=None if view is None else classes.get(view, view),
            has_lesion=lesions if said else None,
            boxes_xyxy=_boxes_on(view_frame(sequence), drawn) if said else None,
        )

    found = {
        COHORT: {
            name: reading(name, sequence.view, boxes[name], sequence.no_lesion)
            for name, sequence in cohort.sequences.items()
            if sequence.view or sequence.no_lesion or boxes[name]
        }
    }
    # Not through the cohort's copy: what readers draw in the meantime would make it another one.
    folder = open_storage(cohort.copy.location).local_copy(f"{READERS}/")
    folder.need(f"{READERS}/")
    for reader in readers(folder.path):
        if reader == COHORT:
            raise ValueError(
                f"A reader is called {COHORT!r}, as the cohort's own boxes are. Give the file "
                f"{READERS}/{reader}.jsonl of the cohort another name."
            )
        found[reader] = {
            name: reading(name, review.state.view, review.state.boxes, healthy=True)
            for name, review in read_reviews(folder.path, reader).items()
            if review.accepted and not review.state.exclude and name in cohort.sequences
        }
    return found


def _boxes_on(frame: int, drawn: Sequence[Box]) -> FloatArray | None:
    """The lesions on one frame (float64[N, 4]); None where not all of them are known.

    They are not where one was lost, where an area is to be ignored, or where a sequence with
    lesions has no box. A study judges no such frame either, but for areas to ignore.
    """
    here = [box for box in drawn if box.frame_index == frame]
    elsewhere = not here and any(not box.ignored for box in drawn)
    if elsewhere or any(box.verdict is Verdict.LOST or box.ignored for box in here):
        return None
    return np.array([box.box_xyxy for box in here], dtype=np.float64).reshape(-1, 4)
