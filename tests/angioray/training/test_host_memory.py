"""Memory in a container: its limit, less what is used, with cached files given back."""

import os
from pathlib import Path

import pytest

from angioray.cluster.nodes import this_machine
from angioray.training import host_memory
from angioray.training.frame_placement import room_for
from tests.angioray.frame_stores import CPU

MIB = 2**20
GIB = 2**30

# As Linux writes them, shortened: 40 MiB are used, of which 21 MiB are cached files and names.
STAT_2 = f"""\
anon {18 * MIB}
file {21 * MIB}
kernel {MIB}
shmem {MIB}
file_mapped 0
inactive_anon {19 * MIB}
active_anon 0
inactive_file {16 * MIB}
active_file {4 * MIB}
unevictable 0
slab_reclaimable {MIB}
slab_unreclaimable 0
pgfault 5841
"""
STAT_1 = f"""\
cache {20 * MIB}
rss {20 * MIB}
inactive_file {3 * MIB}
active_file 0
hierarchical_memory_limit {64 * MIB}
total_cache {20 * MIB}
total_rss {20 * MIB}
total_inactive_file {16 * MIB}
total_active_file {4 * MIB}
"""


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for Linux's own."""
    monkeypatch.setattr(host_memory, "CGROUP", tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text.rstrip()}\n")


def test_a_machine_without_limits_has_what_it_has(cgroup: Path) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert host_memory.total() == physical
    assert 64 * MIB < host_memory.free() < physical


def test_cached_files_are_free_memory_of_a_container(cgroup: Path) -> None:
    write(cgroup, max=str(64 * MIB), current=str(40 * MIB), stat=STAT_2)
    assert host_memory.total() == 64 * MIB
    assert host_memory.free() == (64 - 40 + 16 + 4 + 1) * MIB
    assert room_for(CPU).host == host_memory.free()
    (here,) = this_machine()
    assert here.memory == 64 * MIB


def test_the_same_of_a_container_under_version_1(cgroup: Path) -> None:
    limit = {"limit_in_bytes": str(64 * MIB), "usage_in_bytes": str(40 * MIB)}
    write(cgroup / "memory", **limit, stat=STAT_1)
    assert host_memory.total() == 64 * MIB
    assert host_memory.free() == (64 - 40 + 16 + 4) * MIB


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_a_container_without_a_limit_has_what_the_machine_has(cgroup: Path, limit: str) -> None:
    if limit == "max":
        write(cgroup, max=limit, current=str(40 * MIB), stat=STAT_2)
    else:  # as version 1 says it
        write(cgroup / "memory", limit_in_bytes=limit, usage_in_bytes="4096", stat=STAT_1)
    assert host_memory.total() > GIB and host_memory.free() > 64 * MIB


def test_a_full_container_has_nothing_left(cgroup: Path) -> None:
    write(cgroup, max=str(64 * MIB), current=str(65 * MIB), stat="inactive_file 0")
    assert host_memory.free() == 0
