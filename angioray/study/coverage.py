"""What a study uses of its cohort: the frames of each run, and what is left out or in vain."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from angioray.study.given_splits import missing_patients
from angioray.study.matrix import Run, units_of_groups
from angioray.study.selection import ALL_VIEWS, CohortIndex
from angioray.study.splits import Fold, split
from angioray.study.study import Study
from angioray.training.frames import FrameKey
from preprocess.console.words import counted


def trained_on(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
    """The frames that a run learns from.

    Raises:
        ValueError: there is none.
    """
    sequences = training_part(study, index, run).train
    if run.task == "view":
        per_sequence = study.settings.view.frames_per_sequence
        return [key for key, _ in index.view_frames(sequences, per_sequence)]
    keys = index.detector_frames(sequences, run.variant)
    if not keys:
        raise ValueError(
            f"{run.name} has no frame to train on: no sequence of its training folds has a box. "
            "Run `python -m preprocess propagate` on the cohort, or add data."
        )
    return keys


def judged_on(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
    """The frames that a run is judged on."""
    sequences = study.fold(run).validation
    if run.task == "view":
        return [index.view_frame(sequence) for sequence in sequences]
    return index.judged_frames(sequences, study.settings.detector.judged_frames)


def judged_healthy(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
    """The frames of healthy sequences that a detector is judged on beside those with boxes."""
    if run.task == "view":
        return []
    sequences = study.fold(run).validation
    return index.healthy_frames(sequences, study.settings.detector.judged_frames)


def validated_on(study: Study, index: CohortIndex, run: Run) -> list[FrameKey]:
    """The frames of training patients that a detector is measured on while it trains."""
    sequences = training_part(study, index, run).validation
    return index.judged_frames(sequences, study.settings.detector.judged_frames)


def training_part(study: Study, index: CohortIndex, run: Run) -> Fold:
    """The training part of a run's fold: what it learns from, and what is kept out of that.

    ``detector.validation_share`` of the patients with lesions are kept out; they are the same for
    all variants and seeds. None of them is of the fold's own validation part. Patients without a
    lesion only train: there are few, and average precision needs lesions.

    Raises:
        ValueError: there are too few patients for that.
    """
    training = study.fold(run).train
    share = study.settings.detector.validation_share
    if run.task == "view" or not share:
        return Fold(training, ())
    joined = units_of_groups(index, study.groups, "patient")
    inside = set(training)
    members = [m for m in index.detector_members(run.view) if m.sequence_id in inside]
    unit = {m.sequence_id: joined[m.sequence_id] if joined else m.patient_id for m in members}
    ill = {unit[m.sequence_id] for m in members if m.sequence_id in index.boxed}
    members = [m for m in members if unit[m.sequence_id] in ill]
    parts, patients = round(1 / share), len({member.patient_id for member in members})
    if patients < parts:
        raise ValueError(
            f"{run.name} trains on {counted(patients, 'patient')} with a lesion, of which "
            f"`detector.validation_share` {share:g} keeps out less than one. Set it to at least "
            f"{1 / max(patients, 2):.2f}, or to 0."
        )
    what = f"the training part of {run.name}"
    seed = study.settings.seed
    cut = split(members, folds=parts, unit="patient", seed=seed, what=what, joined=unit)
    kept_out = set(cut[0].validation)
    return Fold(tuple(s for s in training if s not in kept_out), cut[0].validation)


def describe_runs(study: Study, index: CohortIndex, runs: Sequence[Run]) -> list[str]:
    """What runs train on and are judged on, a line for those that differ in fold and seed alone.

    Raises:
        ValueError: a run has no frame to train on.
    """
    groups: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.frames_key].append(run)
    lines = []
    for group in groups.values():
        trained = [trained_on(study, index, run) for run in group]
        judged = [len(judged_on(study, index, run)) for run in group]
        healthy = [len(judged_healthy(study, index, run)) for run in group]
        sequences = [len({sequence_id for sequence_id, _ in keys}) for keys in trained]
        name = group[0].name.rpartition("-fold")[0]
        lines.append(
            f"{name}: trains on {_range(map(len, trained))} frames of {_range(sequences)} "
            f"sequences, is judged on {_range(judged)} frames"
            + (f" and on {_range(healthy)} of healthy arteries." if any(healthy) else ".")
        )
    return lines


def describe_unused(study: Study, index: CohortIndex, runs: Sequence[Run]) -> list[str]:
    """What is in vain, as sentences: sequences that are left out, variants that cannot differ, and
    runs that nothing judges; and which patients the given folds name in vain."""
    patients = {sequence.patient_id for sequence in index.cohort.sequences.values()}
    unjudged = [run.name for run in runs if not judged_on(study, index, run)]
    return [
        *missing_patients(study.settings.splits, patients),
        *left_out(study.splits, index),
        *equal_variants(study, index),
        *(
            f"{name} is judged on no frame, for its validation part has no box."
            for name in unjudged
        ),
    ]


def describe_frames(keys: Sequence[FrameKey]) -> str:
    """How many frames of how many sequences."""
    sequences = len({sequence_id for sequence_id, _ in keys})
    return f"{counted(len(keys), 'frame')} of {counted(sequences, 'sequence')}"


def left_out(splits: Mapping[str, Iterable[Fold]], index: CohortIndex) -> list[str]:
    """The sequences that no run of a step sees, counted by the reason, as sentences.

    Args:
        splits: folds by split key (``view``, ``detector/RCA``).
        index: of the cohort.
    """
    sentences = []
    names = {"view": "view classifiers", "detector": "detectors"}
    for step, reasons in count_left_out(splits, index).items():
        if reasons:
            listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            everything = counted(len(index.cohort.sequences), "sequence")
            sentences.append(
                f"The {names[step]} leave out {reasons.total()} of {everything}: {listed}."
            )
    return sentences


def count_left_out(
    splits: Mapping[str, Iterable[Fold]], index: CohortIndex
) -> dict[str, Counter[str]]:
    """How many sequences no run of a step (``view``, ``detector``) sees, by the reason."""
    used: dict[str, set[str]] = defaultdict(set)
    for key, folds in splits.items():
        for fold in folds:
            used[key.partition("/")[0]].update(fold.train, fold.validation)
    views = {key.partition("/")[2] for key in splits}
    return {
        step: Counter(
            _reason(index, step, views, s) for s in index.cohort.sequences if s not in used[step]
        )
        for step in ("view", "detector")
        if step in used
    }


def equal_variants(study: Study, index: CohortIndex) -> list[str]:
    """Variants that train on the frames of another one, in all folds or in some: they cannot differ
    there."""
    own = [run for run in study.runs if not run.system]
    runs = [run for run in own if run.task == "detector" and not run.repeat]
    everywhere: dict[str, dict[str, str]] = {run.view: {} for run in runs}
    said: dict[str, list[str]] = defaultdict(list)
    in_some = []
    for view, doubles in everywhere.items():
        frames: dict[str, dict[int, list[FrameKey]]] = defaultdict(dict)
        for run in runs:
            if run.view == view:
                part = training_part(study, index, run).train
                frames[run.variant][run.fold] = index.detector_frames(part, run.variant)
        for name, by_fold in frames.items():
            for other in itertools.takewhile(name.__ne__, frames):
                alike = [fold for fold, keys in by_fold.items() if keys == frames[other][fold]]
                if other in doubles or not alike:
                    continue
                if len(alike) == len(by_fold):
                    doubles[name] = other
                    said[f"{name} has the frames of {other}, for {_why(name, other)}"].append(view)
                    break
                in_some.append(
                    f"{view}: variant {name} has the frames of {other} in "
                    f"{'fold' if len(alike) == 1 else 'folds'} {', '.join(map(str, alike))}, where "
                    "the two cannot differ: their difference looks more certain than it is."
                )
    if not said:
        return in_some
    lines = [f"{', '.join(views)}: variant {sentence}." for sentence, views in said.items()]
    count = sum(run.variant in everywhere.get(run.view, {}) for run in own)
    common = set.intersection(*(set(doubles) for doubles in everywhere.values()))
    kept = [name for name in study.settings.detector.variants if name not in common]
    advice = f" `--detector.variants '[{', '.join(kept)}]'` leaves them out." if common else ""
    return [
        *in_some,
        *lines,
        f"{count} of {len(study.runs)} runs cannot differ from others.{advice}",
    ]


def _reason(index: CohortIndex, step: str, views: set[str], sequence_id: str) -> str:
    if sequence_id in index.unfilled:
        return "in which no artery fills"
    by_view = step == "view" or ALL_VIEWS not in views
    if by_view and sequence_id not in index.view_class:
        boxed = " with a box but" if step == "detector" and sequence_id in index.boxed else ""
        return f"{boxed} without a view".strip()
    if step == "detector" and sequence_id not in index.boxed | index.healthy:
        return "without a box on the reference frame and not marked as free of lesions"
    if step == "detector" and by_view and index.view_class[sequence_id] not in views:
        return f"of the view {index.view_class[sequence_id]}, which has no box"
    return "that the given folds do not name"


def _why(name: str, other: str) -> str:
    reasons = {
        "BG": "no sequence with a box has a frame without contrast",
        "NL": "no sequence is free of lesions",
    }
    return " and ".join(
        reason for letters, reason in reasons.items() if (letters in name) != (letters in other)
    )


def _range(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    low, high = ordered[0], ordered[-1]
    return str(low) if low == high else f"{low} to {high}"
