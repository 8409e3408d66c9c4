"""What near-duplicates mean for splits: their groups, and the parts and folds that they join."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from angioray.leak.duplicates import Pair
from angioray.report.balance import patients_are_unknown
from angioray.study.duplicate_groups import joined_units
from angioray.study.study import Study
from preprocess.cohort import Cohort

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Leaks:
    """The near-duplicates of a cohort, and of another one with it.

    Attributes:
        cohort: COHORT.
        pairs: of sequences, most alike first.
        other: OTHER, if there is one.
        study: whose folds are looked at, if any.
    """

    cohort: Cohort
    pairs: Sequence[Pair]
    other: Cohort | None = None
    study: Study | None = None

    @property
    def within(self) -> list[Pair]:
        """The pairs of COHORT alone."""
        return [pair for pair in self.pairs if not pair.of_other]

    @property
    def between(self) -> list[Pair]:
        """The pairs of COHORT and OTHER."""
        return [pair for pair in self.pairs if pair.of_other]

    @cached_property
    def groups(self) -> list[list[str]]:
        """Sequences of COHORT that near-duplicates connect, also through a sequence of OTHER."""
        through = defaultdict(list)
        for pair in self.between:
            through[pair.other.sequence_id].append(pair.one.sequence_id)
        links = [(pair.one.sequence_id, pair.other.sequence_id) for pair in self.within]
        links += [(names[0], name) for names in through.values() for name in names[1:]]
        units = joined_units(self.cohort.sequences.values(), "sequence", tuple(links))
        members = defaultdict(list)
        for name, unit in sorted(units.items()):
            members[unit].append(name)
        return sorted(names for names in members.values() if len(names) > 1)

    def sentences(self) -> list[str]:
        """What was found, counts first."""
        known = self.cohort.sequences
        grouped = sum(map(len, self.groups))
        patients = [{known[name].patient_id for name in group} for group in self.groups]
        across = sum(len(group) > 1 for group in patients)
        unknown = patients_are_unknown(self.cohort)
        said = [
            f"{len(self.within)} pairs of {'images' if unknown else 'sequences'} within the cohort "
            f"have near-duplicate frames: {len(self.groups)} groups of {grouped} of {len(known)}.",
            "Whether a group joins patients is not known: the set names none."
            if unknown
            else f"{across} of the groups join patients.",
        ]
        if parts := _across_parts(self.within):
            said.append(f"Pairs within it by published parts: {parts}.")
        if self.other is not None:
            ours, theirs = (
                len({getattr(pair, side).sequence_id for pair in self.between})
                for side in ("one", "other")
            )
            said.append(
                f"{len(self.between)} pairs lie between the cohorts: {ours} of {len(known)} "
                f"sequences of this one and {theirs} of {len(self.other.sequences)} of the other "
                "are near-duplicates."
            )
            if parts := _across_parts(self.between):
                said.append(f"Pairs between both by published parts, this cohort's first: {parts}.")
        return [*said, *self._folds_in_words()]

    def as_json(self, *, frames: int, least: float) -> dict[str, Any]:
        """``leak.json``: counts, groups (which a study takes as ``groups``) and pairs.

        Args:
            frames: how many frames of a sequence were compared at most.
            least: the likeness from which frames are near-duplicates.
        """
        return {
            "schema_version": SCHEMA_VERSION,
            "cohort": self.cohort.digest,
            "other_cohort": None if self.other is None else self.other.digest,
            "frames_per_sequence": frames,
            "likeness": least,
            "found": self.sentences(),
            "groups": self.groups,
            "pairs": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
        }

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """The pairs as rows of ``COLUMNS``."""
        for pair in self.pairs:
            yield (
                pair.one.sequence_id,
                pair.frame_index,
                pair.one.part,
                pair.other.sequence_id,
                pair.other_frame_index,
                pair.other.part,
                pair.of_other,
                round(pair.likeness, 3),
            )

    def _folds_in_words(self) -> Iterable[str]:
        if self.study is None:
            return
        near = defaultdict(set)
        for pair in self.within:
            near[pair.one.sequence_id].add(pair.other.sequence_id)
            near[pair.other.sequence_id].add(pair.one.sequence_id)
        for key, cut in self.study.splits.items():
            counts = [
                f"{sum(bool(near[s] & set(fold.train)) for s in fold.validation)} of "
                f"{len(fold.validation)}"
                for fold in cut
            ]
            yield (
                f"Validation sequences of {key} with a near-duplicate in the training part, by "
                f"fold: {', '.join(counts)}."
            )


COLUMNS = (
    "sequence_id",
    "frame_index",
    "part",
    "other_sequence_id",
    "other_frame_index",
    "other_part",
    "of_other_cohort",
    "likeness",
)


def _across_parts(pairs: Iterable[Pair]) -> str:
    """How many pairs have which published parts; empty where the set has none."""
    counts = Counter((pair.one.part, pair.other.part) for pair in pairs)
    named = {parts: count for parts, count in counts.items() if None not in parts}
    return ", ".join(f"{one} and {other} {n}" for (one, other), n in sorted(named.items()))
