"""The plan of a study: what runs where, in which order and for how long, before anything starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from angioray.cluster.assumed import AssumedGpus
from angioray.cluster.capacity import (
    GIGA,
    arithmetic_of,
    busy_share,
    describe_node,
    device_of,
    disk_bytes,
    gpu_share,
    lanes_that_fit,
    most_ranks,
    possible_nodes,
    refuse_without_room,
)
from angioray.cluster.flops import GPU_FLOP_PER_S, Rates, lane_rates, run_flop, run_steps
from angioray.cluster.footprint import Footprint
from angioray.cluster.lane_settings import LaneSettings
from angioray.cluster.nodes import Node
from angioray.cluster.queue import QueuedRun
from angioray.cluster.schedule import Piece, Schedule, best_schedule, lanes_of
from angioray.study.matrix import Run
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from preprocess.console.words import counted


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
    entries: tuple[QueuedRun, ...]
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
    assumed: AssumedGpus | None = None,
) -> Plan:
    """Cut the nodes into lanes and put the runs in order.

    Args:
        study: whose runs they are.
        index: its cohort.
        todo: the runs that are to be done.
        settings: what one process needs.
        nodes: those that are up, and those that may come.
        assumed: GPUs that are not here, for which it is planned; ``nodes`` count for nothing then.

    Raises:
        ValueError: not even one lane fits, or the disk is too small; with numbers.
    """
    nodes = possible_nodes(nodes if assumed is None else assumed.nodes, settings)
    device = device_of(nodes, settings)
    dtype, arithmetic = arithmetic_of(study.settings.precision, nodes, device)
    flop = {run.name: run_flop(study, index, run) for run in todo}
    needs: dict[object, Footprint] = {}
    for run in todo:
        if run.frames_key not in needs:
            needs[run.frames_key] = Footprint.of(study, index, run, dtype)
    most = max((need.device for need in needs.values()), default=0)
    least = max((need.training for need in needs.values()), default=0)
    gpus = settings.gpus
    steps = {run.name: run_steps(study, index, run) for run in todo}
    if gpus is None:
        rate = GPU_FLOP_PER_S[dtype] if assumed is None else assumed.flop_per_s(dtype)
        busy = max((busy_share(flop[name], steps[name], rate) for name in flop), default=1.0)
        gpus = gpu_share(len(todo), busy, most, nodes, settings)
    gpus = gpus if device == "cuda" else 0.0
    frames = sum(need.frames for need in needs.values())
    slots, limit = lanes_that_fit(nodes, settings, gpus, most, least, frames)
    rates = lane_rates(
        study, index, gpus_per_lane=gpus, cpus=settings.cpus, dtype=dtype, assumed=assumed
    )
    pieces = [
        Piece(run.name, rates.seconds(run, flop[run.name], steps[run.name]), most_ranks(study, run))
        for run in todo
    ]
    schedule = _schedule(pieces, slots, settings, gpus)
    groups = _groups(schedule, slots, settings, gpus)
    disk = disk_bytes([needs[run.frames_key] for run in todo], sum(group.lanes for group in groups))
    free = study.folder.free_bytes()
    if todo and free is not None and disk > free:
        raise ValueError(
            f"The study needs {disk / GIGA:.1f} GB for weights and checkpoints in {study.folder}, "
            f"but {free / GIGA:.1f} GB are free there. Make room, or give another `--runs`."
        )
    if todo:
        refuse_without_room(index.cohort.copy)
    entries = _entries(todo, pieces, schedule)
    found = "Found" if assumed is None else "Assumed, and not looked for:"
    notes = (*_notes(nodes, groups, len(todo), limit, found), arithmetic)
    return Plan(groups, entries, rates, schedule.makespan_s, disk, free, notes)


def _schedule(
    pieces: Sequence[Piece], slots: Sequence[int], settings: LaneSettings, gpus: float
) -> Schedule:
    ranks = settings.ranks or 1
    if settings.ranks is None and settings.lanes is None and gpus == 1.0:
        return best_schedule(pieces, slots)
    plain = best_schedule(pieces, [1] * _most_lanes(ranks, slots, settings))
    if ranks == 1:
        return plain
    return Schedule((), plain.narrow, ranks, plain.makespan_s / ranks)


def _groups(
    schedule: Schedule, slots: Sequence[int], settings: LaneSettings, gpus: float
) -> tuple[LaneGroup, ...]:
    groups = []
    for wide, ranks, runs in ((False, 1, schedule.narrow), (True, schedule.ranks, schedule.wide)):
        if runs:
            lanes = min(_most_lanes(ranks, slots, settings), len(runs))
            groups.append(LaneGroup(lanes, ranks, settings.cpus, gpus, wide))
    return tuple(groups)


def _most_lanes(ranks: int, slots: Sequence[int], settings: LaneSettings) -> int:
    fit = lanes_of(ranks, slots)
    return min(fit, settings.lanes or fit)


def _entries(
    todo: Sequence[Run], pieces: Sequence[Piece], schedule: Schedule
) -> tuple[QueuedRun, ...]:
    frames = {run.name: run.frames_key for run in todo}
    seconds = {piece.name: piece.seconds for piece in pieces}
    wide = set(schedule.wide)
    return tuple(
        QueuedRun(name, frames[name], seconds[name], name in wide)
        for name in (*schedule.narrow, *schedule.wide)
    )


def _notes(
    nodes: Sequence[Node], groups: Sequence[LaneGroup], runs: int, limit: str, found: str
) -> tuple[str, ...]:
    up, to_come = ([node for node in nodes if node.is_up is there] for there in (True, False))
    notes = [f"{found} {_count_kinds(up) or 'no node that takes work'}."]
    if to_come:
        notes[0] = f"{notes[0][:-1]}; {_count_kinds(to_come)} may come on demand."
    if not all(node.memory for node in to_come):
        notes.append("The memory of nodes to come is not known and limits nothing.")
    for group in groups:
        share = f"{counted(group.gpus, 'GPU')}, {counted(group.cpus, 'CPU core')}"
        if group.wide and len(groups) > 1:
            notes.append(
                f"Then {group.lanes} at once on {group.ranks} GPUs each, so that none stands idle."
            )
        else:
            notes.append(
                f"{group.lanes} of {runs} runs at once ({limit}), each {group.ranks} x ({share})."
            )
    return tuple(notes)


def _count_kinds(nodes: Sequence[Node]) -> str:
    kinds = Counter(map(describe_node, nodes))
    return "; ".join(f"{count} x {has}" if count > 1 else has for has, count in kinds.items())
