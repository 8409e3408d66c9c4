"""A cohort in; splits, models, training, folds, evaluation, reports and prediction out.

In Python: ``Cohort`` opens a cohort, ``load`` the trained networks of a study (`docs/python.md`).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from angioray.interface.cohort import Cohort
    from angioray.interface.system import load

    __version__: str

__all__ = ["CONFIGS", "Cohort", "__version__", "load"]

CONFIGS = Path(__file__).parent / "configs"
"""Settings that come with angioray: `--config paper` and `--config demo` mean files in here."""

_ROOMS = {"Cohort": "angioray.interface.cohort", "load": "angioray.interface.system"}


def __getattr__(name: str) -> Any:
    """The Python interface, loaded when it is first used: a command must not wait for it."""
    if name == "__version__":
        return version("angioray")
    if name not in _ROOMS:
        raise AttributeError(f"module 'angioray' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
