"""How the cines were acquired that a run trained on: sizes, frame times, grey levels, angles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from angioray.training.frames import FrameKey, FrameStore
from preprocess.cohort import Cohort

RECORDED = "acquisitions"
"""The key of the record in a run's result."""
PERCENTILES = (1, 99)
_AT_ONCE = 32

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Acquisitions:
    """Technical facts of many cines. Each fact is a set of its own, so that none tells of one cine.

    Attributes:
        sides: pairs of width and height in pixels, each once.
        frame_time_ms: the shortest and the longest; None where no cine says its own.
        mean_grey: the 1st and the 99th percentile of the cines' mean grey levels, 0 to 255.
        angles_deg: pairs of the C-arm's angles, DICOM's (0018,1510) and (0018,1511), rounded to
            1 degree, each once.
    """

    sides: tuple[tuple[int, int], ...] = ()
    frame_time_ms: Range | None = None
    mean_grey: Range | None = None
    angles_deg: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, cohort: Cohort, store: FrameStore, keys: Iterable[FrameKey]) -> Acquisitions:
        """Those of the cines that frames are of; the grey level of a cine is its middle frame's.

        Args:
            cohort: where the cines lie.
            store: has the frames.
            keys: the frames.
        """
        frames: dict[str, list[int]] = {}
        for sequence_id, frame_index in sorted(set(keys)):
            frames.setdefault(sequence_id, []).append(frame_index)
        rows = store.rows_of([(name, of[len(of) // 2]) for name, of in frames.items()])
        for first in range(0, len(rows), _AT_ONCE):
            store.images(rows[first : first + _AT_ONCE])  # a streamed frame has no mean before
        cines = [cohort.sequences[name] for name in frames]
        times = [cine.frame_time_ms for cine in cines if cine.frame_time_ms]
        low, high = np.percentile(store.means.numpy()[rows].astype(float), PERCENTILES).round(1)
        angles = {(cine.primary_angle_deg, cine.secondary_angle_deg) for cine in cines}
        return cls(
            sides=tuple(sorted({(cine.width, cine.height) for cine in cines})),
            frame_time_ms=(min(times), max(times)) if times else None,
            mean_grey=(float(low), float(high)),
            angles_deg=tuple(
                sorted({(round(a), round(b)) for a, b in angles if a is not None and b is not None})
            ),
        )

    @classmethod
    def together(cls, results: Iterable[Mapping[str, Any]]) -> Acquisitions:
        """Those of several runs; nothing where an earlier version trained one of them.

        Args:
            results: the runs' ``result.json``.
        """
        recorded = [result.get(RECORDED) for result in results]
        known = [each for each in recorded if each is not None]
        if len(known) < len(recorded):
            return cls()
        times = [each["frame_time_ms"] for each in known if each["frame_time_ms"]]
        greys = [each["mean_grey"] for each in known if each["mean_grey"]]
        return cls(
            sides=_union(each["sides"] for each in known),
            frame_time_ms=_hull(times),
            mean_grey=_hull(greys),
            angles_deg=_union(each["angles_deg"] for each in known),
        )

    def as_json(self) -> dict[str, Any]:
        """The entry of ``result.json``."""
        return asdict(self)


def _union(known: Iterable[Iterable[tuple[int, int]]]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({(a, b) for pairs in known for a, b in pairs}))


def _hull(ranges: list[Range]) -> Range | None:
    """The least range that holds all of them."""
    if not ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)
