"""What a cohort can be expected to show, before anything is trained."""

from __future__ import annotations

from collections import Counter

from angioray.evaluation.power import SMALL, Assumed, describe_power
from angioray.study.matrix import units_of_groups
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from preprocess.cohort import name_no_patients


def expected_power(study: Study, index: CohortIndex, assumed: Assumed | None = None) -> list[str]:
    """Sentences on the differences in recall that each view's detectors could show.

    Args:
        study: whose groups of near-duplicates join patients.
        index: its cohort.
        assumed: of two detectors; the defaults of :class:`Assumed` if None.
    """
    if "detector" not in study.settings.tasks:
        return ["No detector is trained: nothing is said of differences in recall."]
    sequences = index.cohort.sequences
    joined = units_of_groups(index, study.groups, "patient")
    units = "images" if name_no_patients(sequences.values()) else "patients"
    units = units if joined is None else f"groups of {units}"
    assumed = assumed or Assumed()
    sentences = [
        f"Assumed: two detectors with a recall of {assumed.recall:.2f} each; what they find of one "
        f"lesion correlates by {assumed.between_methods:.2f}, and what sets them apart on two "
        f"lesions of a patient by {assumed.within_patient:.2f}. After training the report computes "
        "the same from the differences that were seen."
    ]
    for view in index.detector_views:
        lesions: Counter[str] = Counter()
        members = (member.sequence_id for member in index.detector_members(view))
        for key in index.judged_frames(members, "reference"):
            unit = sequences[key[0]].patient_id if joined is None else joined[key[0]]
            lesions[unit] += len(index.cohort.boxes_by_frame.get(key, []))
        counts = [count for count in lesions.values() if count]
        if len(counts) < 2:
            sentences.append(f"{view}: lesions of {len(counts)} {units} show no difference.")
            continue
        error = assumed.error(counts)
        said = describe_power(error, len(counts), "recall", SMALL, units=units)
        sentences.append(f"{view}, {sum(counts)} lesions in reference frames: {said}")
    return sentences
