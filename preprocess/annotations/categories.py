"""The categories of annotation files: which are lesions, by their names.

Every word of a name counts: `nonlesion` and `no_stenosis` hold a word for a lesion, and mean the
opposite.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from preprocess.annotations.names import LONGEST

SEPARATORS = re.compile(r"[\W_]+")
LESIONS = {
    *("stenosis", "stenoses", "stenotic", "restenosis", "narrowing", "occlusion"),
    *("lesion", "lesions", "lesiones", "lesione", "lesioni", "lasion", "lasionen"),
    *("stenose", "stenosen", "estenosis", "stenosi"),
}
"""Words for a lesion in several languages, without accents."""
QUALIFIERS = {
    *("mild", "moderate", "severe", "critical", "significant", "culprit", "coronary", "arterial"),
    *("artery", "vessel", "ostial", "proximal", "mid", "distal", "lad", "lcx", "lca", "rca", "lm"),
}
"""A lesion with them is one all the same."""
NEGATIONS = {
    *("no", "non", "not", "without", "free", "absent", "negative", "none", "nothing", "healthy"),
    *("normal", "background", "kein", "keine", "ohne", "pas", "sans", "sin", "senza"),
}
JOINED = {
    word for no in NEGATIONS for lesion in LESIONS for word in (no + lesion, lesion + no)
} - LESIONS
OTHERS = {
    *("catheter", "guide", "guiding", "wire", "guidewire", "ifr", "pressure", "stent", "balloon"),
    *("marker", "pacemaker", "implant", "clip", "vessel", "vessels", "artery", "arteries", "aorta"),
    *("bifurcation", "calcification", "contrast", "rib", "spine", "diaphragm", "text", "artifact"),
    *("unknown", "other"),
}


def is_lesion(category: str) -> bool:
    """Whether a category is known by name to be a stenosis or lesion."""
    words = _words(category)
    return bool(words & LESIONS) and words <= LESIONS | QUALIFIERS


def is_no_lesion(category: str) -> bool:
    """Whether a category is known by name to be something else."""
    words = _words(category)
    if words & (NEGATIONS | JOINED):
        return True
    return bool(words & OTHERS) and words <= OTHERS | QUALIFIERS


def knows_lesions(categories: Sequence[str]) -> bool | None:
    """Whether one of a file's categories is a lesion by its name; None where there is none."""
    return any(map(is_lesion, categories)) if categories else None


def plain_name(category: str) -> str:
    """A name in small letters without accents, its words apart by one space."""
    decomposed = unicodedata.normalize("NFKD", category[:LONGEST].casefold())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return SEPARATORS.sub(" ", letters).strip()


def _words(category: str) -> set[str]:
    return set(plain_name(category).split())
