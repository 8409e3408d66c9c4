"""Proposals for phase bounds and reference frames where labels give none, and where time passes.

A proposal depends on the cine and on what the label and the regions say, on nothing else. It is
kept in the cine's attributes and taken over by later runs for as long as these say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.cohort import Cohort, Phase, Sequence, update_attributes
from preprocess.console.progress import track
from preprocess.console.workers import map_unordered
from preprocess.contrast.filling import measure_filling
from preprocess.contrast.phases import phase_bounds, quiet_frame


def recalled(stored: Sequence, sequence: Sequence, *, boxed: bool) -> Sequence:
    """A sequence as labelled, with the proposals of an earlier run that answer the same question.

    Args:
        stored: as an earlier run left it.
        sequence: the same with what label and regions say now, without proposals.
        boxed: whether regions are drawn on it.
    """
    if sequence.length == 1:  # an earlier version proposed for stills too
        return sequence
    given = None if stored.reference_proposed else stored.reference_frame
    if stored.phases_proposed and _bounds(sequence) is None and given == sequence.reference_frame:
        sequence = replace(
            sequence,
            introducing_start=stored.introducing_start,
            optimal_start=stored.optimal_start,
            vanishing_start=stored.vanishing_start,
            phases_proposed=True,
        )
    asked = sequence.reference_frame is None and not boxed
    if stored.reference_proposed and asked and _bounds(stored) == _bounds(sequence):
        sequence = replace(
            sequence, reference_frame=stored.reference_frame, reference_proposed=True
        )
    return sequence


def propose_missing(
    folder: Path, sequences: Iterable[Sequence], boxed: Collection[str], *, processes: int
) -> list[Sequence]:
    """Propose what the sequences lack, in parallel, and keep it in their cines' attributes.

    Args:
        folder: the cohort that holds their cines.
        sequences: with what their labels say, and with recalled proposals.
        boxed: ids of sequences that bear regions. Where these leave the reference frame open,
            so does a proposal.
        processes: 0 = one per core.

    Returns:
        All sequences in their order. One whose cine ended its process is as it was.
    """
    complete = {sequence.sequence_id: sequence for sequence in sequences}
    tasks = [
        s
        for s in complete.values()
        if _lacks_phases(s) or _lacks_reference(s, boxed=s.sequence_id in boxed)
    ]
    work = partial(_propose, folder=folder, boxed=frozenset(boxed))
    results = map_unordered(work, tasks, processes=processes, died=_as_it_was)
    for sequence in track(results, total=len(tasks), label="proposals"):
        complete[sequence.sequence_id] = sequence
    return list(complete.values())


def with_proposals(sequence: Sequence, frames: NDArray[np.uint8], *, boxed: bool) -> Sequence:
    """One sequence with phase bounds and a reference frame where it lacks them.

    Args:
        sequence: with what its label says.
        frames: its own, as a reader sees them (uint8[T, H, W]).
        boxed: whether regions are drawn on it; these then choose the reference frame.
    """
    filling = measure_filling(frames)
    if _lacks_phases(sequence):
        found = phase_bounds(filling, sequence.reference_frame)
        introducing, optimal, vanishing = found or (None, None, None)
        sequence = replace(
            sequence,
            introducing_start=introducing,
            optimal_start=optimal,
            vanishing_start=vanishing,
            phases_proposed=True,
        )
    if _lacks_reference(sequence, boxed=boxed):
        frame = quiet_frame(filling, sequence.frames_in(Phase.OPTIMAL))
        sequence = replace(sequence, reference_frame=frame, reference_proposed=True)
    return sequence


def proposal_remarks(sequences: Collection[Sequence]) -> Iterator[str]:
    """What a person should know about the proposals in a cohort."""
    proposed = [s for s in sequences if s.phases_proposed and _bounds(s)]
    references = sum(s.reference_proposed for s in sequences)
    if proposed or references:
        yield (
            f"the phase bounds of {len(proposed)} sequences and the reference frames of "
            f"{references} are proposed from the pixels; look at them on the summary's page, and "
            "write better ones into sequences.csv"
        )
    if bare := sum(s.shows_no_filling for s in sequences):
        yield (
            f"in {bare} sequences without phase bounds no contrast was found, or too few frames to "
            "tell; none are proposed"
        )
    if failed := sum(map(_lacks_phases, sequences)):
        yield (
            f"proposing phase bounds ended the process of {failed} sequences, perhaps for want of "
            "memory; the same command tries again"
        )


def _bounds(sequence: Sequence) -> tuple[int | None, ...] | None:
    bounds = sequence.introducing_start, sequence.optimal_start, sequence.vanishing_start
    return None if bounds[0] is None else bounds


def _lacks_phases(sequence: Sequence) -> bool:
    return _bounds(sequence) is None and not sequence.phases_proposed and sequence.length > 1


def _lacks_reference(sequence: Sequence, *, boxed: bool) -> bool:
    open_yet = sequence.reference_frame is None and not boxed
    return open_yet and bool(sequence.frames_in(Phase.OPTIMAL))


def _propose(sequence: Sequence, *, folder: Path, boxed: Collection[str]) -> Sequence:
    """One sequence with what it lacks, in a worker."""
    cv2.setNumThreads(1)
    stored = Cohort(folder, {sequence.sequence_id: sequence}, ())
    frames = stored.cine_8bit(sequence.sequence_id)
    sequence = with_proposals(sequence, frames, boxed=sequence.sequence_id in boxed)
    update_attributes(folder, sequence)
    return sequence


def _as_it_was(sequence: Sequence) -> Sequence:
    return sequence
