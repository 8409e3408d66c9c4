"""The maker of the device, as one of a few names: a header's own text may name a hospital."""

from __future__ import annotations

import re

OTHER = "other"
MAKERS = {
    "Canon": ("canon", "toshiba"),
    "GE": ("ge", "gehc", "gems", "general electric"),
    "Philips": ("philips",),
    "Shimadzu": ("shimadzu",),
    "Siemens": ("siemens",),
    "Ziehm": ("ziehm",),
}
"""How (0008,0070) begins for each; Canon bought Toshiba's systems."""


def maker_of(text: str) -> str | None:
    """The maker that (0008,0070) names, ``other`` for one that is not listed, None without any."""
    words = " ".join(re.findall(r"[a-z]+", text.casefold()))
    if not text.strip("\0 \t\r\n"):
        return None
    known = (
        maker
        for maker, names in MAKERS.items()
        if any(f"{words} ".startswith(f"{name} ") for name in names)
    )
    return next(known, OTHER)
