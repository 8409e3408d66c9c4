"""The nodes of a cluster: their resources, and whether each sees the study."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from angioray.training import host_memory
from angioray.training.frame_placement import Share
from angioray.training.precision import able_here
from preprocess.storage import StorageError, open_storage

if TYPE_CHECKING:
    from angioray.study.study import Study
    from preprocess.storage import Location

TO_COME = Path("~/ray_bootstrap_config.yaml")
"""The file of `ray up` as Ray leaves it on the cluster's head: no number in it is left out."""
MARK = ".seen"
ANSWER_WITHIN_S = 120.0
"""For a node to start a process and look; it imports PyTorch meanwhile."""


@dataclass(frozen=True)
class Node:
    """One machine.

    Attributes:
        name: its address in the cluster.
        cpus: CPU cores that it offers.
        gpus: GPUs that it offers.
        memory: bytes for processes; 0 where unknown.
        gpu_memory: bytes of its smallest GPU; 0 where there is none or it is unknown.
        bfloat16: the types of its devices, ``cpu`` or ``cuda``, that compute in bfloat16; None
            where it is unknown.
        kind: its type in the file of `ray up`; empty where it has none.
        is_up: whether it is there; another comes when lanes ask for it.
    """

    name: str
    cpus: float
    gpus: float
    memory: int = 0
    gpu_memory: int = 0
    bfloat16: frozenset[str] | None = frozenset()
    kind: str = ""
    is_up: bool = True


@dataclass(frozen=True)
class Answer:
    """What a node says of itself.

    Attributes:
        problem: why it cannot take part; empty if it can.
        gpu_memory: as of a node.
        bfloat16: likewise.
    """

    problem: str
    gpu_memory: int = 0
    bfloat16: frozenset[str] = frozenset()


def this_machine() -> list[Node]:
    """This machine, as a cluster of its own."""
    import torch

    gpus = torch.cuda.device_count()
    cpus = float(os.cpu_count() or 1)
    memory = host_memory.total()
    return [Node("this machine", cpus, float(gpus), memory, _gpu_memory(), able_here())]


def nodes_for(study: Study, digest: str, address: str | None, *, starting: bool) -> list[Node]:
    """The cluster's nodes, up and to come; this machine alone where no cluster is meant.

    Args:
        study: that they are to work on.
        digest: its cohort's.
        address: of a Ray cluster; without it RAY_ADDRESS, or this machine.
        starting: join the cluster, or start one here, for work that comes next.

    Raises:
        ValueError: the cluster cannot be reached, or a node does not see the study.
    """
    cluster = address or os.environ.get("RAY_ADDRESS")
    if starting or cluster:
        from preprocess.console.cluster import start_ray

        start_ray(address)
    if cluster:
        up = cluster_nodes(study, digest)
        return [*up, *nodes_to_come(up, _file_of_ray_up())]
    return this_machine()


def cluster_nodes(study: Study, digest: str) -> list[Node]:
    """The nodes that are up in the cluster that this process has joined, each asked what it sees.

    Args:
        study: whose cohort, weights and runs folder they must see.
        digest: the cohort's, as this process reads it.

    Raises:
        ValueError: a node that could bear runs does not see the cohort, the runs folder or
            the weights, or lacks this package; every such node is named.
    """
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    able = [node for node in alive if node["Resources"].get("CPU") or node["Resources"].get("GPU")]
    answers = _ask(able, study, digest)
    if problems := [f"{name}: {said.problem}" for name, said in answers.items() if said.problem]:
        raise ValueError(
            f"{len(problems)} of {len(able)} nodes cannot take part in the study:\n  "
            + "\n  ".join(sorted(problems))
            + "\nGive every node the same storage at the same paths and the same version of "
            "angioray, or take these nodes out of the cluster."
        )
    return [
        Node(
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            int(node["Resources"].get("memory", 0)),
            answers[_name(node)].gpu_memory,
            answers[_name(node)].bfloat16,
            node["Labels"].get("ray.io/node-group", ""),
        )
        for node in able
        if _name(node) in answers
    ]


