"""How many lanes the nodes have room for: by cores, GPUs, memory and disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from angioray.cluster.flops import STEP_LAUNCH_S
from angioray.cluster.footprint import DEVICE_BYTES, PROCESS_BYTES, Footprint
from angioray.cluster.lane_settings import LaneSettings
from angioray.cluster.nodes import Node
from angioray.study.matrix import Run
from angioray.study.study import Study
from angioray.training.precision import forward_dtype, precision_in_words
from angioray.training.settings import Precision
from preprocess.console.words import counted
from preprocess.storage import FolderStorage, LocalCopy

MOST_PER_GPU = 8
DISK_SPARE = 1.1
GIGA = 1e9


def possible_nodes(nodes: Sequence[Node], settings: LaneSettings) -> list[Node]:
    """The nodes that are up and those to come; with ``grow`` the user says how many these are."""
    if settings.grow is None:
        return list(nodes)

    def size(node: Node) -> float:
        return node.cpus if settings.gpus == 0 else node.gpus

    up = [node for node in nodes if node.is_up]
    largest = max(up, key=size, default=None)
    if largest is None or not size(largest):  # nothing is known: as small as runs of this kind bear
        ranks, gpus = settings.ranks or 1, 1.0 if settings.gpus is None else settings.gpus
        processes = 1 // gpus if 0 < gpus < 1 else ranks
        cpus, gpus = processes * settings.cpus, float(ranks * math.ceil(gpus))
        largest = Node("", cpus, gpus, bfloat16=None)
    missing = max(0.0, settings.grow - sum(map(size, up)))
    return [*up, *[replace(largest, is_up=False)] * int(missing // size(largest))]


def device_of(nodes: Sequence[Node], settings: LaneSettings) -> str:
    """The type of those that runs train on."""
    return "cuda" if settings.gpus != 0 and any(node.gpus for node in nodes) else "cpu"


def arithmetic_of(
    precision: Precision, nodes: Sequence[Node], device: str
) -> tuple[torch.dtype, str]:
    """What forward passes compute in on every node, the costlier where they differ; in words."""
    sets = [node.bfloat16 for node in nodes if device == "cpu" or node.gpus]
    able = {None if types is None else device in types for types in sets}
    on_all = {device} if able == {True} else set()
    words = precision_in_words(precision, device, on_all)
    if None in able and precision != "fp32":
        words = (
            "Forward passes in bfloat16 on nodes that compute in it and in float32 on others"
            if precision == "auto"
            else "Forward passes in bfloat16, as it is set"
        ) + "; whether nodes to come compute in it is not known."
    elif precision == "auto" and able == {True, False}:
        words = (
            "Forward passes in bfloat16 on the nodes that compute in it and in float32 on the "
            "others; for the same in all runs give `--precision fp32`."
        )
    return forward_dtype(precision, device, on_all), words


def lanes_that_fit(
    nodes: Sequence[Node],
    settings: LaneSettings,
    gpus: float,
    most_bytes: int,
    least_bytes: int,
    frames_bytes: int,
) -> tuple[list[int], str]:
    """How many lanes of one rank fit on each node, and what limits them.

    All processes of a run must be on one node. It takes ``most_bytes`` where its frames are at
    hand; it can do with ``least_bytes``, its frames elsewhere
    (:mod:`angioray.training.frame_placement`). The frames of all runs together take
    ``frames_bytes``; the lanes of a node have one copy of those that they share.
    """
    fit, limits = [], set()
    for node in nodes:
        counts = {"CPU cores": int(node.cpus // settings.cpus)}
        if gpus:
            per_gpu = int(1 // gpus) if gpus < 1 else 0
            counts["GPUs"] = int(node.gpus) * per_gpu if per_gpu else int(node.gpus // gpus)
        host = PROCESS_BYTES + (0 if gpus else most_bytes)
        if node.memory and settings.lanes is None:
            alone = node.memory >= PROCESS_BYTES + (0 if gpus else least_bytes)
            once = 0 if gpus else frames_bytes
            together = (node.memory - once) // (PROCESS_BYTES + (0 if gpus else least_bytes))
            counts["memory"] = max(node.memory // host, together, int(alone))
        fit.append(min(counts.values()))
        limits.add(min(counts, key=lambda name: counts[name]))
    ranks = settings.ranks or 1
    if not nodes:
        raise ValueError(
            "No node of the cluster takes work, and nothing says that one will come. Start nodes, "
            "or wait for them. If they come on demand, run this on the cluster's head, where "
            "`ray up` says what may come; elsewhere, as on Kubernetes, give their GPUs, such as "
            "`--lanes.grow 8`."
        )
    if max(fit) < ranks:
        has = "; ".join(sorted({describe_node(node) for node in nodes}))
        may = "has" if all(node.is_up for node in nodes) else "may come to have"
        raise ValueError(
            f"The cluster {may} {has}, but one run needs {ranks} x "
            f"({counted(gpus, 'GPU')}, {counted(settings.cpus, 'CPU core')}, "
            f"{(PROCESS_BYTES + least_bytes) / GIGA:.1f} GB of memory) within one node. Lower "
            "`--lanes.cpus`, `--lanes.gpus` or `--lanes.ranks`, or the batch size, or "
            "start a larger cluster; if larger nodes come on demand, give their GPUs with "
            "`--lanes.grow`."
        )
    smallest = min((node.gpu_memory for node in nodes if node.gpu_memory), default=0)
    if gpus and smallest and least_bytes + DEVICE_BYTES > smallest * max(1.0, gpus):
        raise ValueError(
            f"One run needs about {(least_bytes + DEVICE_BYTES) / GIGA:.1f} GB on its GPU, but "
            f"the smallest has {smallest / GIGA:.1f} GB. Lower the batch size or the frames' size, "
            "or use nodes with larger GPUs."
        )
    return fit, f"limited by {' and '.join(sorted(limits))}"


def gpu_share(
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


def busy_share(flop: float, steps: int, flop_per_s: float) -> float:
    """The share of its time that a GPU of that rate computes, if it has one run alone."""
    step_s = flop / steps / flop_per_s
    return step_s / (step_s + STEP_LAUNCH_S)


def most_ranks(study: Study, run: Run) -> int:
    """Ranks that leave a run's numbers alone, up to rounding.

    Batch statistics are of a rank's share of the batch; only frozen norms are the same.
    """
    detector = study.detector_of(run)
    if run.task != "detector" or not detector.frozen_batch_norm:
        return 1
    return math.gcd(detector.batch_size, 8)


def disk_bytes(needs: Sequence[Footprint], lanes: int) -> int:
    """Every run keeps its weights; each lane holds two checkpoints while one replaces the other."""
    peaks = sorted((need.peak for need in needs), reverse=True)[:lanes]
    return int(DISK_SPARE * (sum(need.kept for need in needs) + sum(peaks)))


def refuse_without_room(copy: LocalCopy) -> None:
    """Frames of a cohort in an object store are copied to where they are read."""
    missing, free = copy.missing_bytes(), FolderStorage(copy.path).free_bytes()
    if free is not None and missing > free:
        raise ValueError(
            f"Copying the cohort from {copy.location} needs {missing / GIGA:.1f} GB in "
            f"{copy.path.parent} on each node, but {free / GIGA:.1f} GB are free here. Make room, "
            "or name another folder in the environment variable ANGIORAY_CACHE."
        )


def describe_node(node: Node) -> str:
    words = [counted(node.gpus, "GPU"), counted(node.cpus, "CPU core")]
    if node.gpu_memory:
        words[0] += f" of {node.gpu_memory / GIGA:.0f} GB"
    if node.memory:
        words.append(f"{node.memory / GIGA:.0f} GB of memory")
    return ", ".join(words)
