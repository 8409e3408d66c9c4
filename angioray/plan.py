"""The plan of a study: what runs where, in which order and for how long, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from angioray.cost import GPU_FLOP_PER_S, Rates, lane_rates, run_flop, run_steps
from angioray.footprint import DEVICE_BYTES, PROCESS_BYTES, Footprint
from angioray.nodes import Node
from angioray.precision import Precision, forward_dtype, precision_in_words
from angioray.queue import Entry
from angioray.schedule import Piece, Schedule, best_schedule
from angioray.selection import CohortIndex
from angioray.study import Run, Study
from preprocess.storage import FolderStorage, LocalCopy

STEP_LAUNCH_S = 0.02
"""Assumed time per step in which a GPU waits for the host: what makes sharing it worth while."""
MOST_PER_GPU = 8
DISK_SPARE = 1.1
GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How runs share the resources of the cluster; changes no number of the study."""

    lanes: int | None = None
    """Runs at once; as many as the resources bear if null."""
    ranks: int | None = None
    """Processes of one run, each with the resources below. If null one, and several for the last
    runs where GPUs would stand idle and frozen batch norms make it the same training."""
    cpus: float = 1.0
    """CPU cores of a process; its computing threads follow."""
    gpus: float | None = None
    """GPUs of a process where the cluster has any; a fraction shares one among runs. If null one,
    or a fraction where there are more runs than GPUs and each is too small to keep one busy."""
    grow: bool = False
    """The cluster grows on demand (autoscaling): do not refuse `lanes` that it cannot bear yet."""
    stuck_after_s: float = 1800.0
    """A run that gets no further for so many seconds is taken from its lane and tried anew."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, expected {least}"
            for name, value, fits, least in (
                ("lanes", self.lanes, self.lanes is None or self.lanes >= 1, "1 or more"),
                ("ranks", self.ranks, self.ranks is None or self.ranks >= 1, "1 or more"),
                ("cpus", self.cpus, self.cpus > 0, "more than 0"),
                ("gpus", self.gpus, self.gpus is None or self.gpus >= 0, "0 or more"),
                ("stuck_after_s", self.stuck_after_s, self.stuck_after_s > 0, "more than 0"),
                ("grow", self.grow, self.lanes or not self.grow, "`lanes` with it, how many"),
            )
            if not fits
        ]
        if (self.ranks or 1) > 1 and (self.gpus or 1) % 1:
            problems.append(
                "ranks is above 1 and gpus a fraction, but two ranks of one run must not share "
                "a GPU; expected whole gpus"
            )
        if problems:
            raise ValueError("The lanes' settings cannot work: " + "; ".join(problems) + ".")


@dataclass(frozen=True)
class LaneGroup:
    """Lanes of one kind.

    Attributes:
        lanes: how many there are.
        ranks: processes of each.
        cpus: cores of a process.
        gpus: GPUs of a process.
        wide: whether they do the queue's wide runs.
    """

    lanes: int
    ranks: int
    cpus: float
    gpus: float
    wide: bool = False


@dataclass(frozen=True)
class Plan:
    """What was decided, and why.

    Attributes:
        groups: the lanes; those of several ranks start as narrow ones end.
        entries: the runs, in the order they should start.
        rates: operations per second that the times rest on.
        makespan_s: until the last run ends, without the lanes' start.
        disk_bytes: needed at most, beyond what is there.
        free_bytes: there are; None where the runs folder has no bounds.
        notes: sentences that say what was found and decided.
    """

    groups: tuple[LaneGroup, ...]
    entries: tuple[Entry, ...]
    rates: Rates
    makespan_s: float
    disk_bytes: int
    free_bytes: int | None
    notes: tuple[str, ...]

    @property
    def at_once(self) -> int:
        """Runs at once."""
        return max((group.lanes for group in self.groups), default=0)


def make_plan(
    study: Study,
    index: CohortIndex,
    todo: Sequence[Run],
    settings: LaneSettings,
    nodes: Sequence[Node],
) -> Plan:
    """Cut the nodes into lanes and put the runs in order.

    Args:
        study: whose runs they are.
        index: its cohort.
        todo: the runs that are to be done.
        settings: what one process needs.
        nodes: what there is.

    Raises:
        ValueError: not even one lane fits, or the disk is too small; with numbers.
    """
    device = _device(nodes, settings)
    dtype, arithmetic = _arithmetic(study.settings.precision, nodes, device)
    flop = {run.name: run_flop(study, index, run) for run in todo}
    needs: dict[object, Footprint] = {}
    for run in todo:
        if run.frames_key not in needs:
            needs[run.frames_key] = Footprint.of(study, index, run, dtype)
    most = max((need.device for need in needs.values()), default=0)
    least = max((need.training for need in needs.values()), default=0)
    gpus = settings.gpus
    if gpus is None:
        steps = {run.name: run_steps(study, index, run) for run in todo}
        busy = max((_busy(flop[name], steps[name], dtype) for name in flop), default=1.0)
        gpus = _share(len(todo), busy, most, nodes, settings)
    gpus = gpus if device == "cuda" else 0.0
    slots, limit = _slots(nodes, settings, gpus, most, least)
    rates = lane_rates(study, index, gpus_per_lane=gpus, cpus=settings.cpus, dtype=dtype)
    pieces = [Piece(run.name, flop[run.name] / rates.of(run), _widest(study, run)) for run in todo]
    lanes = min(slots, settings.lanes or slots)
    schedule = _schedule(pieces, lanes, settings, gpus, nodes)
    groups = _groups(schedule, lanes, settings, gpus)
    disk = _disk([needs[run.frames_key] for run in todo], sum(group.lanes for group in groups))
    free = study.folder.free_bytes()
    if todo and free is not None and disk > free:
        raise ValueError(
            f"The study needs {disk / GIGA:.1f} GB for weights and checkpoints in {study.folder}, "
            f"but {free / GIGA:.1f} GB are free there. Make room, or give another `--runs`."
        )
    if todo:
        _refuse_without_room(index.cohort.copy)
    entries = _entries(todo, pieces, schedule)
    notes = (*_notes(nodes, groups, len(todo), limit), arithmetic)
    return Plan(groups, entries, rates, schedule.makespan_s, disk, free, notes)


def _device(nodes: Sequence[Node], settings: LaneSettings) -> str:
    """The type of those that runs train on."""
    some = settings.grow or any(node.gpus for node in nodes)
    return "cuda" if some and settings.gpus != 0 else "cpu"


def _arithmetic(
    precision: Precision, nodes: Sequence[Node], device: str
) -> tuple[torch.dtype, str]:
    """What forward passes compute in on every node, the costlier where they differ; in words."""
    able = [device in node.bfloat16 for node in nodes if device == "cpu" or node.gpus]
    on_all = {device} if all(able) else set()
    words = precision_in_words(precision, device, on_all)
    if precision == "auto" and any(able) and not all(able):
        words = (
            "Forward passes in bfloat16 on the nodes that compute in it and in float32 on the "
            "others; for the same in all runs give `--precision fp32`."
        )
    return forward_dtype(precision, device, on_all), words


def _slots(
    nodes: Sequence[Node], settings: LaneSettings, gpus: float, most_bytes: int, least_bytes: int
) -> tuple[int, str]:
    """How many lanes of one rank fit, and what limits them. Every process must fit into a node.

    A run takes ``most_bytes`` where its frames are at hand; it can do with ``least_bytes``, its
    frames elsewhere (:mod:`angioray.residence`).
    """
    if settings.grow:
        return (settings.lanes or 1) * (settings.ranks or 1), "as many as the cluster may grow to"
    fit, limits = 0, set()
    for node in nodes:
        counts = {"CPU cores": int(node.cpus // settings.cpus)}
        if gpus:
            per_gpu = int(1 // gpus) if gpus < 1 else 0
            counts["GPUs"] = int(node.gpus) * per_gpu if per_gpu else int(node.gpus // gpus)
        host = PROCESS_BYTES + (0 if gpus else most_bytes)
        if node.memory and settings.lanes is None:
            alone = node.memory >= PROCESS_BYTES + (0 if gpus else least_bytes)
            counts["memory"] = max(node.memory // host, int(alone))
        fit += min(counts.values())
        limits.add(min(counts, key=lambda name: counts[name]))
    ranks = settings.ranks or 1
    if fit < ranks:
        has = "; ".join(sorted({_has(node) for node in nodes})) or "no node that takes work"
        raise ValueError(
            f"The cluster has {has}, but one run needs {ranks} x ({gpus:g} GPUs, "
            f"{settings.cpus:g} CPU cores, {(PROCESS_BYTES + least_bytes) / GIGA:.1f} GB of "
            "memory), each within one node. Lower `--lanes.cpus`, `--lanes.gpus` or "
            "`--lanes.ranks`, or the batch size, or start a larger cluster."
        )
    smallest = min((node.gpu_memory for node in nodes if node.gpu_memory), default=0)
    if gpus and smallest and least_bytes + DEVICE_BYTES > smallest * max(1.0, gpus):
        raise ValueError(
            f"One run needs about {(least_bytes + DEVICE_BYTES) / GIGA:.1f} GB on its GPU, but "
            f"the smallest has {smallest / GIGA:.1f} GB. Lower the batch size or the frames' size, "
            "or use nodes with larger GPUs."
        )
    return fit, f"limited by {' and '.join(sorted(limits))}"


def _share(
    runs: int, busy: float, device_bytes: int, nodes: Sequence[Node], settings: LaneSettings
) -> float:
    """GPUs of one process: a fraction where one run alone would leave the GPU idle."""
    gpus = sum(node.gpus for node in nodes)
    memory = min((node.gpu_memory for node in nodes if node.gpus), default=0)
    if runs <= gpus or not memory or (settings.ranks or 1) > 1:
        return 1.0
    cores = min(node.cpus / node.gpus / settings.cpus for node in nodes if node.gpus)
    fits = memory // (device_bytes + DEVICE_BYTES)
    most = min(MOST_PER_GPU, int(1 / busy), fits, int(cores), math.ceil(runs / gpus))
    return 1 / max(1, most)


def _busy(flop: float, steps: int, dtype: torch.dtype) -> float:
    """The share of its time that a GPU computes, if it has one run alone."""
    step_s = flop / steps / GPU_FLOP_PER_S[dtype]
    return step_s / (step_s + STEP_LAUNCH_S)


def _widest(study: Study, run: Run) -> int:
    """Ranks that leave a run's numbers alone, up to rounding.

    Batch statistics are of a rank's share of the batch; only frozen norms are the same.
    """
    if run.task != "detector" or not study.settings.detector.frozen_batch_norm:
        return 1
    return math.gcd(study.settings.detector.batch_size, 8)


def _schedule(
    pieces: Sequence[Piece],
    lanes: int,
    settings: LaneSettings,
    gpus: float,
    nodes: Sequence[Node],
) -> Schedule:
    if settings.ranks is None:
        node_gpus = int(max((node.gpus for node in nodes), default=0))
        may_widen = gpus == 1.0 and not settings.grow and settings.lanes is None
        return best_schedule(pieces, lanes, widest=node_gpus if may_widen else 1)
    plain = best_schedule(pieces, max(1, lanes // settings.ranks))
    if settings.ranks == 1:
        return plain
    return Schedule((), plain.narrow, settings.ranks, plain.makespan_s / settings.ranks)


def _groups(
    schedule: Schedule, slots: int, settings: LaneSettings, gpus: float
) -> tuple[LaneGroup, ...]:
    groups = []
    if schedule.narrow:
        lanes = min(slots, len(schedule.narrow))
        groups.append(LaneGroup(lanes, 1, settings.cpus, gpus))
    if schedule.wide:
        most = settings.lanes if settings.ranks and settings.lanes else slots // schedule.ranks
        lanes = max(1, min(most, len(schedule.wide)))
        groups.append(LaneGroup(lanes, schedule.ranks, settings.cpus, gpus, wide=True))
    return tuple(groups)


def _entries(todo: Sequence[Run], pieces: Sequence[Piece], schedule: Schedule) -> tuple[Entry, ...]:
    frames = {run.name: run.frames_key for run in todo}
    seconds = {piece.name: piece.seconds for piece in pieces}
    wide = set(schedule.wide)
    return tuple(
        Entry(name, frames[name], seconds[name], name in wide)
        for name in (*schedule.narrow, *schedule.wide)
    )


def _disk(needs: Sequence[Footprint], lanes: int) -> int:
    """Every run keeps its weights; each lane holds two checkpoints while one replaces the other."""
    peaks = sorted((need.peak for need in needs), reverse=True)[:lanes]
    return int(DISK_SPARE * (sum(need.kept for need in needs) + sum(peaks)))


def _refuse_without_room(copy: LocalCopy) -> None:
    """Frames of a cohort in an object store are copied to where they are read."""
    missing, free = copy.missing_bytes(), FolderStorage(copy.path).free_bytes()
    if free is not None and missing > free:
        raise ValueError(
            f"Copying the cohort from {copy.location} needs {missing / GIGA:.1f} GB in "
            f"{copy.path.parent} on each node, but {free / GIGA:.1f} GB are free here. Make room, "
            "or name another folder in the environment variable ANGIORAY_CACHE."
        )


def _notes(
    nodes: Sequence[Node], groups: Sequence[LaneGroup], runs: int, limit: str
) -> tuple[str, ...]:
    kinds: dict[str, int] = {}
    for node in nodes:
        kinds[_has(node)] = kinds.get(_has(node), 0) + 1
    found = "; ".join(f"{count} x {has}" if count > 1 else has for has, count in kinds.items())
    notes = [f"Found {found or 'no node yet'}."]
    for group in groups:
        share = f"{group.gpus:g} GPUs, {group.cpus:g} CPU cores"
        if group.wide and len(groups) > 1:
            notes.append(
                f"Then {group.lanes} at once on {group.ranks} GPUs each, so that none stands idle."
            )
        else:
            notes.append(
                f"{group.lanes} of {runs} runs at once ({limit}), each {group.ranks} x ({share})."
            )
    return tuple(notes)


def _has(node: Node) -> str:
    words = [f"{node.gpus:g} GPUs", f"{node.cpus:g} CPU cores"]
    if node.gpu_memory:
        words[0] += f" of {node.gpu_memory / GIGA:.0f} GB"
    if node.memory:
        words.append(f"{node.memory / GIGA:.0f} GB of memory")
    return ", ".join(words)
