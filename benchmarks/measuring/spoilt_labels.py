"""Labels of a cohort that are spoilt on purpose, each as a reader might have got it wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np

from preprocess.cohort import (
    Box,
    BoxSource,
    Cohort,
    Phase,
    Sequence,
    update_attributes,
    write_annotations,
)
from preprocess.tracking.boxes import BoxXyxy, KeyBox, overlap
from preprocess.tracking.methods import TRACKERS
from preprocess.tracking.propagate import PropagateSettings
from preprocess.views import VIEW_CLASSES

OTHER_VIEW = {"RCA": "LCA", "LCA": "RCA"}
SHIFT = (0.5, 1.0)
"""How far a shifted box moves, as shares of its own width and height."""

Lesions = dict[int, list[Box]]
"""The readers' boxes of one sequence, by lesion."""
Spoil = Callable[[Lesions, np.random.Generator, list[Box]], Lesions | None]


def spoil_cohort(clean: Path, out: Path, share: float, seed: int) -> dict[str, str]:
    """Write a cohort with wrong labels, equal shares of each kind; boxes are tracked from them.

    Args:
        clean: a cohort whose labels are right.
        out: the folder to write; frames are linked, not copied.
        share: of the sequences, to be spoilt once each; those without a box stay as they are.
        seed: of what is spoilt and how.

    Returns:
        The kind of error by the sequence that has it.
    """
    shutil.copytree(clean, out, copy_function=_link)
    cohort = Cohort.open(out)
    random = np.random.default_rng(seed)
    lesions: dict[str, Lesions] = {}
    for box in cohort.boxes:
        if box.source is not BoxSource.TRACKED:
            lesions.setdefault(box.sequence_id, {}).setdefault(box.instance_id, []).append(box)
    placed = [box for of in lesions.values() for found in of.values() for box in found]
    spoilt: dict[str, str] = {}
    sequences, kinds = dict(cohort.sequences), cycle(KINDS)
    for kind in (next(kinds) for _ in range(round(share * len(cohort.sequences)))):
        for name in random.permutation([name for name in lesions if name not in spoilt]).tolist():
            if kind == WRONG_VIEW:
                view = OTHER_VIEW[VIEW_CLASSES[str(sequences[name].view)]]
                sequences[name] = replace(sequences[name], view=view)
                update_attributes(out, sequences[name])
            else:
                changed = OF_BOXES[kind](lesions[name], random, placed)
                if changed is None or not _inside(changed, sequences[name]):
                    continue
                lesions[name] = changed
            spoilt[name] = kind
            break
    boxes = [box for box in cohort.boxes if box.sequence_id not in spoilt]
    for name in spoilt:
        boxes += _tracked(cohort, name, lesions[name])
    write_annotations(out, sequences.values(), [*boxes, *cohort.ignored])
    return spoilt


def _missing(lesions: Lesions, random: np.random.Generator, _: list[Box]) -> Lesions | None:
    """One of several lesions was overlooked."""
    if len(lesions) < 2:
        return None
    gone = random.choice(sorted(lesions))
    return {number: boxes for number, boxes in lesions.items() if number != gone}


def _shifted(lesions: Lesions, random: np.random.Generator, _: list[Box]) -> Lesions | None:
    """A box is beside its lesion."""
    chosen = int(random.choice(sorted(lesions)))
    angle, far = random.uniform(0, 2 * np.pi), random.uniform(*SHIFT)
    moved = []
    for box in lesions[chosen]:
        x1, y1, x2, y2 = box.box_xyxy
        x, y = far * (x2 - x1) * np.cos(angle), far * (y2 - y1) * np.sin(angle)
        moved.append(replace(box, box_xyxy=(x1 + x, y1 + y, x2 + x, y2 + y)))
    return {**lesions, chosen: moved}


def _spurious(lesions: Lesions, random: np.random.Generator, placed: list[Box]) -> Lesions | None:
    """A box where no lesion is: on the place that one has in another cine."""
    boxes = [box for found in lesions.values() for box in found]
    place: BoxXyxy = placed[random.integers(len(placed))].box_xyxy
    if any(overlap(place, box.box_xyxy) for box in boxes):
        return None
    number = 1 + max(box.instance_id for box in placed) + boxes[0].instance_id
    return {**lesions, number: [replace(boxes[0], box_xyxy=place, instance_id=number)]}


OF_BOXES: Mapping[str, Spoil] = {
    "missing box": _missing,
    "shifted box": _shifted,
    "spurious box": _spurious,
}
WRONG_VIEW = "wrong view"
KINDS = (*OF_BOXES, WRONG_VIEW)


def _inside(lesions: Lesions, sequence: Sequence) -> bool:
    corners = [box.box_xyxy for boxes in lesions.values() for box in boxes]
    return all(
        min(x1, y1) >= 0 and x2 <= sequence.width and y2 <= sequence.height
        for x1, y1, x2, y2 in corners
    )


def _tracked(cohort: Cohort, name: str, lesions: Lesions) -> list[Box]:
    """The readers' boxes of a sequence, and those that follow from them."""
    boxes = [box for found in lesions.values() for box in found]
    optimal = cohort.sequences[name].frames_in(Phase.OPTIMAL)
    tracker = TRACKERS["joint"](cohort.cine_8bit(name))
    for placed in lesions.values():
        keys = [KeyBox(frame_index=b.frame_index, box_xyxy=b.box_xyxy) for b in placed]
        boxes += [
            replace(
                placed[0],
                frame_index=found.frame_index,
                box_xyxy=found.box_xyxy,
                source=BoxSource.TRACKED,
                confidence=round(found.confidence, 4),
                verdict=PropagateSettings().verdict(found.confidence),
            )
            for found in tracker.track(keys, optimal)
        ]
    return boxes


def _link(source: str, target: str) -> None:
    """As a copy: whatever is written anew later is written to another file first."""
    os.link(source, target)
