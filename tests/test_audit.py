"""``make audit``: what was not looked up is not passed over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(
    shutil.which("make") is None or find_spec("uv") is None, reason="make or uv is not here"
)
def test_an_audit_without_a_network_says_so_and_fails(tmp_path: Path) -> None:
    alone = {**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path)}
    command = ["make", "--old-file=setup", "audit", f"PY={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Nothing was audited: the package index gave no list of vulnerabilities" in done.stdout
    assert "pip-audit" in done.stdout
