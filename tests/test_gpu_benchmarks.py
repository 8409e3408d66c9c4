"""What is measured on a bare GPU machine needs torch, torchvision and numpy alone."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BARE = ("torch", "torchvision", "numpy")
SCRIPTS = ("train_step", "data_road", "shared_device", "arcade")

WITHOUT = """
import runpy, sys
script, *missing = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing))  # importing any of them fails
sys.path.insert(0, script.rpartition("/")[0])
sys.argv = [script, "--help"]
runpy.run_path(script, run_name="__main__")
"""


def required_by(distribution: str) -> set[str]:
    """What a distribution asks for unconditionally, by normalised name."""
    names = (line for line in requires(distribution) or [] if "extra ==" not in line)
    return {re.split(r"[^\w.-]", name)[0].lower().replace("_", "-") for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_script_starts_without_the_other_dependencies(script: str) -> None:
    bare = set(BARE).union(*(required_by(name) for name in BARE))
    others = required_by("angioray") - bare
    modules = [
        module
        for module, distributions in packages_distributions().items()
        if others & {name.lower().replace("_", "-") for name in distributions}
    ]
    assert {"ray", "zarr", "pydicom", "cv2", "sklearn"} <= set(modules)
    command = [sys.executable, "-c", WITHOUT, str(ROOT / "benchmarks" / f"{script}.py"), *modules]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert "--out" in ended.stdout
