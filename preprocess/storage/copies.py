"""Local copies of objects, made when they are first needed."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_IWGRP, S_IWOTH

from preprocess.storage.atomic import write_bytes
from preprocess.storage.interface import LocalCopy, StorageError
from preprocess.storage.names import check_path
from preprocess.storage.store import ObjectStore, Stored

CACHE = "ANGIORAY_CACHE"
"""Names the folder of all copies; without it they are in the user's own cache folder."""
AT_ONCE = 16
OWNER_ONLY = 0o700


def cache_folder() -> Path:
    """Where copies lie on this machine. They may be removed whenever nobody is reading them.

    The folder is the user's alone: others must neither see cines of patients nor put theirs there.

    Raises:
        StorageError: it is another user's, or others could have written into it.
    """
    user = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(os.environ.get(CACHE) or Path(user) / "angioray").absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=OWNER_ONLY)
    owners = {folder.lstat().st_uid, folder.stat().st_uid}  # of a link, and where it leads
    mode = folder.stat().st_mode
    if not S_ISDIR(mode) or owners != {os.geteuid()} or mode & (S_IWGRP | S_IWOTH):
        raise StorageError(
            f"The folder for copies, {folder}, is another user's, or others can write into it, so "
            f"that what is there cannot be trusted. Remove it, or name another by {CACHE}."
        )
    if S_IMODE(mode) != OWNER_ONLY:  # an earlier version let others read it
        folder.chmod(OWNER_ONLY)
    return folder


@dataclass(frozen=True)
class ObjectCopy(LocalCopy):
    """A copy that grows as it is needed. Safe from many processes: files come whole.

    Its folder is named by what the store lists, so that a changed cohort is another copy.

    Attributes:
        store: where the files come from.
        key: of the folder in it.
        listed: what is there, by name below the folder.
    """

    store: ObjectStore
    key: str
    listed: dict[str, Stored]

    @classmethod
    def of(cls, store: ObjectStore, key: str, names: tuple[str, ...]) -> ObjectCopy:
        """List some files, and folders that end in ``/``; nothing is brought yet.

        Raises:
            ValueError: the store lists a name that leads out of the folder, where a copy of it
                would be written over another file of this machine.
        """
        found: list[Stored] = []
        for name in names:
            if name.endswith("/"):
                found += store.below(f"{key}/{name.rstrip('/')}", recursive=True)
            elif stored := store.look(f"{key}/{name}"):
                found.append(stored)
        digest = hashlib.sha256(store.location(key).encode())
        for stored in found:
            digest.update(repr((stored.key, stored.size, stored.modified)).encode())
        path = cache_folder() / f"{key.rpartition('/')[2][:50]}-{digest.hexdigest()[:16]}"
        listed = {
            check_path(stored.key[len(key) + 1 :], f"an object below {store.location(key)}"): stored
            for stored in found
        }
        return cls(path, store.location(key), store, key, dict(sorted(listed.items())))

    def need(self, *names: str) -> None:
        wanted = [s for name in names for s in self._meant(name) if not (self.path / s).is_file()]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for _ in threads.map(self._bring, wanted):
                pass

    def missing_bytes(self) -> int:
        return sum(
            stored.size for name, stored in self.listed.items() if not (self.path / name).is_file()
        )

    def _meant(self, name: str) -> Iterator[str]:
        if not name.endswith("/"):
            yield from (name,) if name in self.listed else ()
            return
        for i in range(bisect_left(self._names, name), len(self._names)):
            if not self._names[i].startswith(name):
                return
            yield self._names[i]

    @cached_property
    def _names(self) -> list[str]:
        return list(self.listed)

    def _bring(self, name: str) -> None:
        content = self.store.get(f"{self.key}/{name}")
        if content is None or len(content) != self.listed[name].size:
            raise StorageError(
                f"{self.location} has changed while it was read: {name} is not as it was listed. "
                "Give the same command again."
            )
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
