"""What this machine or cluster has and lacks for a study."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from preprocess.console.cluster import TOKEN
from preprocess.console.command_line import run as run_command

PACKAGES = (
    "torch", "torchvision", "ray", "zarr", "pydicom", "imagecodecs", "python-gdcm",
    "opencv-contrib-python", "scikit-learn", "safetensors",
)  # fmt: skip
FREE_DISK_GIB = 20


@dataclass(frozen=True)
class Finding:
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

    findings = [*_machine(), *_packages(), *_decoders(), *_token()]
    if address:
        findings += _cluster(address)
    table = Table("", "what", "found", "advice")
    for finding in findings:
        mark = "[yellow]![/yellow]" if finding.advice else "[green]✓[/green]"
        table.add_row(mark, finding.what, finding.found, finding.advice)
    Console().print(table)
    lacking = sum(bool(finding.advice) for finding in findings)
    print(f"{lacking} of {len(findings)} findings ask for something.")
    print("Next: make demo, or python -m preprocess ingest --help")


def _machine() -> list[Finding]:
    import torch

    from angioray.training.precision import able_here

    free = shutil.disk_usage(Path.cwd()).free / 2**30
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    able = sorted(able_here())
    slow = "" if gpus else "enough for the demo; the published study wants a GPU"
    return [
        Finding("Python", platform.python_version()),
        Finding("CPU", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"),
        Finding("memory", f"{memory:.0f} GiB"),
        Finding("GPU", ", ".join(gpus) or "none", slow),
        Finding(
            "bfloat16",
            f"computed in by {' and '.join(able)}" if able else "not computed in",
            "" if able else "training is in float32; `make demo FOLDS=0` trains one fold of five",
        ),
        Finding(
            "free disk here",
            f"{free:.0f} GiB",
            "" if free > FREE_DISK_GIB else f"a study wants {FREE_DISK_GIB} GiB or more",
        ),
    ]


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            findings.append(Finding(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, "not installed", "run `make setup`"))
    return findings


def _decoders() -> list[Finding]:
    """Who decodes each transfer syntax of XA images, in the order of how usual it is."""
    from pydicom.uid import UID

    from preprocess.dicom.decoders import COMPRESSED, NATIVE, decoder_name

    findings = []
    for syntax in (*COMPRESSED, *NATIVE):
        name = decoder_name(syntax)
        slow = "install imagecodecs, which is faster" if name.startswith("pydicom") else ""
        advice = slow if name else "install imagecodecs"
        what = f"{UID(syntax).keyword} {syntax}"
        findings.append(Finding(what, name or "no decoder", advice))
    return findings


def _token() -> list[Finding]:
    path = TOKEN.expanduser()
    if not path.is_file():
        return [Finding("Ray token", "none yet; a local cluster makes one")]
    shared = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    advice = f"others can read it: chmod 600 {TOKEN}" if shared else ""
    return [Finding("Ray token", str(TOKEN), advice)]


def _cluster(address: str) -> list[Finding]:
    from preprocess.console.cluster import start_ray

    resources = start_ray(address)
    nodes = sum(key.startswith("node:") and key != "node:__internal_head__" for key in resources)
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    return [Finding("Ray cluster", f"{nodes} nodes, {cpus:g} CPU cores, {gpus:g} GPUs")]


if __name__ == "__main__":
    run_command(doctor, prog="python -m angioray.doctor")
