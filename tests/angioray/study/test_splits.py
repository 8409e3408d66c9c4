"""Folds are disjoint, balanced, and refuse what cannot be cut."""

from collections import Counter

import pytest

from angioray.study.splits import Member, fewer_folds, split, splits_digest


def members(patients: int, per_patient: int) -> list[Member]:
    return [
        Member(f"S{p:02d}{i}", f"P{p:02d}", "RCA" if p % 3 else "LCA")
        for p in range(patients)
        for i in range(per_patient)
    ]


def test_patients_stay_on_one_side_and_everyone_is_validated_once() -> None:
    everyone = members(15, 3)
    folds = split(everyone, folds=5, unit="patient", seed=0, what="the detector")
    patient = {m.sequence_id: m.patient_id for m in everyone}
    validated = Counter(s for fold in folds for s in fold.validation)
    assert validated == Counter(patient.keys())
    for fold in folds:
        assert len(fold.train) + len(fold.validation) == len(everyone)
        assert not {patient[s] for s in fold.train} & {patient[s] for s in fold.validation}


def test_strata_are_spread_evenly() -> None:
    everyone = members(15, 2)
    stratum = {m.sequence_id: m.stratum for m in everyone}
    for fold in split(everyone, folds=5, unit="sequence", seed=1, what="views"):
        counts = Counter(stratum[s] for s in fold.validation)
        assert counts == {"RCA": 4, "LCA": 2}


def test_order_does_not_matter_and_the_seed_does() -> None:
    everyone = members(12, 2)
    cuts = [
        split(order, folds=4, unit="patient", seed=seed, what="x")
        for order, seed in ((everyone, 0), (everyone[::-1], 0), (everyone, 1))
    ]
    digests = [splits_digest({"view": cut}) for cut in cuts]
    assert digests[0] == digests[1] != digests[2]


def test_too_few_patients_is_a_sentence() -> None:
    for patients, folds, expected in (
        (3, 5, "3 patients, too few for 5 folds. Add data, or set `folds` to at most 3."),
        (1, 5, "1 patient, too few for 5 folds. Add data."),
        (1, 2, "1 patient, too few for 2 folds. Add data."),
        (0, 2, "0 patients, too few for 2 folds. Add data."),
    ):
        with pytest.raises(ValueError, match=r"\.$") as said:
            split(
                members(patients, 4), folds=folds, unit="patient", seed=0, what="the RCA detector"
            )
        assert str(said.value) == f"The RCA detector has {expected}"


def test_fewer_folds_are_no_way_out_of_two() -> None:
    assert fewer_folds(3) == ", or set `folds` lower"
    assert fewer_folds(2) == ""


def test_a_rare_stratum_joins_the_commonest() -> None:
    odd = [*members(10, 1), Member("S99", "P99", "three lesions")]
    folds = split(odd, folds=5, unit="sequence", seed=0, what="x")
    assert sum("S99" in fold.validation for fold in folds) == 1
