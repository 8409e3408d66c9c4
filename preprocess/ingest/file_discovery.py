"""The discovery of an archive's files, in the background."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from preprocess.storage.atomic import PARTIAL

WRITTEN_BY_US = (".angioray-pr.dcm", ".angioray-sr.dcm")
"""How the DICOM objects end that a prediction writes beside its sources: they are none."""
OURS = re.compile(rf"({'|'.join(map(re.escape, WRITTEN_BY_US))})(\.[\d-]+{re.escape(PARTIAL)})?$")
"""The end of their names, also where a killed prediction left them half-written."""


class FileDiscovery:
    """Every file below a folder, in a fixed order, but for those that lie ``apart`` or are ours.

    Attributes:
        names: what is found so far, relative to the folder, with forward slashes.
        is_complete: whether the whole archive is listed.
        closed: folders that were not looked into: links, and those that cannot be opened.
    """

    def __init__(self, src: Path, apart: Iterable[Path]):
        """Begin to list ``src``.

        Args:
            src: the archive.
            apart: files and folders of ours that may lie in it too (labels, the cohort).
        """
        self.names: list[str] = []
        self.is_complete = False
        self.closed: list[Path] = []
        self._src = src
        self._apart = {path.resolve() for path in apart}
        self._problem: BaseException | None = None
        self._grown = threading.Condition()
        threading.Thread(target=self._fill, daemon=True).start()

    def __iter__(self) -> Iterator[str]:
        position = 0
        while True:
            with self._grown:
                while len(self.names) == position and not self.is_complete:
                    self._grown.wait()
                if self._problem:
                    raise self._problem
                found = self.names[position:]
            if not found:
                return
            yield from found
            position += len(found)

    def is_empty(self) -> bool:
        """Whether there is no file at all; waits for the first."""
        return next(iter(self), None) is None

    def _fill(self) -> None:
        try:
            for path in walk(self._src, self.closed):
                if OURS.search(path.name):
                    continue
                resolved = Path(os.path.realpath(path))  # resolve() fails on links in a circle
                if resolved not in self._apart and self._apart.isdisjoint(resolved.parents):
                    with self._grown:
                        self.names.append(path.relative_to(self._src).as_posix())
                        self._grown.notify_all()
        except BaseException as problem:  # noqa: BLE001 - raised where the names are read
            self._problem = problem
        with self._grown:
            self.is_complete = True
            self._grown.notify_all()


def discovered(src: Path, apart: Iterable[Path]) -> FileDiscovery:
    """Begin to list an archive, as ``FileDiscovery`` does.

    Raises:
        ValueError: it is no folder, or holds no file.
    """
    if not src.is_dir():
        raise ValueError(f"{src} is no folder. Give the folder that holds the DICOM files.")
    listing = FileDiscovery(src, apart)
    if listing.is_empty():
        raise ValueError(f"{src} holds no files. Give the folder that holds the DICOM files.")
    return listing


def walk(folder: Path, closed: list[Path]) -> Iterator[Path]:
    """Every file below a folder, in a fixed order; links that lead nowhere are files too.

    Folders that cannot be opened are added to ``closed``, and so are links to folders: what they
    lead to may be this one.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        closed.append(folder)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path), closed)
        elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112 - never raises
            closed.append(Path(entry.path))
        elif _is_file(entry):
            yield Path(entry.path)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Neither pipe nor socket, which would be read for ever."""
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    leads_to_a_file = os.path.isfile(entry.path)  # noqa: PTH113 - never raises
    return leads_to_a_file or not os.path.exists(entry.path)  # noqa: PTH110 - never raises
