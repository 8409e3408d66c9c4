"""The metrics of a view classifier: accuracy, F1, cross entropy, and those of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from angioray.evaluation.calibration import CalibrationError
from angioray.evaluation.matching import FloatArray, IntArray
from angioray.evaluation.measures import (
    LOSSES,
    SHARES,
    Draws,
    Measure,
    Metrics,
    Ratio,
    Rules,
    divided,
    value,
)

SMALLEST_PROBABILITY = 1e-7


def view_metrics(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> Metrics:
    """:func:`view_measures` of all frames; None where undefined, as all are without frames.

    Raises:
        ValueError: a label is not among the classes.
    """
    measures = view_measures(labels, probabilities, classes)
    return {name: value(measure, len(labels)) for name, measure in measures.items()}


def view_measures(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> dict[str, Measure]:
    """The measures of a classifier (paper, Table 2, and more), by name.

    Args:
        labels: the true class of each frame.
        probabilities: float[N, K], rows sum to 1. Of equal ones the first class is taken.
        classes: the K classes in the order of the columns.

    Returns:
        ``accuracy``, ``f1_macro``, ``cross_entropy`` (natural logarithm, probabilities clipped at
        1e-7), ``ECE`` of the greatest probability, and ``recall/CLASS``, ``precision/CLASS``,
        ``f1/CLASS`` of each class.

    Raises:
        ValueError: a label is not among the classes.
    """
    truth = class_indices(labels, classes)
    table = probabilities.reshape(-1, len(classes))
    predicted = table.argmax(axis=1)
    frames = np.arange(len(labels))
    ones = np.ones(len(labels))
    measures: dict[str, Measure] = {
        "accuracy": Ratio(numerator=(truth == predicted).astype(float), denominator=ones),
        "f1_macro": MacroF1(truth=truth, predicted=predicted, classes=len(classes)),
        "cross_entropy": Ratio(
            numerator=cross_entropies(labels, probabilities, classes),
            denominator=ones,
            rules=LOSSES,
        ),
        "ECE": CalibrationError(
            frame=frames, confidence=table[frames, predicted], right=truth == predicted
        ),
    }
    for number, name in enumerate(classes):
        true, said = (truth == number).astype(float), (predicted == number).astype(float)
        measures[f"recall/{name}"] = Ratio(numerator=true * said, denominator=true)
        measures[f"precision/{name}"] = Ratio(numerator=true * said, denominator=said)
        measures[f"f1/{name}"] = Ratio(numerator=2 * true * said, denominator=true + said)
    return measures


@dataclass(frozen=True, kw_only=True, eq=False)
class MacroF1:
    """The mean F1 over classes.

    A class that is neither true nor predicted anywhere has no F1 and does not enter the mean.
    """

    truth: IntArray
    """int[N], class indices."""
    predicted: IntArray
    """int[N]."""
    classes: int
    rules: ClassVar[Rules] = SHARES

    def values(self, draws: Draws) -> FloatArray:
        """The macro F1 of each draw."""
        frames, K = np.arange(len(self.truth)), self.classes
        right = self.truth == self.predicted
        hits = draws.table(frames[right], self.truth[right], K)
        total = draws.table(frames, self.truth, K) + draws.table(frames, self.predicted, K)
        f1 = np.nan_to_num(divided(2 * hits, total))
        return divided(f1.sum(axis=1), (total > 0).sum(axis=1))


def confusion_matrix(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> NDArray[np.int64]:
    """int[K, K]: frames by true class (row) and most probable class (column)."""
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    predicted = probabilities.reshape(-1, len(classes)).argmax(axis=1)
    np.add.at(matrix, (class_indices(labels, classes), predicted), 1)
    return matrix


def cross_entropies(
    labels: Sequence[str], probabilities: FloatArray, classes: Sequence[str]
) -> FloatArray:
    """float[N]: minus the natural logarithm of each true class's probability, clipped at 1e-7."""
    rows = np.arange(len(labels))
    of_truth = probabilities.reshape(-1, len(classes))[rows, class_indices(labels, classes)]
    losses: FloatArray = -np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0))
    return losses


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """int[N]: the column of each label.

    Raises:
        ValueError: a label is not among the classes.
    """
    column = {name: index for index, name in enumerate(classes)}
    if unknown := sorted(set(labels) - set(column)):
        raise ValueError(
            f"The label {unknown[0]!r} is not among the classes {', '.join(classes)}; "
            "map it to one of them or leave its sequences out."
        )
    return np.array([column[label] for label in labels], dtype=np.int64)
