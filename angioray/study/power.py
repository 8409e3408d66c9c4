"""What a cohort can be expected to show, before anything is trained."""

from __future__ import annotations

from collections import Counter

from angioray.evaluation.power import SMALL, Assumed, describe_power
from angioray.study.selection import CohortIndex


def expected_power(index: CohortIndex, assumed: Assumed | None = None) -> list[str]:
    """Sentences on the differences in recall that each view's detectors could show.

    Args:
        index: the cohort.
        assumed: of two detectors; the defaults of :class:`Assumed` if None.
    """
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
            patient_id = index.cohort.sequences[key[0]].patient_id
            lesions[patient_id] += len(index.cohort.boxes_by_frame.get(key, []))
        of_patients = [count for count in lesions.values() if count]
        if len(of_patients) < 2:
            sentences.append(f"{view}: lesions of {len(of_patients)} patients show no difference.")
            continue
        said = describe_power(assumed.error(of_patients), len(of_patients), "recall", SMALL)
        sentences.append(f"{view}, {sum(of_patients)} lesions in reference frames: {said}")
    return sentences
