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
    """Keyed names: the same key gives the same patient the same name in every cohort.

    A pseudonym is the beginning of a keyed hash, so two patients may have the same one, however
    unlikely that is. It then raises ``ValueError`` instead of making one patient of two.
    """

    key: bytes = field(repr=False)
    _named: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def patient(self, patient_id: str) -> str:
        """``P`` and 12 hexadecimal digits from PatientID (0010,0020)."""
        return self.remember("P", self.patient_digest(patient_id))

    def patient_digest(self, patient_id: str) -> str:
        """The whole keyed hash whose beginning the pseudonym is."""
        return self._digest("patient", patient_id)

    def sequence(self, sop_instance_uid: str) -> str:
        """``S`` and 12 hexadecimal digits from SOPInstanceUID (0008,0018)."""
        return self.remember("S", self._digest("sequence", sop_instance_uid))

    def file(self, sha256: str) -> str:
        """A source file as the manifest names it: 64 hexadecimal digits from its SHA-256.

        Whoever has the archive could link files to pseudonyms by a hash without a key.
        """
        return self._digest("file", sha256) if sha256 else ""

    def remember(self, letter: str, digest: str) -> str:
        """The pseudonym of a keyed hash, which is given to no other from now on.

        Raises:
            ValueError: it was given to another before.
        """
        pseudonym = letter + digest[:SHOWN_DIGITS]
        if self._named.setdefault(pseudonym, digest) != digest:
            what = {"P": "patients", "S": "cines"}[letter]
            raise ValueError(
                f"Two {what} have the same pseudonym {pseudonym} under this key, and would be "
                "taken for one. Begin anew with another key: choose another --out, and leave --key "
                "out or give another."
            )
        return pseudonym

    def _digest(self, kind: str, identifier: str) -> str:
        message = f"{kind}\0{identifier}".encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


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
