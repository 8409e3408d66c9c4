"""``python -m angioray.doctor``: what this machine or cluster has and lacks for a study."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preprocess.console.command_line import run as run_command
from preprocess.console.ray_failures import TOKEN
from preprocess.console.tables import cell
from preprocess.console.words import counted

PACKAGES = {
    "networks": ("torch", "torchvision", "safetensors"),
    "studies and sweeps": ("ray", "scikit-learn", "optuna"),
    "DICOM files read": ("pydicom", "imagecodecs", "python-gdcm"),
    "cohorts": ("zarr", "opencv-contrib-python"),
    "predictions as DICOM": ("highdicom",),
}
"""What each is needed for, and what ``make setup`` installs for it."""
EXTRAS = {
    "export to ONNX": ("angioray[onnx]", ("onnx", "onnxscript")),
    "ONNX files compared": ("onnxruntime", ("onnxruntime",)),
    "timm's backbones": ("angioray[timm]", ("timm",)),
    "--track mlflow": ("angioray[mlflow]", ("mlflow-skinny",)),
    "--track wandb": ("angioray[wandb]", ("wandb",)),
}
"""What can be added, what pip is told for it, and what that installs."""
FREE_DISK_GIB = 20


@dataclass(frozen=True)
class Check:
    """One line of the examination: what was looked at, what was found, what to do about it."""

    what: str
    found: str
    advice: str = ""
    """Empty where nothing is to be done."""
    optional: bool = False
    """Whether nothing is lacking where the advice is not followed."""

    @property
    def lacking(self) -> bool:
        """Whether a study suffers from what was found."""
        return bool(self.advice) and not self.optional

    @property
    def mark(self) -> tuple[str, str]:
        """What stands before the line, and its colour."""
        if self.lacking:
            return "!", "yellow"
        return ("\N{EN DASH}", "dim") if self.advice else ("✓", "green")


def doctor(address: str | None = None) -> None:
    """Show what this machine or cluster has and lacks: GPU, disk, packages, decoders, Ray.

    Args:
        address: of a Ray cluster to examine too, such as `auto`.

    Examples:
      python -m angioray.doctor
      python -m angioray.doctor --address auto
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    groups = [_machine(), _packages(), _extras(), _decoders(), _token()]
    if address:
        groups.append(_cluster(address))
    table = Table("", "what", "found, and what to do", box=SIMPLE_HEAD, pad_edge=False)
    for group in groups:
        for check in group:
            mark, colour = check.mark
            found = cell(check.found)
            if check.advice:
                found.append(f"; {check.advice}", colour)
            table.add_row(Text(mark, colour), cell(check.what), found)
        table.add_section()
    Console().print(table)
    checks = [check for group in groups for check in group]
    lacking = sum(check.lacking for check in checks)
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
    for what, names in PACKAGES.items():
        found, missing = _versions(names)
        checks.append(Check(what, found, "run `make setup`" if missing else ""))
    return checks


def _extras() -> list[Check]:
    checks = []
    for what, (source, names) in EXTRAS.items():
        found, missing = _versions(names)
        advice = f"optional: pip install '{source}'" if missing else ""
        checks.append(Check(what, found, advice, optional=True))
    return checks


def _versions(names: Iterable[str]) -> tuple[str, bool]:
    """The packages with their versions, and whether one is not installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found, "not installed" in versions.values()


def _decoders() -> list[Check]:
    """Which transfer syntaxes of XA images each decoder takes, the usual ones first."""
    from pydicom.uid import UID

    from preprocess.dicom.decoders import COMPRESSED, NATIVE, decoder_name

    decoded: dict[str, list[str]] = {}
    for syntax in (*COMPRESSED, *NATIVE):
        decoded.setdefault(decoder_name(syntax), []).append(UID(syntax).keyword)
    checks = []
    for name, syntaxes in decoded.items():
        slow = "install imagecodecs, which is faster" if name.startswith("pydicom") else ""
        advice = slow if name else "install imagecodecs"
        checks.append(Check(f"decoded by {name or 'nothing'}", ", ".join(syntaxes), advice))
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
    found = counted(nodes, "node"), counted(cpus, "CPU core"), counted(gpus, "GPU")
    return [Check("Ray cluster", ", ".join(found))]


if __name__ == "__main__":
    run_command(doctor, prog="python -m angioray.doctor")
