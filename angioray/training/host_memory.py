"""The memory of this machine, or of the container that this process runs in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container's limits."""
RECLAIMED = ("inactive_file", "active_file", "slab_reclaimable")
"""What Linux counts as used in a container and gives to whoever asks: files read or written, above
all the cohort's own. Version 1 of cgroups writes ``total_`` before these names."""


@dataclass(frozen=True)
class _Limit:
    """A container's limit, in bytes."""

    most: int
    free: int


def total() -> int:
    """Bytes that there are."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit.most for limit in _limits())])


def free() -> int:
    """Bytes that can be had without swapping."""
    available = _table(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    return max(0, min([available, *(limit.free for limit in _limits())]))


def _limits() -> Iterator[_Limit]:
    """The container's limit by either version of cgroups; none where there is none."""
    for folder, most, used in (
        (CGROUP, "memory.max", "memory.current"),
        (CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            limit, taken = ((folder / name).read_text("ascii").strip() for name in (most, used))
            kept = _table(folder / "memory.stat")
        except OSError:
            continue
        if limit != "max":
            reclaimed = sum(kept.get(f"total_{name}", kept.get(name, 0)) for name in RECLAIMED)
            yield _Limit(int(limit), int(limit) - int(taken) + reclaimed)


def _table(path: Path) -> dict[str, int]:
    """Lines of a name and a number, and perhaps a unit."""
    lines = (line.split() for line in path.read_text("ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines}
