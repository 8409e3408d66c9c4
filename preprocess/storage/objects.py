"""A folder that is a prefix of an object store."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from preprocess.storage.copies import ObjectCopy
from preprocess.storage.interface import LOCK, LocalCopy, Storage, StorageError
from preprocess.storage.lease import Lease, StoreClock, is_alive
from preprocess.storage.names import check_name
from preprocess.storage.store import ObjectStore

APPEND_EVERY_S = 10.0
"""Objects cannot grow: what is appended is gathered and written with all before it."""


@dataclass
class _Held:
    """What this process holds of a store, shared by every folder opened from the same one.

    Attributes:
        leases: locks, by the key of the folder that they are for.
        growing: whole contents of objects that are appended to.
        unwritten: those that the store does not have like that yet.
        written: when it last got them (``time.monotonic()``).
        clock: the store's; None until it is asked for.
    """

    leases: dict[str, Lease] = field(default_factory=dict)
    growing: dict[str, bytes] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)
    written: float = 0.0
    clock: StoreClock | None = None


@dataclass(frozen=True)
class ObjectStorage(Storage):
    """A key of a store, and all that is below it.

    While this process holds a folder locked, it writes into it only as long as the lock is its own.
    """

    store: ObjectStore
    key: str
    _held: _Held = field(default_factory=_Held, compare=False, repr=False)

    @classmethod
    def at(cls, location: str) -> ObjectStorage:
        """Open a URI.

        Raises:
            StorageError: there is no such bucket, or it cannot be reached or used.
        """
        return cls(*ObjectStore.of(location))

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> Storage:
        return ObjectStorage(self.store, self.key.rpartition("/")[0] or self.key, self._held)

    def __truediv__(self, name: str) -> Storage:
        return ObjectStorage(self.store, self._of(name), self._held)

    def __str__(self) -> str:
        return self.store.location(self.key)

    def read(self, name: str) -> bytes | None:
        return self._held.growing.get(self._of(name)) or self.store.get(self._of(name))

    def exists(self, name: str) -> bool:
        return self.store.look(self._of(name)) is not None

    def write(self, name: str, content: bytes) -> None:
        self._held.growing.pop(self._of(name), None)
        self._held.unwritten.discard(self._of(name))
        self._flush()
        self._put(self._of(name), content)

    def append(self, name: str, content: bytes) -> None:
        key = self._of(name)
        if key not in self._held.growing:
            self._held.growing[key] = self.store.get(key) or b""
        self._held.growing[key] += content
        self._held.unwritten.add(key)
        if time.monotonic() - self._held.written > APPEND_EVERY_S:
            self._flush()

    def delete(self, name: str) -> None:
        self._held.growing.pop(self._of(name), None)
        self._held.unwritten.discard(self._of(name))
        self._check(self._of(name))
        self.store.delete(self._of(name))

    def clear(self) -> None:
        self._check(self.key)
        self.store.delete_below(self.key)

    def files(self) -> dict[str, float]:
        found = self.store.below(self.key)
        return {stored.key.rpartition("/")[2]: stored.modified for stored in found}

    @contextmanager
    def locked(self, *, wait: bool) -> Iterator[None]:
        """The lock lapses some time after its process: see :mod:`preprocess.storage.lease`."""
        lease = Lease(self.store, self._of(LOCK))
        lease.acquire(wait=wait)
        self._held.leases[self.key] = lease
        try:
            yield
        finally:
            with suppress(StorageError):  # lines of a log that nothing whole follows
                self._flush()
            del self._held.leases[self.key]
            for key in [key for key in self._held.growing if key.startswith(f"{self.key}/")]:
                del self._held.growing[key]
                self._held.unwritten.discard(key)
            lease.release()

    def is_locked(self) -> bool:
        return is_alive(self.store, self._of(LOCK), self.now())

    def now(self) -> float:
        if self._held.clock is None:
            self._held.clock = StoreClock(self.store, self._of(f"{LOCK}-{uuid.uuid4().hex}"))
        try:
            return self._held.clock.now()
        except StorageError:  # who may only read has no better clock than his own
            return time.time()

    def local_copy(self, *names: str) -> LocalCopy:
        return ObjectCopy.of(self.store, self.key, names)

    def free_bytes(self) -> int | None:
        return None

    def _of(self, name: str) -> str:
        return f"{self.key}/{check_name(name)}"

    def _flush(self) -> None:
        self._held.written = time.monotonic()
        for key in sorted(self._held.unwritten):
            self._put(key, self._held.growing[key])
            self._held.unwritten.discard(key)

    def _put(self, key: str, content: bytes) -> None:
        self._check(key)
        self.store.put(key, content)

    def _check(self, key: str) -> None:
        for folder, lease in self._held.leases.items():
            if f"{key}/".startswith(f"{folder}/"):
                lease.check()
