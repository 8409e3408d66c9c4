"""Key frames: the reference frame of a cine, found by the features of a trained detector.

A frame scorer learns from the training part's cines whose reference frame a reader chose. It is
judged on those of the validation part, beside what the pixels propose and the middle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from angioray.models.frame_scorer import FrameScorer
from angioray.models.regions import NO_FEATURES, pool_regions
from angioray.models.retinanet import RetinaNet
from angioray.study.selection import CohortIndex, contrast_frames
from angioray.study.splits import Fold
from angioray.training.frames import normalise, resize
from angioray.training.precision import forward_passes
from angioray.training.step import Alive, nobody_waits
from preprocess.cohort import BoxSource, Cohort
from preprocess.cohort import Sequence as Cine
from preprocess.console.words import counted

SCHEMA_VERSION = 1
LEAST_PATIENTS = 10
"""Of the training part, with such a cine; with fewer nothing is learned."""
PASSES = 30
"""Over the training cines."""
CINES = 16
"""That one step of the scorer learns from."""
LEARNING_RATE = 1e-3
BATCH = 32
"""Frames that the detector looks at together."""


def find_key_frames(
    index: CohortIndex,
    fold: Fold,
    network: torch.nn.Module,
    device: torch.device,
    precision: torch.dtype,
    seed: int,
    alive: Alive = nobody_waits,
) -> dict[str, Any]:
    """Train a frame scorer on a fold's training part, and find the frames of its validation part.

    Each cine is read once, whole; of all but one, the features alone are in memory.

    Args:
        index: of the cohort.
        fold: on whose training part ``network`` was trained.
        network: the detector.
        device: where it computes. The scorer learns on the CPU, where sums have one order.
        precision: of its forward passes.
        seed: of the scorer.
        alive: is called again and again.

    Returns:
        The document ``key_frames.json``: ``reason`` why nothing was learned, or a row of each
        judged cine with the 0-based ``reference`` frame of the reader, and of each method.
    """
    cohort = index.cohort
    chosen = chosen_by_readers(cohort)
    teachers = [s for s in fold.train if s in chosen]
    patients = {cohort.sequences[s].patient_id for s in teachers}
    known: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "reason": "", "sequences": []}
    if not isinstance(network, RetinaNet):
        return known | {"reason": NO_FEATURES}
    if len(patients) < LEAST_PATIENTS:
        return known | {
            "reason": f"{counted(len(patients), 'training patient')} with a reference frame that a "
            f"reader chose: {LEAST_PATIENTS} are needed."
        }
    network.eval()
    features = [_features(network, cohort.cine_8bit(s), device, precision, alive) for s in teachers]
    scorer = fit_frame_scorer(features, [chosen[s] for s in teachers], seed, alive)
    rows = []
    for name in (s for s in fold.validation if s in chosen):
        cine = cohort.cine_8bit(name)
        with torch.no_grad():
            scores = scorer([_features(network, cine, device, precision, alive)])[0]
        optimal = contrast_frames(cohort.sequences[name])
        proposed = _by_pixels(cohort.sequences[name], cine)
        found = {
            "reference": chosen[name],
            "lstm": int(scores.argmax()),
            "pixels": len(cine) // 2 if proposed is None else proposed,
            "middle": optimal[len(optimal) // 2],
        }
        rows.append({"sequence_id": name, **found})
    learned = {"cines": len(teachers), "patients": len(patients)}
    return known | {"trained_on": learned, "sequences": rows}


def chosen_by_readers(cohort: Cohort) -> dict[str, int]:
    """The reference frame of each cine of which a reader chose one; stills have no choice.

    Of cines that readers drew on in several frames, as public sets have them, it is not known: the
    import takes the middle one.
    """
    drawn = defaultdict[str, set[int]](set)
    for box in cohort.boxes:
        if box.source is BoxSource.REFERENCE:
            drawn[box.sequence_id].add(box.frame_index)
    return {
        name: frame
        for name, cine in cohort.sequences.items()
        if (frame := cine.reference_frame) is not None
        and cine.length > 1
        and not cine.reference_proposed
        and drawn.get(name, {frame}) == {frame}
    }


def fit_frame_scorer(
    cines: Sequence[Tensor], references: Sequence[int], seed: int, alive: Alive = nobody_waits
) -> FrameScorer:
    """A frame scorer that has learned the reference frames of cines, for judging.

    Args:
        cines: of each float32[frames, C], its features less their mean over the cine.
        references: the index of each one's reference frame.
        seed: of its weights, its dropout and the order of cines.
        alive: is called again and again.
    """
    frames = sum(map(len, cines))
    squares = torch.stack([cine.square().sum(dim=0) for cine in cines]).sum(dim=0)
    known = torch.tensor(references)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = FrameScorer((squares / frames).sqrt().clamp(min=1e-6))
        optimiser = torch.optim.AdamW(scorer.parameters(), lr=LEARNING_RATE)
        for _ in range(PASSES):
            for rows in torch.randperm(len(cines)).split(CINES):
                alive()
                optimiser.zero_grad()
                scorer.loss([cines[row] for row in rows], known[rows]).backward()
                optimiser.step()
    return scorer.eval()


def _features(
    network: RetinaNet,
    cine: NDArray[np.uint8],
    device: torch.device,
    precision: torch.dtype,
    alive: Alive,
) -> Tensor:
    """What a network sees in each whole frame, less its mean over the cine (float32[frames, C]).

    So a frame is compared with others of its cine, whatever the patient looks like.
    """
    size = network.settings.size
    frame = torch.tensor([[0.0, 0.0, size, size]], device=device)
    seen = []
    for batch in resize(torch.from_numpy(cine)[:, None], size).split(BATCH):
        alive()
        images = normalise(batch.to(device), precision)
        with forward_passes(device, precision):
            seen.append(pool_regions(network, images, [frame] * len(images)).float().cpu())
    features = torch.cat(seen)
    return features - features.mean(dim=0)


def _by_pixels(sequence: Cine, cine: NDArray[np.uint8]) -> int | None:
    """The frame that preprocessing proposes of a cine without labels; None if it finds none."""
    from preprocess.contrast.proposals import with_proposals

    bare = replace(
        sequence,
        introducing_start=None,
        optimal_start=None,
        vanishing_start=None,
        phases_proposed=False,
        reference_frame=None,
        reference_proposed=False,
    )
    return with_proposals(bare, cine, boxed=False).reference_frame
