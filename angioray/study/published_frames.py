"""The frames of a cohort by the names that others give them: a public set, or a COCO file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from angioray.evaluation.matching import FloatArray
from angioray.study.frame_index import FrameIndex
from preprocess.cohort import CATEGORY, Cohort, read_manifest
from preprocess.console.documents import read_json
from preprocess.console.words import counted

SAME_PX = 1.0
"""Boxes of two files that differ by less are the same one, cut at the border of the picture."""


class Frames(Protocol):
    """How results name frames and lesions."""

    @property
    def categories(self) -> Collection[Any]:
        """The ids of categories that are lesions."""
        ...

    def find(self, image: int | str) -> int | None:
        """The cohort's image id of a frame; None for a frame that is not judged.

        Raises:
            ValueError: nobody knows that name.
        """
        ...


class CohortFrames:
    """Frames by the cohort's image ids, or by the file names of a public set's images."""

    def __init__(self, cohort: Cohort, judged: Collection[int]):
        self.categories: Collection[Any] = {CATEGORY["id"]}
        self.notes: list[str] = []
        self.index = FrameIndex(cohort=cohort)
        self._sequences = cohort.sequences
        self._last = sum(sequence.length for sequence in cohort.sequences.values())
        self._judged = set(judged)
        self._named: dict[str, list[int]] = defaultdict(list)
        following = dict(cohort.first_image_id)
        for row in read_manifest(cohort.folder):
            if row.status == "accepted" and row.published_name and row.sequence_id in following:
                self._named[_stem(row.published_name)].append(following[row.sequence_id])
                following[row.sequence_id] += 1

    def find(self, image: int | str) -> int | None:
        """By number, or by name without folders and ending, which tools change."""
        if isinstance(image, int):
            if not 1 <= image <= self._last:
                raise ValueError(
                    f"image {image} is not in the cohort. Give --images the COCO file that has "
                    "your images' ids and file names."
                )
            return image if image in self._judged else None
        frames = self._named.get(_stem(image), [])
        if not frames:
            known = "" if self._named else " It knows no file names: give its own image ids."
            raise ValueError(f"{image[:80]!r} is no image of the cohort.{known}")
        judged = [frame for frame in frames if frame in self._judged]
        if len(judged) > 1:
            raise ValueError(f"{image[:80]!r} is the name of {len(judged)} judged images.")
        return judged[0] if judged else None

    def size(self, frame: int) -> tuple[int, int]:
        """Width and height."""
        sequence = self._sequences[self.index.frame(frame)[0]]
        return sequence.width, sequence.height


@dataclass(frozen=True)
class ListedFrames:
    """Frames by the image ids of a COCO file, joined by their file names."""

    path: Path
    frames: Mapping[Any, int | None]
    categories: Collection[Any]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(
        cls, path: Path, cohort_frames: CohortFrames, is_lesion: Callable[[str], bool]
    ) -> ListedFrames:
        """Read the file, and compare its images and boxes with the cohort's.

        Args:
            path: the file.
            cohort_frames: the cohort's frames.
            is_lesion: says of a category's name whether it means a lesion.

        Raises:
            ValueError: it is no such file, lists images that the cohort does not have, or is of
                another part of the set, which has other images of the same names.
        """
        document: Any = read_json(path)
        drawn: dict[Any, list[list[float]]] = defaultdict(list)
        try:
            images = {image["id"]: image for image in document["images"]}
            names = {i: str(image["file_name"]) for i, image in images.items()}
            lesions = {c["id"] for c in document["categories"] if is_lesion(str(c["name"]))}
            for annotation in document.get("annotations", ()):
                if annotation["category_id"] in lesions:
                    drawn[annotation["image_id"]].append(annotation["bbox"])
        except (AttributeError, KeyError, TypeError) as problem:
            raise ValueError(
                f"{path} is no COCO file of images (id, file_name) and categories (id, name)."
            ) from problem
        if not lesions:
            raise ValueError(f"{path} has no category that is a stenosis or lesion by its name.")
        try:
            frames = {i: cohort_frames.find(name) for i, name in names.items()}
        except ValueError as problem:
            raise ValueError(f"{path} lists an image that cannot be joined: {problem}") from None
        judged = {i: frame for i, frame in frames.items() if frame is not None}
        for i, frame in judged.items():
            said, size = (
                (images[i].get("width"), images[i].get("height")),
                cohort_frames.size(frame),
            )
            if None not in said and said != size:
                raise ValueError(
                    f"{path} has image {i} in {said[0]} x {said[1]} pixels, the cohort in "
                    f"{size[0]} x {size[1]}. Give boxes in pixels of the set's own images."
                )
        truth = cohort_frames.index.truth(judged.values())
        unlike = [i for i, frame in judged.items() if not _alike(drawn[i], truth.get(frame))]
        if drawn and 2 * len(unlike) > len(judged):
            raise ValueError(
                f"{path} has other boxes than the cohort on {len(unlike)} of {len(judged)} images "
                "of the same name: it is of another part of the set, or of another version."
            )
        differ = f"{path} has other boxes than the cohort on {counted(len(unlike), 'image')}."
        return cls(path, frames, lesions, [differ] if drawn and unlike else [])

    def find(self, image: int | str) -> int | None:
        """By the file's id."""
        if image not in self.frames:
            raise ValueError(f"image {str(image)[:80]} is not listed in {self.path}.")
        return self.frames[image]


def _alike(drawn: Iterable[list[float]], boxes_xyxy: FloatArray | None) -> bool:
    """Whether boxes as xywh are those of a frame, in any order."""
    corners = [[x, y, x + w, y + h] for x, y, w, h in drawn]
    boxes = [] if boxes_xyxy is None else boxes_xyxy.tolist()
    return len(corners) == len(boxes) and np.allclose(sorted(corners), sorted(boxes), atol=SAME_PX)


def _stem(name: str) -> str:
    """The name of an image without folders and ending."""
    return PurePosixPath(name.replace("\\", "/")).stem
