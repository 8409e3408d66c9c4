"""Pseudonyms of patients and sequences: keyed hashes (HMAC-SHA256, RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

KEY_BYTES = 32
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Pseudonyms:
    """Keyed names: the same key gives the same patient the same name in every cohort."""

    key: bytes = field(repr=False)

    def patient(self, patient_id: str) -> str:
        """``P`` and 12 hexadecimal digits from PatientID (0010,0020)."""
        return "P" + self._digits("patient", patient_id)

    def sequence(self, sop_instance_uid: str) -> str:
        """``S`` and 12 hexadecimal digits from SOPInstanceUID (0008,0018)."""
        return "S" + self._digits("sequence", sop_instance_uid)

    def _digits(self, kind: str, identifier: str) -> str:
        message = f"{kind}\0{identifier}".encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:SHOWN_DIGITS]


def new_key() -> bytes:
    """A new random key."""
    return secrets.token_bytes(KEY_BYTES)


def read_key(path: Path) -> bytes:
    """The key in ``path``: hexadecimal text, or another cohort's private journal.

    Raises:
        ValueError: there is none in it.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline().strip()
    try:
        key = bytes.fromhex(json.loads(line)["key"] if line.startswith("{") else line)
    except (ValueError, KeyError, TypeError):
        key = b""
    if len(key) < KEY_BYTES // 2:
        raise ValueError(
            f"{path} holds no key. Expected one line of at least {KEY_BYTES} hexadecimal digits, "
            "or the .private.jsonl of another cohort."
        )
    return key
