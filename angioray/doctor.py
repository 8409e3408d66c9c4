"""``python -m angioray.doctor``: what this machine or cluster has and lacks for a study."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from preprocess.console.command_line import run as run_command
from preprocess.console.ray_failures import TOKEN
from preprocess.console.tables import cell

PACKAGES = (
    "torch", "torchvision", "ray", "zarr", "pydicom", "imagecodecs", "python-gdcm",
    "opencv-contrib-python", "scikit-learn", "safetensors",
)  # fmt: skip
FREE_DISK_GIB = 20


@dataclass(frozen=True)
class Check:
    """One line of the examination: what was looked at, what was found, what to do about it."""

    what: str
    found: str
    advice: str = ""
    """Empty where nothing is to be done."""


def doctor(address: str | None = None) -> None:
    """Show what this machine or cluster has and lacks: versions, decoders, GPU, Ray, token, disk.

    Args:
        address: of a Ray cluster to examine too, such as `auto`.

    Examples:
      python -m angioray.doctor
      python -m angioray.doctor --address auto
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    checks = [*_machine(), *_packages(), *_decoders(), *_token()]
    if address:
        checks += _cluster(address)
    table = Table("", "what", "found", "advice")
    for finding in checks:
        mark = Text("!", "yellow") if finding.advice else Text("✓", "green")
        table.add_row(mark, cell(finding.what), cell(finding.found), cell(finding.advice))
    Console().print(table)
    lacking = sum(bool(finding.advice) for finding in checks)
    print(f"{lacking} of {len(checks)} checks ask for something.")
    print("Next: make demo, or python -m preprocess ingest --help")


def _machine() -> list[Check]:
    import torch

    from angioray.training.precision import able_here

    free = shutil.disk_usage(Path.cwd()).free / 2**30
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    able = sorted(able_here())
    slow = "" if gpus else "enough for the demo; the published study wants a GPU"
    return [
        Check("Python", platform.python_version()),
        Check("CPU", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"),
        Check("memory", f"{memory:.0f} GiB"),
        Check("GPU", ", ".join(gpus) or "none", slow),
        Check(
            "bfloat16",
            f"computed in by {' and '.join(able)}" if able else "not computed in",
            "" if able else "training is in float32, which takes longer",
        ),
        Check(
            "free disk here",
            f"{free:.0f} GiB",
            "" if free > FREE_DISK_GIB else f"a study wants {FREE_DISK_GIB} GiB or more",
        ),
    ]


def _packages() -> list[Check]:
    checks = []
    for name in PACKAGES:
        try:
            checks.append(Check(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, "not installed", "run `make setup`"))
    return checks


def _decoders() -> list[Check]:
    """Who decodes each transfer syntax of XA images, in the order of how usual it is."""
    from pydicom.uid import UID

    from preprocess.dicom.decoders import COMPRESSED, NATIVE, decoder_name

    checks = []
    for syntax in (*COMPRESSED, *NATIVE):
        name = decoder_name(syntax)
        slow = "install imagecodecs, which is faster" if name.startswith("pydicom") else ""
        advice = slow if name else "install imagecodecs"
        what = f"{UID(syntax).keyword} {syntax}"
        checks.append(Check(what, name or "no decoder", advice))
    return checks


def _token() -> list[Check]:
    path = TOKEN.expanduser()
    if not path.is_file():
        return [Check("Ray token", "none yet; a local cluster makes one")]
    shared = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    advice = f"others can read it: chmod 600 {TOKEN}" if shared else ""
    return [Check("Ray token", str(TOKEN), advice)]


def _cluster(address: str) -> list[Check]:
    from preprocess.console.cluster import start_ray

    resources = start_ray(address)
    nodes = sum(key.startswith("node:") and key != "node:__internal_head__" for key in resources)
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    return [Check("Ray cluster", f"{nodes} nodes, {cpus:g} CPU cores, {gpus:g} GPUs")]


if __name__ == "__main__":
    run_command(doctor, prog="python -m angioray.doctor")
