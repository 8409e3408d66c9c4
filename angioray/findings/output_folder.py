"""The output folder of a prediction: begun by one, and written by one process at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from angioray.study.run_folder import alone_in
from preprocess.storage import LOCK

FOLDER = "cines"
"""Of the output, for what was found in each cine."""


def check_output(out: Path, src: str) -> None:
    """Refuse an output folder that is another's.

    Args:
        out: it; with its lock and :data:`FOLDER` in it, it was begun by a prediction.
        src: what is looked at.

    Raises:
        ValueError: it has files but none of a prediction, or the source is in it.
        FileExistsError: it is a file.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out))
    if "://" not in str(src) and Path(src).resolve().is_relative_to(out.resolve()):
        raise ValueError(
            f"{src} is within {out}, where predictions are written. Give --out another folder."
        )
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there - {LOCK} and not {LOCK, FOLDER} <= there:
        raise ValueError(
            f"{out} has files, but no prediction has begun it: they might be overwritten. Give "
            "--out a new folder."
        )


@contextmanager
def alone_in_output(out: Path) -> Iterator[None]:
    """Keep an output folder for this process, and begin it.

    Raises:
        ValueError: another process predicts into it.
    """
    with alone_in(out, what="prediction"):
        (out / FOLDER).mkdir(exist_ok=True)
        yield
