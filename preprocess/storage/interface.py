"""The interface of a storage folder, on a disk or in an object store."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK = ".lock"
"""The file by which a folder is locked; what it holds is its storage's own business."""


class StorageError(OSError):
    """A store cannot be reached or used; the text is a sentence for the user."""


@dataclass(frozen=True)
class LocalCopy:
    """A folder as paths on this machine's disk; of a folder that lies there, that folder itself.

    Attributes:
        path: where its files are, once they have been asked for.
        location: what it is a copy of.
    """

    path: Path
    location: str

    def need(self, *names: str) -> None:
        """Bring files here that are not yet; those below a name that ends in ``/``.

        Raises:
            StorageError: the store cannot be reached or used.
        """

    def missing_bytes(self) -> int:
        """Of all that could be asked for and is not here yet."""
        return 0


class Storage(ABC):
    """A folder of files, by name; ``str()`` is its location.

    Subfolders are ``storage / name``, and there as soon as a file is in them. Whatever is asked of
    an object store may raise :class:`StorageError`, and of a folder ``OSError``. A name that could
    lead out of the folder raises ``ValueError`` (:func:`preprocess.storage.names.check_name`).
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of its location."""

    @property
    @abstractmethod
    def parent(self) -> Storage:
        """The folder that it lies in."""

    @abstractmethod
    def __truediv__(self, name: str) -> Storage: ...

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A whole file, or None where there is none.

        Raises:
            ValueError: a folder is there instead.
        """

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Replace a file as a whole. What was appended before, to any file, is there before it."""

    @abstractmethod
    def append(self, name: str, content: bytes) -> None:
        """Add to the end of a file; readers elsewhere may see it some seconds later."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything."""

    @abstractmethod
    def files(self) -> dict[str, float]:
        """The files right in this folder, and when each was last written, as :meth:`now` tells."""

    @abstractmethod
    def locked(self, *, wait: bool) -> AbstractContextManager[None]:
        """Keep every other process out that asks for the same; ends with its process.

        Raises:
            BlockingIOError: another process holds it, and ``wait`` is False.
        """

    @abstractmethod
    def is_locked(self) -> bool:
        """Whether a process holds it locked."""

    @abstractmethod
    def now(self) -> float:
        """Now, in seconds since 1970, by the clock that dates its files: not always this machine's.

        It is this machine's for whoever may not write into an object store.
        """

    @abstractmethod
    def local_copy(self, *names: str) -> LocalCopy:
        """Some of its files, or folders that end in ``/``, to be read as paths."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Room that is left, or None where that has no bounds."""

    def read_text(self, name: str) -> str | None:
        """A file of UTF-8, or None where there is none.

        Raises:
            ValueError: it is damaged.
        """
        content = self.read(name)
        try:
            return None if content is None else content.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise self._damaged(name, "no text in UTF-8") from problem

    def read_json(self, name: str) -> Any:
        """A JSON file; None where there is none.

        Raises:
            ValueError: it is damaged.
        """
        content = self.read(name)
        try:
            return None if content is None else json.loads(content)
        except (ValueError, RecursionError) as problem:
            raise self._damaged(name, str(problem)) from problem

    def _damaged(self, name: str, problem: str) -> ValueError:
        return ValueError(
            f"{self / name} is damaged ({problem}). Put it back from a copy, or remove it."
        )

    def write_text(self, name: str, text: str) -> None:
        """Write ``text`` as UTF-8."""
        self.write(name, text.encode("utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Write ``value`` as readable JSON; NaN and infinity are refused."""
        self.write_text(name, json.dumps(value, indent=1, allow_nan=False) + "\n")
