"""What the words of the report mean: the headings of its tables, and what all numbers share.

A table shows the meanings of its own headings below it (:meth:`Table.terms`), so that they are said
here alone. A heading such as ``Recall, max 5`` is defined by its parts.
"""

from __future__ import annotations

from angioray.evaluation.measures import COUNTS, FEWEST_PATIENTS, LOSSES
from angioray.report.page import Section, Terms
from angioray.report.published import PAPER_IN_SHORT
from angioray.report.tables import LOW_TO_HIGH, MEAN_STD, PUBLISHED

FIXED_BOXES = "Fixed boxes"
MAJORITY = "Majority class"

VARIANTS = (
    "the frames that the detector was trained on. B: contrast-filled frames with their boxes; BG: "
    "those, and frames of the same sequences without contrast; NL: B, and frames of healthy "
    "sequences; BGNL: all of these"
)

GLOSSARY = {
    # Which runs a row is of.
    "View": "the artery that the sequences show; each has detectors of its own",
    "Variant": VARIANTS,
    "System": "a detector by its name in the setting systems; all are trained and judged on the "
    "same folds",
    "Input (px)": "width and height in pixels that a frame is resized to for the network",
    "Fold": "the fold that was held out from the training, and judged",
    "Folds": "finished folds of all folds; numbers are of the finished ones, and of the seeds that "
    "finished the same folds as the first",
    "Patients": "how many patients the row is of",
    "Sequences": "how many sequences (cines) the row is of",
    "Frames": "how many frames the row is of",
    # Views.
    "Accuracy": "share of the answers that are right",
    "F1 (macro)": "mean over classes of 2 TP / (2 TP + FP + FN)",
    "Cross entropy": "mean of the negative natural logarithm of the true class's probability, "
    "clipped at 1e-7; 0 at best",
    "Class": "the view that is true (recall) or answered (precision)",
    # Boxes.
    "At least one": "share of the sequences with a lesion in which one box or more is right",
    "Recall": "share of the lesions that a box finds; a box is right, and finds a lesion, if "
    "their IoU (shared area over joint area) is above 0.2",
    "Precision": "share of the boxes that are right",
    "F1": "harmonic mean of recall and precision, 2 TP / (2 TP + FP + FN)",
    "max 1": "of each frame counts the box of highest score, if that is above 0.5",
    "max 5": "of each frame count the five boxes of highest score, as far as that is above 0.5",
    "any score": "of each frame count the five boxes of highest score, however low",
    "AP": "COCO's average precision at an IoU above 0.2: the mean precision at 101 values of "
    "recall, of boxes of any score; at most five a frame, if nothing else is said",
    "AUC, frames": "area under the ROC curve of lesion or none: the share of pairs of a frame with "
    "lesions and a healthy one in which the former’s best box has the higher score; 0.5 is chance",
    "5 boxes": "of each frame count at most five, those of highest score",
    "100 boxes": "likewise at most 100",
    "AP30": "AP at an IoU of 0.3 or more, at most 100 boxes a frame",
    "AP50 (COCO)": "AP at an IoU of 0.5 or more, at most 100 boxes a frame",
    "AP (COCO)": "mean of AP at ten IoUs from 0.50 to 0.95, at most 100 boxes a frame",
    "Calibration error": "mean distance between confidence and the share that is right, over ten "
    "bins of confidence weighted by their answers; 0 at best",
    # Training.
    "Steps": "optimiser steps that the run took",
    "Time": "how long the run took",
    "State": "finished, or why there is no result",
    # What a cell holds.
    MEAN_STD: "over the finished folds",
    LOW_TO_HIGH: f"95 % interval, over patients; none where fewer than {FEWEST_PATIENTS} of them "
    f"say anything ({COUNTS.fewest_patients} for false boxes and FROC, {LOSSES.fewest_patients} "
    "for cross entropy)",
    PUBLISHED: f"{PAPER_IN_SHORT}, on its own cohort: a difference is not one between methods "
    "alone",
}
"""Meanings by heading, or by a part of one between commas."""

_OF_ALL_NUMBERS = {
    MEAN_STD: "the standard deviation is the sample's (n \N{MINUS SIGN} 1): how much folds "
    "differ, and no interval of the mean. Undefined values, such as the precision of no boxes, are "
    "left out",
    "Judged frames": "all numbers are of frames that were held out from the training of the model "
    "that they judge",
    "Right box": "boxes are taken in falling order of score; each takes the free lesion that it "
    "overlaps most, and a lesion is found once",
    LOW_TO_HIGH: "95 % interval for the value of these trained models on new patients like those "
    "of the cohort: by the jackknife, which leaves out each patient in turn, on the held-out "
    "frames of all finished folds together. It says how the patients vary, not the training. "
    "Together, folds weigh by their size, so that an interval need not be centred on the mean over "
    "folds. In simulated studies it holds the true value in about 95 of 100. A calibration error "
    "has none, for it is too high on few answers",
    FIXED_BOXES: "what a detector finds beyond them, it sees",
}


def definitions_section() -> Section:
    """What holds for the numbers of all tables."""
    terms = Terms(_OF_ALL_NUMBERS)
    return Section(anchor="reading", title="How to read the numbers", blocks=(terms,))
