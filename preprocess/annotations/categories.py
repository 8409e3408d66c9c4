"""The categories of annotation files: which are lesions, by their names.

A name counts as a whole: `nonlesion` and `no_stenosis` hold the words, and mean the opposite.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SEPARATORS = re.compile(r"[\W_]+")
DEGREES = ("", "mild", "moderate", "severe", "critical", "significant")
PLACES = ("", "coronary", "arterial", "artery", "coronary artery", "vessel", "culprit")
NAMES = {
    *("stenosis", "stenoses", "stenotic lesion", "stenotic lesions", "stenotic", "restenosis"),
    *("lesion", "lesions", "stenosis lesion", "narrowing", "occlusion"),
    *("stenose", "stenosen", "sténose", "sténoses", "estenosis", "stenosi"),
    *("läsion", "läsionen", "lésion", "lésions", "lesión", "lesiones", "lesione", "lesioni"),
}
LESIONS = {
    " ".join(filter(None, words))
    for name in NAMES
    for degree in DEGREES
    for place in PLACES
    for words in ((degree, place, name), (name, degree), (place, name, degree))
}
NEGATIONS = ("no", "non", "not", "not a", "without", "free of")
NO_LESIONS = {
    *(f"{word}{gap}{name}" for word in NEGATIONS for gap in ("", " ") for name in LESIONS),
    *("background", "healthy", "normal", "negative", "none", "nothing", "unknown", "other"),
    *("catheter", "guide catheter", "guiding catheter", "wire", "guide wire", "guidewire"),
    *("ifr wire", "pressure wire", "stent", "balloon", "marker", "pacemaker", "implant", "clip"),
    *("vessel", "vessels", "artery", "arteries", "coronary artery", "coronary arteries", "aorta"),
    *("bifurcation", "calcification", "contrast", "rib", "spine", "diaphragm", "text", "artifact"),
}


def is_lesion(category: str) -> bool:
    """Whether a category is known by name to be a stenosis or lesion."""
    return plain_name(category) in LESIONS


def is_no_lesion(category: str) -> bool:
    """Whether a category is known by name to be something else."""
    return plain_name(category) in NO_LESIONS


def knows_lesions(categories: Sequence[str]) -> bool | None:
    """Whether one of a file's categories is a lesion by its name; None where there is none."""
    return any(map(is_lesion, categories)) if categories else None


def plain_name(category: str) -> str:
    """A name in small letters, its words apart by one space."""
    return SEPARATORS.sub(" ", unicodedata.normalize("NFC", category).casefold()).strip()