def nodes_to_come(up: Sequence[Node], config: Mapping[str, Any] | None) -> list[Node]:
    """The nodes that the cluster may still start when lanes ask for them, those with GPUs first.

    Nodes of one kind are alike: of a kind of which one is up, all is known; of others what
    ``config`` says of them.

    Args:
        up: the nodes that are there; the head is one of them if it bears runs.
        config: the file of `ray up`, completed by Ray; None if there is none.
    """
    if config is None:
        return []
    known = {node.kind: node for node in up}
    workers = Counter(node.kind for node in up)
    workers[config["head_node_type"]] -= config["head_node_type"] in known
    found = []
    for kind, told in config["available_node_types"].items():
        has = told["resources"]
        cpus, gpus, memory = (has.get(name, 0) for name in ("CPU", "GPU", "memory"))
        said = Node("", float(cpus), float(gpus), int(memory), bfloat16=None, kind=kind)
        new = replace(known.get(kind, said), is_up=False)
        if new.cpus or new.gpus:
            found += [new] * (told["max_workers"] - workers[kind])
    found.sort(key=lambda node: (-node.gpus, -node.cpus))
    return found[: max(0, config["max_workers"] - workers.total())]


def beside_this_process() -> dict[str, Any]:
    """Options of a task or an actor of Ray that takes no core and stays on this process's node.

    Anywhere else it could go down with a node that the work can spare.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(here, soft=False)
    return {"num_cpus": 0, "scheduling_strategy": strategy}


def share_here(cpus: float, gpus: float, frame_sets: int | None = None) -> Share:
    """What is this process's of its node, if the node is filled with others of its size.

    Args:
        cpus: CPU cores that Ray has given it.
        gpus: GPUs likewise.
        frame_sets: how many sets of frames these processes use at most, each of which the node has
            once; None if each may use others.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    has = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == here)
    others = has.get("GPU", 1.0) / gpus if gpus else has.get("CPU", 1.0) / cpus
    host = 1 / max(1.0, others)
    return Share(min(1.0, gpus) if gpus else 1.0, host, 1 / frame_sets if frame_sets else host)


def problem_here(cohort: Location, digest: str) -> str:
    """Why this machine cannot work on a study of the cohort; empty if it can.

    Args:
        cohort: where the cohort lies.
        digest: what it must be.
    """
    from preprocess.cohort import Cohort

    try:
        found = Cohort.open(cohort).digest
    except (ValueError, OSError) as problem:
        return f"it does not see the cohort: {problem}"
    return "" if found == digest else f"another cohort lies in {cohort} there"


def _file_of_ray_up() -> dict[str, Any] | None:
    """What the cluster may become, if this is its head and it was made by `ray up`."""
    import ray
    import yaml

    here = ray.get_runtime_context().get_node_id()
    resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == here)
    path = TO_COME.expanduser()
    if "node:__internal_head__" not in resources or not path.is_file():
        return None
    config: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return config


def _ask(nodes: Sequence[dict[str, Any]], study: Study, digest: str) -> dict[str, Answer]:
    """What each node says; those that die meanwhile say nothing."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    word = secrets.token_hex(8)
    study.folder.write_text(MARK, word)
    # A process of its own each time: what it learned of the GPU holds memory there.
    look: Any = ray.remote(num_cpus=0, max_calls=1, max_retries=0)(_look)
    asked = {
        _name(node): look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(study.cohort_folder, digest, str(study.folder), word, study.weights_files)
        for node in nodes
    }
    answers: dict[str, Answer] = {}
    for name, answer in asked.items():
        try:
            answers[name] = ray.get(answer, timeout=ANSWER_WITHIN_S)
        except GetTimeoutError:
            answers[name] = Answer(f"it did not answer within {ANSWER_WITHIN_S:.0f} s")
        except RayError as problem:
            first = str(problem).strip().splitlines()[-1]
            answers[name] = Answer(f"it cannot run this version of angioray ({first})")
    study.folder.delete(MARK)
    alive = {_name(node) for node in ray.nodes() if node["Alive"]}
    return {name: answer for name, answer in answers.items() if name in alive or not answer.problem}


def _look(cohort: str, digest: str, runs: str, word: str, weights: Sequence[str]) -> Answer:
    own = f"{MARK}-{secrets.token_hex(8)}"
    try:
        folder = open_storage(runs)
        if folder.read_text(MARK) != word:
            return Answer(f"it does not see the runs folder {runs}")
        folder.write_text(own, word)
        folder.delete(own)
    except StorageError as problem:
        return Answer(str(problem))
    except OSError as problem:
        return Answer(f"it cannot write into the runs folder {runs}: {problem.strerror}")
    if missing := [path for path in weights if not Path(path).is_file()]:
        return Answer(f"it does not see the weights {missing[0]}")
    return Answer(problem_here(cohort, digest), _gpu_memory(), able_here())


def _name(node: dict[str, Any]) -> str:
    # Several nodes may share an address: Ray's own test clusters do.
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _gpu_memory() -> int:
    import torch

    count = torch.cuda.device_count()
    return min((torch.cuda.get_device_properties(i).total_memory for i in range(count)), default=0)
