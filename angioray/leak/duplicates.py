"""Near-duplicate frames: who is compared with whom, and what is found."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from angioray.leak.fingerprints import PLACES, Fingerprint
from angioray.leak.likeness import likeness
from angioray.study.selection import contrast_frames
from preprocess.cohort import Cohort, Sequence
from preprocess.console.progress import track
from preprocess.console.workers import available_cores

FARTHEST = 15
"""Bits of 64 in which the hashes of two pictures may differ that are compared further."""
_ROWS = 256
"""Frames whose hashes are compared with those of all others at once."""


@dataclass(frozen=True)
class SeenFrame:
    """One frame that was compared: of COHORT or of OTHER."""

    sequence: Sequence
    frame_index: int
    of_other: bool
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Pair:
    """Two sequences with frames that are near-duplicates, and the two frames most alike.

    The first is of COHORT. ``of_other`` says that the second is of OTHER.
    """

    one: Sequence
    frame_index: int
    other: Sequence
    other_frame_index: int
    of_other: bool
    likeness: float


def seen_frames(cohort: Cohort, at_most: int, *, of_other: bool) -> list[SeenFrame]:
    """Fingerprints of a cohort's frames.

    Args:
        cohort: whose frames.
        at_most: of each sequence so many: its reference frame, and others of the optimal interval,
            evenly spaced.
        of_other: whether the cohort is OTHER.

    Raises:
        ValueError: a cine is damaged.
    """

    def of(sequence: Sequence) -> list[SeenFrame]:
        cine = cohort.cine_8bit(sequence.sequence_id)
        return [
            SeenFrame(sequence, t, of_other, Fingerprint.of(cine[t]))
            for t in compared_frames(sequence, at_most)
        ]

    sequences = cohort.sequences.values()
    label = "other cohort" if of_other else "sequences"
    with ThreadPoolExecutor(available_cores()) as threads:
        found = track(threads.map(of, sequences), total=len(sequences), label=label)
        return [frame for frames in found for frame in frames]


def compared_frames(sequence: Sequence, at_most: int) -> list[int]:
    """The frames of a sequence that are compared, in order."""
    reference = [] if sequence.reference_frame is None else [sequence.reference_frame]
    optimal = contrast_frames(sequence)
    wanted = min(at_most - len(reference), len(optimal))
    spaced = [optimal[(2 * i + 1) * len(optimal) // (2 * wanted)] for i in range(wanted)]
    return sorted({*reference, *spaced})


def near_duplicates(frames: list[SeenFrame], least: float) -> list[Pair]:
    """The pairs of different sequences with near-duplicates, most alike first.

    Two sequences of OTHER are not compared.

    Args:
        frames: of COHORT, and then of OTHER.
        least: the likeness from which two frames are near-duplicates.
    """

    def compare(pair: tuple[int, int]) -> Pair:
        one, other = (frames[i] for i in pair)
        return Pair(
            one.sequence,
            one.frame_index,
            other.sequence,
            other.frame_index,
            other.of_other,
            likeness(one.fingerprint.pattern, other.fingerprint.pattern),
        )

    candidates = list(_candidates(frames))
    best: dict[tuple[str, str, bool], Pair] = {}
    with ThreadPoolExecutor(available_cores()) as threads:
        compared = threads.map(compare, candidates)
        for pair in track(compared, total=len(candidates), label="pairs that may be alike"):
            key = (pair.one.sequence_id, pair.other.sequence_id, pair.of_other)
            if pair.likeness >= least and (key not in best or best[key].likeness < pair.likeness):
                best[key] = pair
    return sorted(best.values(), key=lambda pair: -pair.likeness)


def _candidates(frames: list[SeenFrame]) -> Iterator[tuple[int, int]]:
    """Frames of different sequences whose hashes are near, the first of each of COHORT."""
    if not frames:
        return
    hashes = np.stack([frame.fingerprint.hashes for frame in frames])
    names = [(frame.of_other, frame.sequence.sequence_id) for frame in frames]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    sequence = np.array([number[name] for name in names])
    own = sum(not frame.of_other for frame in frames)
    for first in range(0, own, _ROWS):
        rows = slice(first, min(first + _ROWS, own))
        near = _distances(hashes[rows], hashes) <= FARTHEST
        # Sequences are numbered in order, so that each pair of frames comes once.
        near &= sequence[rows, None] < sequence[None]
        for i, j in np.argwhere(near):
            yield first + int(i), int(j)


def _distances(rows: NDArray[np.uint64], all_: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Least distances in bits (uint8[R, N]) of pictures or their parts.

    The whole of each is compared with the whole and the parts of the other, for that may be a crop;
    and each part with the part on the other side, for the other picture may be shifted.

    Args:
        rows: hashes of R pictures, the whole first.
        all_: hashes of N pictures, likewise.
    """
    least = np.full((len(rows), len(all_)), 64, np.uint8)
    for part in range(rows.shape[1]):
        before = (part - 1) // PLACES * PLACES + 1
        opposite = 2 * before + PLACES - 1 - part if part else 0
        for one, other in {(part, 0), (0, part), (part, opposite)}:
            differing = rows[:, one, None] ^ all_[None, :, other]
            np.minimum(least, np.bitwise_count(differing), out=least)
    return least
