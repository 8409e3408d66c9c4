"""How well readers agree, as tables of the same metrics as those of the detectors."""

from __future__ import annotations

from collections.abc import Sequence

from angioray.evaluation.agreement import (
    ANY_LESION,
    ANY_LESION_KAPPA,
    AT_LEAST_ONE,
    EVERY_VIEW,
    F1,
    MEAN_IOU,
    PRECISION,
    RECALL,
    SAME_VIEW,
    SAME_VIEW_KAPPA,
    Agreement,
)
from angioray.report.published import EXPERTS
from angioray.report.tables import Row, Table, Value

_OF_BOXES = {
    AT_LEAST_ONE: "At least one",
    RECALL: "Recall, max 5",
    PRECISION: "Precision, max 5",
    F1: "F1, max 5",
    MEAN_IOU: "Mean IoU",
}
_OF_SEQUENCES = {
    ANY_LESION: "Any lesion",
    ANY_LESION_KAPPA: "Kappa, lesion",
    SAME_VIEW: "Same view",
    SAME_VIEW_KAPPA: "Kappa, view",
}


def each_pair_once(found: Sequence[Agreement]) -> list[Agreement]:
    """The agreements of each two readers with the first of them as the truth."""
    first: dict[frozenset[str], str] = {}
    return [
        pair
        for pair in found
        if first.setdefault(frozenset((pair.truth, pair.reader)), pair.truth) == pair.truth
    ]


def agreement_tables(found: Sequence[Agreement]) -> list[Table]:
    """Where readers draw boxes, and what they say of whole sequences; none without two readers."""
    if not found:
        return []
    boxes = [
        Row(
            (
                *(pair.truth, pair.reader, pair.view, str(pair.frames), str(pair.patients)),
                *_values(pair, _OF_BOXES),
            )
        )
        for pair in found
    ]
    sequences = [
        Row(
            (
                *(pair.truth, pair.reader, str(pair.sequences), str(pair.patients)),
                *_values(pair, _OF_SEQUENCES),
            )
        )
        for pair in each_pair_once(found)
        if pair.view == EVERY_VIEW
    ]
    return [
        Table(
            name="reader_agreement",
            caption="How well readers agree: each judged as a detector against each other",
            columns=("Truth", "Reader", "View", "Frames", "Patients", *_OF_BOXES.values()),
            rows=tuple(boxes),
            note="One frame of each sequence that both have read is compared: the "
            "cohort's reference frame, or the middle of its optimal interval where there is none. "
            "That is so too where the detectors were judged on all optimal frames "
            "(--detector.judged_frames optimal), which are more frames than these. "
            "A frame is left out that has an area to ignore, or on which a reader who found "
            "lesions has no box, or a lost one. "
            f"{EXPERTS}",
            meanings={
                "Truth": "who drew the boxes that are taken for the lesions; “cohort” is who drew "
                "the cohort's own, which the detectors learn",
                "Reader": "whose boxes are judged as those of a detector are, each with score 1",
                "View": "the artery that the sequences show",
                "Mean IoU": "of the boxes that find a lesion, with that lesion",
            },
        ),
        Table(
            name="reader_agreement_sequences",
            caption="How well readers agree about whole sequences",
            columns=("Reader", "Other", "Sequences", "Patients", *_OF_SEQUENCES.values()),
            rows=tuple(sequences),
            note="A second reading begins without a view, so that nobody agrees unasked. Kappa is "
            "undefined where both always say the same one thing.",
            meanings={
                "Reader, Other": "who are compared",
                "Any lesion": "share of the sequences about which both say that there is a lesion, "
                "or both that there is none",
                "Same view": "share of the sequences that both give the same view, where both give "
                "one",
                "Kappa, lesion": "Cohen's kappa of the same: what they agree on beyond chance, 1 "
                "at best, 0 for chance",
                "Kappa, view": "likewise of the view",
            },
        ),
    ]


def _values(pair: Agreement, names: dict[str, str]) -> list[Value]:
    return [Value(mean=pair.metrics[n].value, ci95=pair.metrics[n].ci95) for n in names]
