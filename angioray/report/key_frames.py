"""Key frames: how far the frames that are found lie from the reference frames of readers."""

from __future__ import annotations

from typing import Any

import numpy as np

from angioray.evaluation.intervals import Jackknife
from angioray.evaluation.measures import COUNTS, Measure, Ratio, value
from angioray.report.findings import Findings
from angioray.report.page import Block, Section, Text
from angioray.report.severity import cell_of, listed
from angioray.report.tables import Row, Table
from preprocess.cohort import Cohort, Phase

METHODS = {"lstm": "LSTM", "pixels": "Pixels", "middle": "Middle"}
"""What found the frames, by its name in ``key_frames.json``."""
LISTED = (*((of, None) for of in METHODS), ("lstm", "pixels"), ("lstm", "middle"))
"""The rows of the table: a method, or what sets it apart from another."""
HEADINGS = {
    "frames_off": "Frames off",
    "seconds_off": "Seconds off",
    "within_1": "At most one frame off",
    "in_optimal": "In the optimal interval",
}
MEANINGS = {
    "Found by": "LSTM: a network that scores the frames of a cine by the features of the detector "
    "of its fold, after Cong et al.; Pixels: what preprocessing proposes of a cine without labels; "
    "Middle: the middle of the optimal interval as the cohort has it, of the cine where it has "
    "none; differences are of the same cines",
    "Frames off, Seconds off": "mean distance from the reference frame that the reader chose",
    "At most one frame off": "share of the cines of which that is true",
    "In the optimal interval": "share of the cines whose frame lies in the interval that a reader "
    "gave; the middle always does",
    "Cines": "held-out cines with a reference frame that a reader chose",
    "Patients": "whose they are",
}
"""What the headings mean."""
Judged = list[tuple[str, dict[str, int]]]
"""Cines, and of each the reference frame and the frame of every method."""


def key_frame_rows(findings: Findings) -> list[dict[str, Any]]:
    """The entries of ``report.json``: each measure of each method, and what sets the LSTM apart."""
    judged, cohort = _read(findings)[0], findings.cohort
    if cohort is None or not judged:
        return []
    jackknife = Jackknife.of([cohort.sequences[name].patient_id for name, _ in judged])
    measures = {of: _measures(cohort, judged, of) for of in METHODS}
    rows = []
    for of, against in LISTED:
        for metric, measure in measures[of].items():
            if against is None:
                found = listed(value(measure, len(judged)), jackknife.interval(measure))
            else:
                apart = jackknife.difference(measure, measures[against][metric])
                found = listed(apart.value, apart.ci95)
            row = {"of": of, "against": against, "metric": metric, **found}
            rows.append(row | {"sequences": len(judged), "patients": jackknife.patients})
    return rows


def key_frame_section(findings: Findings) -> Section | None:
    """How well the reference frame is found; None where no run was asked."""
    blocks: list[Block] = [Text(reason) for reason in _read(findings)[1]]
    if rows := key_frame_rows(findings):
        blocks.insert(0, _table(rows))
    if not blocks:
        return None
    return Section(anchor="key-frames", title="The reference frame", blocks=tuple(blocks))


def _table(rows: list[dict[str, Any]]) -> Table:
    found = {(row["of"], row["against"], row["metric"]): row for row in rows}
    counts = (str(rows[0]["sequences"]), str(rows[0]["patients"]))
    return Table(
        name="key_frames",
        caption="The reference frame, found in held-out cines",
        columns=("Found by", *HEADINGS.values(), "Cines", "Patients"),
        rows=tuple(
            Row(
                (
                    METHODS[of] + (f" less {METHODS[against].lower()}" if against else ""),
                    *(
                        cell_of(found[of, against, metric], signed=bool(against))
                        for metric in HEADINGS
                    ),
                    *counts,
                ),
                "" if of == "lstm" and against is None else "baseline",
            )
            for of, against in LISTED
        ),
        meanings=MEANINGS,
    )


def _measures(cohort: Cohort, judged: Judged, of: str) -> dict[str, Measure]:
    """The measures of a method by name; a cine counts where what they need is known of it."""
    cines = [cohort.sequences[name] for name, _ in judged]
    off = np.array([abs(frames[of] - frames["reference"]) for _, frames in judged], dtype=float)
    seconds = np.array([(cine.frame_time_ms or 0) / 1000 for cine in cines])
    intervals = [() if c.phases_proposed else c.frames_in(Phase.OPTIMAL) for c in cines]
    found = [frames[of] for _, frames in judged]
    inside = [float(t in interval) for t, interval in zip(found, intervals, strict=True)]
    bounded = np.array([float(len(interval) > 0) for interval in intervals])
    ones, timed = np.ones(len(cines)), (seconds > 0).astype(float)
    return {
        "frames_off": Ratio(numerator=off, denominator=ones, rules=COUNTS),
        "seconds_off": Ratio(numerator=off * seconds, denominator=timed, rules=COUNTS),
        "within_1": Ratio(numerator=(off <= 1).astype(float), denominator=ones),
        "in_optimal": Ratio(numerator=np.array(inside), denominator=bounded),
    }


def _read(findings: Findings) -> tuple[Judged, list[str]]:
    """What the finished folds of each view's first variant found, and why others found nothing."""
    judged: Judged = []
    reasons: list[str] = []
    for group in findings.study.first_detectors:
        silent: dict[int, str] = {}
        for run in group.finished:
            document = run.read("key_frames.json")
            with run.reading("key_frames.json"):
                for row in () if document is None else document["sequences"]:
                    frames = {name: int(row[name]) for name in ("reference", *METHODS)}
                    judged.append((str(row["sequence_id"]), frames))
                if document and document["reason"]:
                    silent[run.fold] = str(document["reason"])
        reasons += group.silence(silent, "the reference frame is not looked for")
    return judged, reasons
