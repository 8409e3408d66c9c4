"""Names of cines as other systems spell them, in labels and regions."""

from __future__ import annotations

import unicodedata

import pytest

from preprocess.annotations.cines import CineNames
from preprocess.annotations.mismatches import Kind
from preprocess.annotations.names import comparable_name
from preprocess.annotations.regions import Place

NFC, NFD = (unicodedata.normalize(form, "Größe_é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{NFD}/k1.dcm", f"{NFC}/k1.dcm"),
        ("set\\k2.dcm", "set/k2.dcm"),
        ("d/k3%20%C3%A9.dcm", "d/k3 é.dcm"),
        ("d%2Fk3.dcm", "d/k3.dcm"),
        ("./d//k3.dcm", "d/k3.dcm"),
        ("50%.dcm", "50%.dcm"),
        ("K3.DCM", "K3.DCM"),
        ("%E9.dcm", "\udce9.dcm"),  # a byte that is no UTF-8, as Python names such a file
        ("", ""),
    ],
)
def test_names_compare_as_if_one_system_had_written_them(name: str, expected: str) -> None:
    assert comparable_name(name) == expected


def cines(*names: str) -> CineNames:
    known = CineNames()
    for name in names:
        known.add(name, [name])
    return known


@pytest.mark.parametrize(
    ("archive", "name", "meant"),
    [
        ([f"{NFD}/k1"], f"{NFC}/k1", f"{NFD}/k1"),
        ([f"{NFC}/k1"], f"x/{NFD}/k1", f"{NFC}/k1"),
        (["set\\k2"], "set/k2", "set\\k2"),
        (["set\\k2"], "k2", "set\\k2"),
        (["d/k3 é"], "/upload/?d=d%2Fk3%20%C3%A9", "d/k3 é"),
        (["p1/k1"], "P1/K1", "p1/k1"),
        # Of two files that other systems would take for one, the closer spelling is meant.
        (["set\\k2", "set/k2"], "set\\k2", "set\\k2"),
        (["set\\k2", "set/k2"], "set/k2", "set/k2"),
        (["a%20b", "a b"], "a%20b", "a%20b"),
        ([f"{NFC}/k1", f"{NFD}/k1"], f"{NFD}/k1", f"{NFD}/k1"),
        (["K1", "k1"], "k1", "k1"),
        # A whole path in another spelling says more than a file name in the same.
        ([f"{NFD}/k1", "other/k1"], f"{NFC}/k1", f"{NFD}/k1"),
    ],
)
def test_a_cine_is_found_under_the_names_of_other_systems(
    archive: list[str], name: str, meant: str
) -> None:
    assert cines(*archive).meant([Place(name, 3)]) == Place(meant, 3)


@pytest.mark.parametrize(
    ("archive", "name"),
    [
        (["KA", "kA"], "ka"),
        ([f"{NFC}/k1", f"{NFD}/k1"], "Gr%C3%B6%C3%9Fe_%C3%A9/k1"),
    ],
)
def test_a_spelling_of_two_cines_means_neither(archive: list[str], name: str) -> None:
    assert cines(*archive).meant([Place(name, None)]) is Kind.AMBIGUOUS
