"""What is asked of the lesions of a cohort: whether they limit the flow, whether they are narrow.

A question is answered by yes or no. Grades are ordered classes, but one cut is all that is asked of
them: from half of the diameter on, angiographic studies usually call a stenosis significant. A
further cut leaves fewer lesions on its far side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from preprocess.cohort import Cohort
from preprocess.ifr import IFR_CUT_OFF

GRADE = re.compile(r"p(\d+)(?:_\d+)?")
"""A class of CADICA: by how many percent the artery is narrower, at least and at most."""
SIGNIFICANT_PERCENT = 50


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of yes or no about lesions, and what a cohort knows of the answer."""

    name: str
    """By which files call it."""
    about: str
    """Of what a sequence must know to be asked, in words."""
    yes: str
    """What a lesion has of which the answer is yes, in words."""
    no: str
    """Likewise, after ``yes`` in the same sentence."""
    of_lesion: Callable[[Cohort, str, int], bool | None]
    """The answer for a lesion of a sequence, by its ``instance_id``; None where nobody knows."""
    of_sequence: Callable[[Cohort, str], bool | None]
    """Whether it is yes for any lesion of a sequence."""


def _has_low_ifr(cohort: Cohort, sequence_id: str, _: int) -> bool | None:
    """Whether all lesions of a sequence limit the flow, or none; None where some do.

    Labels list values in no order that regions follow.
    """
    sides = {value <= IFR_CUT_OFF for value in cohort.sequences[sequence_id].ifr}
    return sides.pop() if len(sides) == 1 else None


def _lowest_is_low(cohort: Cohort, sequence_id: str) -> bool | None:
    values = cohort.sequences[sequence_id].ifr
    return min(values) <= IFR_CUT_OFF if values else None


def _is_significant(cohort: Cohort, sequence_id: str, instance_id: int) -> bool | None:
    """By the highest grade of a lesion's boxes: a view along the artery hides how narrow it is."""
    grades = map(GRADE.fullmatch, cohort.grades[sequence_id][instance_id])
    percents = [int(grade[1]) for grade in grades if grade]
    return max(percents) >= SIGNIFICANT_PERCENT if percents else None


def _any_is_significant(cohort: Cohort, sequence_id: str) -> bool | None:
    lesions = cohort.grades.get(sequence_id, {})
    answers = {_is_significant(cohort, sequence_id, lesion) for lesion in lesions}
    if True in answers:
        return True
    return None if None in answers or not answers else False


QUESTIONS = (
    Question(
        name="ifr",
        about="iFR",
        yes=f"an iFR of {IFR_CUT_OFF:g} or less",
        no="a higher one",
        of_lesion=_has_low_ifr,
        of_sequence=_lowest_is_low,
    ),
    Question(
        name="stenosis",
        about="degree of stenosis",
        yes=f"a stenosis of {SIGNIFICANT_PERCENT} % or more",
        no="a lesser one",
        of_lesion=_is_significant,
        of_sequence=_any_is_significant,
    ),
)
