"""Anybody's COCO results: read, checked, and joined to the frames that are judged.

A mistake is told, never scored: boxes as corners, scores that are none, frames and categories that
nobody knows, a file that was joined with itself.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from angioray.evaluation.matching import Predictions
from angioray.study.published_frames import CohortFrames, Frames
from preprocess.console.documents import read_json
from preprocess.console.names import name_list

FORM = '{"image_id": 7, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}'
MARGIN = 0.1
"""How far beyond its frame a box may reach, as a share of the frame's side."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One box of a results file."""

    image: int | str
    """The frame, as the file names it."""
    number: int
    """Where it stands in the file, from 1."""
    box_xywh: tuple[float, ...]
    score: float


def read_results(
    rows: Iterable[Any], path: Path, cohort_frames: CohortFrames, frames: Frames
) -> tuple[Predictions, int]:
    """Join COCO results to the frames that are judged.

    Args:
        rows: the results.
        path: where they are from, for messages.
        cohort_frames: the cohort's frames.
        frames: the frames as the results name them.

    Returns:
        Boxes and scores by the cohort's image id, and how many boxes are on frames that are not
        judged. Scores that are equal are told apart by the least that a float can, in the order in
        which pycocotools ranks them: by the file's image ids, then as they are listed.

    Raises:
        ValueError: a file is not what it should be, or names what is not there.
    """
    found: dict[int, list[Result]] = defaultdict(list)
    elsewhere = 0
    for number, row in enumerate(rows, start=1):
        try:
            result = _result(number, row, frames)
            frame = frames.find(result.image)
        except ValueError as problem:
            raise ValueError(f"{path}, result {number}: {problem}") from None
        if frame is None:
            elsewhere += 1
        else:
            found[frame].append(result)
    if elsewhere and not found:
        raise ValueError(
            f"{path} has {elsewhere} results, none on a frame that is judged. Give --images the "
            "COCO file that has your images' ids and file names, and --config the protocol."
        )
    for results in found.values():
        (twin, times), *_ = Counter((r.image, r.box_xywh, r.score) for r in results).most_common(1)
        if times > 1:
            raise ValueError(
                f"{path} has the same box with the same score {times} times, on image {twin[0]}: "
                f"{list(twin[1])}. Was the file joined with itself? Keep one of them."
            )
    _refuse_other_boxes(path, found, cohort_frames)
    return _ranked(found), elsewhere


def rows_of(path: Path) -> list[Any]:
    """The results of a file.

    Raises:
        ValueError: it is none of COCO results.
    """
    rows: Any = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        kind = "an object" if isinstance(rows, dict) else "something else"
        raise ValueError(f"{path} holds {kind}, expected COCO results: a list of {FORM}.")
    return rows


def _result(number: int, row: Mapping[str, Any], frames: Frames) -> Result:
    """One result of a file; raises ValueError where it is none."""
    if missing := [
        name for name in ("image_id", "category_id", "bbox", "score") if name not in row
    ]:
        raise ValueError(f"it has no {missing[0]}. Expected {FORM}.")
    image, category, box, score = (row[n] for n in ("image_id", "category_id", "bbox", "score"))
    if isinstance(image, bool) or not isinstance(image, int | str):
        raise ValueError(f"its image_id is {image!r:.80}. Expected a number or a file name.")
    if category not in frames.categories:
        raise ValueError(
            f"its category_id is {category!r:.80}; lesions are "
            f"{name_list(map(str, sorted(frames.categories)))}. Leave other categories out, or "
            "give --images the COCO file that lists yours."
        )
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f"its bbox is {box!r:.80}. Expected [x, y, width, height].")
    if box[2] < 0 or box[3] < 0:
        raise ValueError(f"its bbox is {box}, of a negative size. Expected [x, y, width, height].")
    if not _is_number(score) or not 0 <= score <= 1:
        raise ValueError(f"its score is {score!r:.80}. Expected a number from 0 to 1.")
    return Result(image=image, number=number, box_xywh=tuple(map(float, box)), score=float(score))


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _refuse_other_boxes(
    path: Path, found: Mapping[int, Sequence[Result]], cohort_frames: CohortFrames
) -> None:
    """Refuse boxes that are corners or shares of the picture; one box alone does not tell."""
    boxes = np.array([r.box_xywh for results in found.values() for r in results]).reshape(-1, 4)
    sizes = [cohort_frames.size(frame) for frame, results in found.items() for _ in results]
    sides = np.array(sizes).reshape(-1, 2)
    first, second = boxes[:, :2], boxes[:, 2:]
    beyond = (first + second > (1 + MARGIN) * sides).any(axis=1)
    if beyond.any() and (second > first).all():
        what = "look like corners x1, y1, x2, y2"
    elif len(boxes) and (boxes <= 1).all():
        what = "are shares of the picture"
    else:
        return
    raise ValueError(
        f"{path} has boxes that {what}, such as {boxes[beyond.argmax()].tolist()}. Expected "
        "[x, y, width, height] in pixels of the set's images."
    )


def _ranked(found: Mapping[int, Sequence[Result]]) -> Predictions:
    """Boxes (xyxy) and scores by frame, no two scores equal."""
    rows = [(result, frame) for frame, results in found.items() for result in results]
    # A file names its images by numbers or by texts; where it has both, numbers come first.
    rows.sort(key=lambda r: (-r[0].score, isinstance(r[0].image, str), r[0].image, r[0].number))
    boxes, scores = defaultdict[int, list[Any]](list), defaultdict[int, list[float]](list)
    last = math.inf
    for result, frame in rows:
        last = min(result.score, math.nextafter(last, -math.inf))
        x, y, width, height = result.box_xywh
        boxes[frame].append([x, y, x + width, y + height])
        scores[frame].append(last)
    return {frame: (np.array(boxes[frame]), np.array(scores[frame])) for frame in boxes}
