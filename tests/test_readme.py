"""The README's file tree is true: every module, with the first line of its docstring."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path
    for package in ("preprocess", "angioray", "tune")
    for path in (ROOT / package).rglob("*.py")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tree_lists_the_module(path: Path) -> None:
    tree = (ROOT / "README.md").read_text("utf-8").partition("## What lies where")[2]
    folder = tree.partition(f"\n{path.parent.relative_to(ROOT)}/\n")[2].split("\n  ")
    line = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
    assert line, f"{path} has no docstring"
    assert any(
        entry.split() == [path.name, *line.split()]
        for entry in (e.partition("\n")[0] for e in folder)
    )
