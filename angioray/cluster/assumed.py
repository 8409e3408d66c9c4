"""GPUs that are not here, for a plan: their memory, and how fast networks train on them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from angioray.cluster.nodes import Node
from preprocess.console.names import instead

H200_FLOP_PER_S = {torch.bfloat16: 2.5e14, torch.float32: 2.5e13}
"""Of the paper's RetinaNet at 512 x 512, not compiled: 806 frames/s in bfloat16 (docs/SPEED.md). In
float32 it was not measured; a tenth of that is assumed."""
IMAGES_PER_S = {"a100": 128.0, "h100": 300.0, "h200": 318.0, "b200": 500.0}
"""One GPU's share of MLPerf Training's results for RetinaNet (ResNeXt-50, 800 x 800, by NVIDIA)."""
MEMORY = {"a100": 80e9, "h100": 80e9, "h200": 141e9, "b200": 180e9}
"""Bytes of the usual model of each."""
GPUS_OF_A_NODE = 8
CORES, HOST_MEMORY = 16.0, 128e9
"""For each GPU: cores and bytes. Machines with such GPUs that are rented have these or more."""


@dataclass(frozen=True)
class AssumedGpus:
    """Some GPUs of one kind.

    Attributes:
        kind: a name of :data:`IMAGES_PER_S`.
        count: how many.
    """

    kind: str
    count: int

    @classmethod
    def named(cls, text: str) -> AssumedGpus:
        """``h200``, ``4xh200``.

        Raises:
            ValueError: it is no such text, or nothing is known of such a GPU.
        """
        found = re.fullmatch(r"(?:(\d+) ?x ?)?(\w+)", text.strip().lower())
        count, kind = (int(found[1] or 1), found[2]) if found else (0, text)
        if not count or kind not in IMAGES_PER_S:
            raise ValueError(
                f"--assume is {text!r}, expected a GPU whose speed is known, such as `h200`, or "
                f"several, such as `4xh200`: {instead(kind, IMAGES_PER_S)}."
            )
        return cls(kind, count)

    @property
    def nodes(self) -> list[Node]:
        """Machines with these GPUs, at most eight in each."""
        whole, rest = divmod(self.count, GPUS_OF_A_NODE)
        able = frozenset({"cuda"})
        return [
            Node("", CORES * n, n, int(HOST_MEMORY * n), int(MEMORY[self.kind]), able)
            for n in (*[GPUS_OF_A_NODE] * whole, *([rest] if rest else []))
        ]

    def flop_per_s(self, dtype: torch.dtype) -> float:
        """Operations per second of one, where nothing but the GPU limits a step."""
        return H200_FLOP_PER_S[dtype] * IMAGES_PER_S[self.kind] / IMAGES_PER_S["h200"]

    @property
    def source(self) -> str:
        """Where the rate comes from, in words."""
        beside = IMAGES_PER_S[self.kind] / IMAGES_PER_S["h200"]
        return f"assumed of an {self.kind.upper()}: " + (
            "what the RetinaNet reached on one"
            if beside == 1
            else f"{beside:.2f} times what the RetinaNet reached on an H200, as in MLPerf's results"
        )
