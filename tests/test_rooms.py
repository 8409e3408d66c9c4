"""ARCHITECTURE's table of rooms is true: every room with the first line of its docstring."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("preprocess", "angioray", "tune")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ROOMS = [path.parent for path in MODULES if path.name == "__init__.py"]


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return docstring.partition("\n")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_module_says_what_it_is(path: Path) -> None:
    assert first_line(path).endswith("."), f"{path} has no docstring whose first line is a sentence"


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_table_has_the_room(room: Path) -> None:
    name = f"`{room.relative_to(ROOT)}/`"
    rows = (ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines()
    purposes = [row.split("|")[3].strip() for row in rows if row.startswith(f"| {name} |")]
    assert purposes == [first_line(room / "__init__.py")]


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_rooms(package: str) -> None:
    rooms = {room.name for room in ROOMS if room.parent == ROOT / package}
    folders = {path.name for path in (ROOT / "tests" / package).iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} <= rooms
