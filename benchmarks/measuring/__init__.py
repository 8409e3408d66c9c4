"""What every benchmark of training shares: steps in turn, rows, the machine, the JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from angioray.training.precision import dtype_here

Step = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One thing done by us and by a peer.

    Attributes:
        name: what was done.
        ours: median rate over the turns, or what follows from it.
        peer: the same of the peer; None where the row stands alone.
        unit: of both.
        spread: slowest and fastest turn of ours and of the peer.
        higher_is_better: whether more is better.
    """

    name: str
    ours: float
    peer: float | None
    unit: str
    spread: dict[str, list[float]]
    higher_is_better: bool = True

    def as_json(self) -> dict[str, Any]:
        """The row as every benchmark of the project writes it."""
        return {
            "name": self.name,
            "ours": round(self.ours, 3),
            "peer": None if self.peer is None else round(self.peer, 3),
            "ratio": round(self.ours / self.peer, 2) if self.peer else None,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "spread": self.spread,
        }


def side_by_side(
    name: str,
    ours: Step,
    peer: Step | None,
    *,
    items: int,
    unit: str,
    device: torch.device,
    turns: int,
    steps: int = 1,
    rest_s: float = 0.0,
) -> Row:
    """Time both in turn, so that a machine whose speed drifts drifts for both.

    Args:
        name: of the row.
        ours: does ``items`` once.
        peer: does the same its own way; None leaves it out.
        items: frames of one step.
        unit: what is counted, such as ``frames/s``.
        device: is waited for at the end of each turn.
        turns: of each, after one that does not count.
        steps: in one turn; a GPU is told many before it has done the first.
        rest_s: waited before each turn, where the other's processes work on after theirs.
    """
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(turns + 1):
        for who, step in (("ours", ours), ("peer", peer)):
            if step is None:
                continue
            _wait_for(device)
            time.sleep(rest_s)
            start = time.perf_counter()
            for _ in range(steps):
                step()
            _wait_for(device)
            if turn:
                rates[who].append(steps * items / (time.perf_counter() - start))
    row = Row(
        name,
        statistics.median(rates["ours"]),
        statistics.median(rates["peer"]) if peer else None,
        unit,
        {who: [round(min(r), 3), round(max(r), 3)] for who, r in rates.items() if r},
    )
    show(row)
    return row


def write(out: Path, rows: Sequence[Row], device: torch.device) -> None:
    """Write the rows and the machine they were measured on, and say where."""
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(device), "rows": [row.as_json() for row in rows]}
    out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(f"Wrote {out}.")


def measure_parts(about: str, *parts: Callable[[Path, Path], Iterator[Row]]) -> None:
    """A command that measures one part after the other from a data folder and a work folder.

    Args:
        about: its help.
        parts: each gives rows. They are printed and written as they come.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the public sets")
    parser.add_argument("--work", type=Path, required=True, help="a folder for cohorts and runs")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for part in parts:
        for row in part(options.data, options.work):
            rows.append(row)
            show(row)
        write(options.out, rows, best_device())  # stopped early, it leaves what it has measured


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "forward_passes": str(dtype_here("auto", device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def show(row: Row) -> None:
    """Print a row."""
    text = f"{row.name:<72} {row.ours:10.2f} {row.unit}"
    if row.peer is not None:
        text += f"   peer {row.peer:10.2f}"
    if row.peer:
        text += f"   {row.ours / row.peer:6.2f} times"
    print(text, flush=True)
