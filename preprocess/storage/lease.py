"""A lock in an object store: an object that its holder writes anew every few seconds.

Stores have no locks, and pyarrow has no conditional writes. A process that finds no live lock
writes its own object, waits, and has the lock if the object is still its own. A holder counts as
dead when its object is older, by the store's own clock, than LAPSE_S. A holder that could not renew
its object for HELD_S stops writing before that. One request that was under way may arrive late.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress

from preprocess.storage.interface import StorageError
from preprocess.storage.store import ObjectStore

BEAT_S = 5.0
HELD_S = 20.0
LAPSE_S = 30.0
SETTLE_S = 1.0
"""Two that begin together are told apart by who of them wrote last, after so long."""


class Lease:
    """The right to write below a key, for as long as it is renewed."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        """``key`` is that of the lock's own object."""
        self._store, self._key = store.quick, key
        self._token = uuid.uuid4().hex
        self._beat = 0.0
        self._lost = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def acquire(self, *, wait: bool) -> None:
        """Get it, if need be once its holder ends or has given no sign of life for LAPSE_S.

        Raises:
            BlockingIOError: another process holds it and is alive, and ``wait`` is False.
        """
        clock = StoreClock(self._store, f"{self._key}-{self._token}")
        first = None
        while True:
            began = _now()
            holder = self._holder()
            if holder is not None and not self._is_mine(holder):
                token, owner, written = holder
                if clock.now() - written < LAPSE_S:
                    if first is None:
                        first = (token, written)
                        logging.getLogger(__name__).warning(
                            "%s is held by %s: waiting until it ends, or is silent for %.0f s.",
                            self._store.location(self._key),
                            owner,
                            LAPSE_S,
                        )
                    if not wait and (token, written) != first:
                        raise BlockingIOError(owner)
                    time.sleep(BEAT_S / 5)
                    continue
            self._write(began)
            time.sleep(SETTLE_S)
            # One slower than that may have written over another who had it settled: look again.
            if self._is_mine(self._holder()) and self._beat + 2 * SETTLE_S > _now():
                break
        self._thread.start()

    def check(self) -> None:
        """Wait until it is renewed if it is not, for a while.

        Raises:
            StorageError: it is another's by now, or could not be renewed.
        """
        deadline = _now() + LAPSE_S
        while _now() - self._beat > HELD_S and not self._lost:
            if _now() > deadline:
                raise StorageError(
                    f"{self._store.location(self._key)} could not be renewed for {LAPSE_S:.0f} s: "
                    "the store does not answer. Give the same command again to go on."
                )
            time.sleep(0.1)
        if self._lost:
            raise StorageError(
                f"This process was silent for so long that {self._lost} has taken over what it "
                "was doing; it stops here."
            )

    def release(self) -> None:
        """Give it back."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(StorageError):  # it lapses by itself
            if not self._lost and self._is_mine(self._holder()):
                self._store.delete(self._key)

    def _renew(self) -> None:
        while not self._over.wait(BEAT_S) and not self._lost:
            with suppress(StorageError):  # the next beat may get through
                began = _now()
                holder = self._holder()
                if self._is_mine(holder):
                    self._write(began)
                else:  # gone is as bad: another may have come, done his work and left
                    self._lost = holder[1] if holder else "another process"

    def _is_mine(self, holder: tuple[str, str, float] | None) -> bool:
        return holder is not None and holder[0] == self._token

    def _holder(self) -> tuple[str, str, float] | None:
        """The holder's token and name, and when it last wrote; None if there is none."""
        stored, content = self._store.look(self._key), self._store.get(self._key)
        if stored is None or content is None:
            return None
        try:
            document = json.loads(content)
            return str(document["token"]), str(document["owner"]), stored.modified
        except (ValueError, KeyError, TypeError):  # whoever wrote it, it lapses like any other
            return "", "another process", stored.modified

    def _write(self, began: float) -> None:
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        document = {"owner": owner, "token": self._token}
        self._store.put(self._key, json.dumps(document).encode())
        self._beat = began


def is_alive(store: ObjectStore, key: str, now: float) -> bool:
    """Whether a lock's holder has given a sign of life lately; ``now`` is by the store's clock."""
    stored = store.look(key)
    return stored is not None and now - stored.modified < LAPSE_S


_ASKING = threading.Lock()


class StoreClock:
    """The store's own time, which dates its objects: the clocks of machines differ."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        """``key`` is of an object that is written once, to see how the store dates it."""
        self._store, self._key = store, key
        self._ahead: float | None = None

    def now(self) -> float:
        """Now, as the store would date an object.

        Raises:
            StorageError: the store cannot be reached, or not be written to.
        """
        with _ASKING:  # another thread would look for the object after it was deleted
            if self._ahead is None:
                self._store.put(self._key, b"")
                stored = self._store.look(self._key)
                assert stored is not None
                self._ahead = stored.modified - _now()
                self._store.delete(self._key)
            return _now() + self._ahead


def _now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps if it can."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
