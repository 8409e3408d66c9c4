"""A folder on a disk of this machine, or on a file system that machines share."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from preprocess.storage.atomic import write_bytes
from preprocess.storage.interface import LOCK, LocalCopy, Storage
from preprocess.storage.names import check_name


@dataclass(frozen=True)
class FolderStorage(Storage):
    """A folder, by its path."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.absolute().name

    @property
    def parent(self) -> Storage:
        return FolderStorage(self.path.parent)

    def __truediv__(self, name: str) -> Storage:
        return FolderStorage(self._at(name))

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str) -> bytes | None:
        path = self._at(name)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise ValueError(
                f"{path} is a folder, where a file is expected. Move it away, or put the file back."
            ) from None

    def exists(self, name: str) -> bool:
        return self._at(name).is_file()

    def write(self, name: str, content: bytes) -> None:
        path = self._at(name)
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)

    def append(self, name: str, content: bytes) -> None:
        with self._at(name).open("ab") as file:
            file.write(content)

    def delete(self, name: str) -> None:
        self._at(name).unlink(missing_ok=True)

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def files(self) -> dict[str, float]:
        if not self.path.is_dir():
            return {}
        return {path.name: path.stat().st_mtime for path in self.path.iterdir() if path.is_file()}

    @contextmanager
    def locked(self, *, wait: bool) -> Iterator[None]:
        """The lock dies with its process, over a network file system as well."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield

    def is_locked(self) -> bool:
        try:
            with (self.path / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def now(self) -> float:
        return time.time()

    def local_copy(self, *names: str) -> LocalCopy:
        return LocalCopy(self.path, str(self.path.absolute()))

    def free_bytes(self) -> int | None:
        return shutil.disk_usage(_existing(self.path)).free

    def _at(self, name: str) -> Path:
        return self.path / check_name(name)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() or folder == folder.parent else _existing(folder.parent)
