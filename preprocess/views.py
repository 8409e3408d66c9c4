"""The usual names of views, and what to say of others before anybody trains on them.

Settings take their default from here, so it imports nothing heavy.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preprocess.cohort.records import Sequence

VIEW_CLASSES: Mapping[str, str] = MappingProxyType(
    {"RCA": "RCA", "LCA": "LCA", "LCx/LAD": "LCA", "LAD/LCx": "LCA"}
)
"""The class that each usual name belongs to; the default of the setting ``view_classes``."""
WORDS: Mapping[str, set[str]] = {
    "RCA": {"right", "rechts", "rechte", "droite", "derecha", "destra", "acd"},
    "LCA": {
        *("left", "links", "linke", "gauche", "izquierda", "sinistra", "aci", "main", "lm", "lmca"),
        *("lad", "lcx", "cx", "rcx", "riva", "iva", "circumflex", "zirkumflex"),
    },
}
"""Words that name an artery. RCX and RIVA are German for branches of the left one."""
UNCLEAR = "RCA or LCA"
"""Stands in an example for a class that a person has to choose."""
CAUDAL_DEG, STEEPLY_CRANIAL_DEG, STRAIGHT_DEG, LAO_DEG = -15.0, 32.0, 10.0, (20.0, 43.0)
"""Limits between projections, of (0018,1511) and, for LAO, of (0018,1510)."""
SHOWN = 10
"""Most names of views that are shown."""
LONGEST = 24
"""Letters of a name that are shown: what is longer is no view."""


def angles_in_words(sequence: Sequence) -> str:
    """``LAO 40 CRA 27``, or nothing where an angle is unknown (DICOM PS3.3, C.8.7.5)."""
    primary, secondary = sequence.primary_angle_deg, sequence.secondary_angle_deg
    if primary is None or secondary is None:
        return ""
    side, tilt = "RAO" if primary < 0 else "LAO", "CAU" if secondary < 0 else "CRA"
    return f"{side} {abs(primary):.0f} {tilt} {abs(secondary):.0f}"


def projection(sequence: Sequence) -> str | None:
    """``LAO cranial``: to which side and tilt the C-arm stands, or None where an angle is unknown.

    Within 10 degrees of straight the side is AP, and no tilt is named. A positive primary angle is
    LAO, a positive secondary angle cranial (DICOM PS3.3, C.8.7.5).
    """
    primary, secondary = sequence.primary_angle_deg, sequence.secondary_angle_deg
    if primary is None or secondary is None:
        return None
    side = "AP" if abs(primary) <= STRAIGHT_DEG else "LAO" if primary > 0 else "RAO"
    tilt = "" if abs(secondary) <= STRAIGHT_DEG else " cranial" if secondary > 0 else " caudal"
    return side + tilt


def proposed_view(sequence: Sequence) -> str | None:
    """The view that the C-arm's angles make plain, or None.

    The right artery is hardly ever seen from caudal or from steeply cranial, and the left one
    rarely from straight LAO. Most other projections are used for both. Of 204 cines of phantoms
    (seeds 0 to 2) it names 87, and 85 of them rightly.
    """
    primary, secondary = sequence.primary_angle_deg, sequence.secondary_angle_deg
    if primary is None or secondary is None:
        return None
    if secondary <= CAUDAL_DEG or secondary >= STEEPLY_CRANIAL_DEG:
        return "LCA"
    straight = abs(secondary) <= STRAIGHT_DEG
    return "RCA" if straight and LAO_DEG[0] <= primary <= LAO_DEG[1] else None


def nearest_view(name: str) -> str | None:
    """The usual name that was likely meant: ``lca``, ``R C A`` and ``Right`` are LCA, RCA and RCA.

    None where it is not plain; a guess would train one artery under the other's name.
    """
    plain = {_plain(usual): usual for usual in VIEW_CLASSES}
    if _plain(name) in plain:
        return plain[_plain(name)]
    words = set(re.findall(r"[^\W\d_]+", name.casefold()))
    if found := [view for view, meaning in WORDS.items() if words & meaning]:
        return found[0] if len(found) == 1 else None
    near = difflib.get_close_matches(_plain(name), plain, 1, 0.75)
    return plain[near[0]] if near else None


def view_counts(sequences: Iterable[Sequence]) -> str:
    """How many sequences each view has, such as ``LCA 12, RCA 9, none 2``."""
    counts = Counter(sequence.view for sequence in sequences)
    without = counts.pop(None, 0)
    named = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    shown = [f"{_short(view or '')} {count}" for view, count in named[:SHOWN]]
    shown += [f"{len(named) - SHOWN} other names"] if len(named) > SHOWN else []
    return ", ".join([*shown, *([f"none {without}"] if without else [])])


def view_remarks(sequences: Iterable[Sequence]) -> Iterator[str]:
    """What a person should know about the names of the views."""
    views = {sequence.view for sequence in sequences}
    names = sorted(view for view in views if view)
    if not names:
        yield "no cine has a view: nothing can be trained on views"
    if unusual := [name for name in names if name not in VIEW_CLASSES]:
        shown = [f"{_short(name)!r}{_hint(name)}" for name in unusual[:SHOWN]]
        more = f" and {len(unusual) - SHOWN} others" if len(unusual) > SHOWN else ""
        yield (
            f"{', '.join(shown)}{more} {'is' if len(unusual) == 1 else 'are'} none of the usual "
            f"names of views ({', '.join(VIEW_CLASSES)}). Correct the labels, or give each name a "
            f"class in the setting `view_classes`: `--view_classes '{example_mapping(unusual)}'`"
        )


def example_mapping(unusual: Iterable[str], classes: Mapping[str, str] = VIEW_CLASSES) -> str:
    """A value of ``view_classes`` that knows the first unusual names too.

    The setting is replaced as a whole, so the names that have a class are in it again.
    """
    known = dict(classes)
    for name in list(unusual)[:SHOWN]:
        near = nearest_view(name)
        known[name] = VIEW_CLASSES[near] if near else UNCLEAR
    # Quoted, for some short words are no text in YAML: no, on, null.
    keys = (
        name if name in VIEW_CLASSES else json.dumps(name, ensure_ascii=False) for name in known
    )
    return "{" + ", ".join(map("{}: {}".format, keys, known.values())) + "}"


def _hint(name: str) -> str:
    near = nearest_view(name)
    return f" ({near}?)" if near else ""


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
