"""The process group of a lane: how its ranks find each other.

Ray Train's own way opens a port on every network of the machine, for lanes of one rank too, and
whoever reaches it may write into the group's store. Here one rank has no group, and several meet
at a port of the address by which Ray knows their node: on a cluster of one machine, loopback.

The process that controls a lane loads this module, and PyTorch is loaded where it is used: by the
ranks. Without it, a lane begins earlier and takes less memory.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

_STORES: list[Any] = []
"""Of the lead rank's process, from the first call to the second."""


@dataclass
class LaneTorchConfig(BackendConfig):
    """What Ray Train's ``TorchConfig`` says, with the process group of this module.

    Attributes:
        lane: whose it is.
        queue: the study's queue of runs.
        backend: of the group; ``TorchTrainer`` chooses it by the lane's devices.
        timeout_s: for each exchange between ranks.
    """

    lane: int
    queue: Any
    backend: str = ""
    timeout_s: int = 1800

    @property
    def backend_cls(self) -> type[Backend]:
        return _LaneBackend


class _LaneBackend(Backend):
    share_cuda_visible_devices = True
    """As for Ray Train's own: a rank finds its GPU among those of all ranks on its node."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Called by the lane's controller when its ranks run."""
        size = len(worker_group)
        if size == 1:
            return
        meeting = worker_group.execute_single(0, open_store, size)
        settings = (backend_config.backend, timedelta(seconds=backend_config.timeout_s))
        ray.get(
            [
                worker_group.execute_single_async(rank, join, rank, size, meeting, *settings)
                for rank in range(size)
            ]
        )

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Called by the lane's controller when it ends its ranks; who has a run then loses it."""
        why = "its node is taken back"
        ray.get(backend_config.queue.lose.remote(backend_config.lane, why, blamed=False))


def open_store(size: int) -> tuple[str, int]:
    """Open the store of a group, in the process of its lead rank; its address and port."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in its stubs

    host = ray.util.get_node_ip_address()
    server = socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
    )
    port: int = server.getsockname()[1]
    store = TCPStore(
        host, port, size, is_master=True, wait_for_workers=False, master_listen_fd=server.detach()
    )
    _STORES.append(store)
    return host, port


def join(rank: int, size: int, meeting: tuple[str, int], backend: str, timeout: timedelta) -> None:
    """Make this process a rank of the group whose store is at ``meeting``."""
    import torch.distributed
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = _STORES.pop() if rank == 0 else TCPStore(*meeting, size)
    torch.distributed.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=timeout
    )
