"""The label of each cine, and the row of ``sequences.csv`` that a source file has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from preprocess.annotations.names import spellings
from preprocess.cohort.records import Exclusion

BOUNDS = ("introducing_start", "optimal_start", "vanishing_start")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One row. Frames are 0-based; phase bounds are the first frame of each interval."""

    line: int
    file: str | None = None
    """Relative to the archive, as the sheet spells it."""
    sop_instance_uid: str | None = None
    view: str | None = None
    reference_frame: int | None = None
    introducing_start: int | None = None
    optimal_start: int | None = None
    vanishing_start: int | None = None
    ifr: tuple[float, ...] = ()
    exclude: Exclusion | None = None
    no_lesion: bool = False
    year: int | None = None
    """In which the cine was acquired; a header's date is never read."""

    def contradictions(self) -> Iterator[str]:
        """Why the row cannot be right, whatever cine it describes."""
        if self.file is None and self.sop_instance_uid is None:
            yield "neither file nor sop_instance_uid says which cine is meant"
        bounds = [self.introducing_start, self.optimal_start, self.vanishing_start]
        known = [bound for bound in bounds if bound is not None]
        reference = self.reference_frame
        if known and len(known) < len(BOUNDS):
            missing = [name for name, bound in zip(BOUNDS, bounds, strict=True) if bound is None]
            yield f"{' and '.join(missing)} missing; give all three phase bounds, or none"
        elif known != sorted(known):
            yield f"{' <= '.join(BOUNDS)} does not hold: {known[0]}, {known[1]}, {known[2]}"
        elif known and reference is not None and not known[1] <= reference < known[2]:
            yield (
                f"reference_frame {reference} lies outside the optimal interval, "
                f"{known[1]} to {known[2] - 1}"
            )
        if any(not 0 <= value <= 1.2 for value in self.ifr):
            yield f"ifr {';'.join(map(str, self.ifr))} is no ratio between 0 and 1"

    def label_error(self, length: int) -> str:
        """Why the row cannot describe a cine of ``length`` frames, or an empty string."""
        if self.vanishing_start is not None and self.vanishing_start > length:
            return f"label: vanishing_start {self.vanishing_start} of {length} frames"
        if self.reference_frame is not None and self.reference_frame >= length:
            return f"label: reference_frame {self.reference_frame} of {length} frames (from 0)"
        return ""


@dataclass(frozen=True)
class Labels:
    """The rows of one file, found by source file or by instance."""

    path: Path | None
    """None where there is no file: then every cine is let in without a label."""
    rows: tuple[Label, ...] = ()
    by_file: Mapping[tuple[int, str], Label | None] = field(default_factory=dict, repr=False)
    """By each of the ``spellings`` of its file; None where two rows share it."""
    by_instance: Mapping[str, Label] = field(default_factory=dict, repr=False)
    assumed: tuple[str, ...] = ()
    """What was taken for plain in reading the file."""

    @classmethod
    def of_rows(cls, path: Path, rows: Sequence[Label], assumed: Iterable[str]) -> Labels:
        """Rows of which each has a file or an instance of its own."""
        by_file: dict[tuple[int, str], Label | None] = {}
        for row in rows:
            for spelling in enumerate(spellings(row.file) if row.file else ()):
                by_file[spelling] = None if spelling in by_file else row
        by_instance = {row.sop_instance_uid: row for row in rows if row.sop_instance_uid}
        return cls(path, tuple(rows), by_file, by_instance, tuple(assumed))

    def of(self, file: str, sop_instance_uid: str | None) -> Label | None:
        """The row of a source file (relative to the archive), by its name or its instance.

        Where two files are spelled alike, such as ``k 1`` and ``k%201``, a row may be both's until
        they are all known: see ``settled``.
        """
        if self.path is None:
            return Label(line=0)
        return self._named(file)[0] or self.by_instance.get(sop_instance_uid or "")

    def conflicting_label(self, file: str, sop_instance_uid: str | None) -> Label | None:
        """The row that names a source file by its instance where another names it by its name."""
        other = self.by_instance.get(sop_instance_uid or "")
        return other if other is not self.of(file, sop_instance_uid) else None

    def settled(self, files: Iterable[str]) -> Labels:
        """The same labels once all files are known: a row is of the one whose spelling is closest.

        Where two are as close, it is of neither.
        """
        meant: dict[int, list[tuple[int, str]]] = defaultdict(list)
        rows = {row.line: row for row in self.rows}
        for file in files:
            row, distance = self._named(file)
            if row:
                meant[row.line].append((distance, file))
        by_file: dict[tuple[int, str], Label | None] = {}
        for line, found in meant.items():
            least, _ = min(found)
            closest = [file for distance, file in found if distance == least]
            if len(closest) == 1:
                by_file[0, closest[0]] = rows[line]
        return replace(self, by_file=by_file)

    def _named(self, file: str) -> tuple[Label | None, int]:
        """The row that names a file, and how far its spelling is from the file's."""
        for distance, spelling in enumerate(spellings(file)):
            if row := self.by_file.get((distance, spelling)):
                return row, distance
        return None, 0


NO_LABELS = Labels(None)
"""Lets every cine in and says nothing of it."""
