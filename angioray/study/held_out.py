"""The rule against leaks: a sequence is judged by models that were not trained on its patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from angioray.study.study import Study
from preprocess.cohort import Cohort


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The rule that keeps an ensemble free of leaks.

    A patient of no fold is judged by the models of all folds together. A patient of the study is
    judged by those models alone that did not see them: usually one, that of the fold which held
    them out. Where folds were cut by sequence, as the paper's are for views, every model may have
    seen the patient; those that did not see the sequence then judge it.
    """

    study: Study
    patient: Mapping[str, str]
    """The patient of each sequence, of the study's and of those to be judged, known as the same
    person where a cine is the same."""

    @classmethod
    def of(cls, study: Study, trained_on: Cohort | None, judged: Cohort) -> HeldOut:
        """For judging a cohort; ``trained_on`` is the study's, or None if it is gone.

        Pseudonyms differ between cohorts of different keys. A cine that both hold, frame for
        frame, tells that two pseudonyms are one patient.
        """
        patient = {s.sequence_id: s.patient_id for s in judged.sequences.values()}
        if trained_on is not None and trained_on.digest != judged.digest:
            known = {s.frames_digest: s.patient_id for s in trained_on.sequences.values()}
            same = {
                s.patient_id: known[s.frames_digest]
                for s in judged.sequences.values()
                if s.frames_digest in known
            }
            patient = {sequence: same.get(name, name) for sequence, name in patient.items()}
            patient |= {s.sequence_id: s.patient_id for s in trained_on.sequences.values()}
        return cls(study=study, patient=patient)

    def folds(self, split_key: str, sequence_id: str) -> list[int]:
        """The folds of a split whose models may judge a sequence."""
        patient = self.patient[sequence_id]
        trained = self._trained_on[split_key]
        unseen = [fold for fold, (_, patients) in enumerate(trained) if patient not in patients]
        return unseen or [
            fold for fold, (sequences, _) in enumerate(trained) if sequence_id not in sequences
        ]

    @cached_property
    def _trained_on(self) -> dict[str, list[tuple[frozenset[str], frozenset[str]]]]:
        """By split and fold: the sequences that its models have seen, and their patients."""
        return {
            key: [
                (frozenset(fold.train), frozenset(self.patient.get(s, s) for s in fold.train))
                for fold in cut
            ]
            for key, cut in self.study.splits.items()
        }

    def is_new(self, sequence_id: str) -> bool:
        """Whether the study has never seen the patient."""
        return not any(
            self.patient[sequence_id] in patients
            for cut in self._trained_on.values()
            for _, patients in cut
        )
