"""``sequences.csv``: what is read, and every mistake said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.annotations.labels import Exclusion, read_labels

HEADER = (
    "file,sop_instance_uid,view,reference_frame,introducing_start,optimal_start,vanishing_start,"
    "ifr,exclude,no_lesion"
)


def labels_file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "sequences.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_reads_every_column(tmp_path: Path) -> None:
    labels = read_labels(
        labels_file(
            tmp_path,
            r"a\b.dcm,,LCx/LAD,20,5,13,28,0.88;0.93,,",
            ",1.2.3,RCA,,,,,,implant,true",
            ",,,,,,,,,",
        )
    )
    first, second = labels.rows
    assert labels.of("a/b.dcm", None) is first
    assert labels.of("anything", "1.2.3") is second
    assert labels.of("a/c.dcm", "1.2.4") is None
    assert (first.reference_frame, first.ifr, first.view) == (20, (0.88, 0.93), "LCx/LAD")
    assert (second.exclude, second.no_lesion, second.line) == (Exclusion.IMPLANT, True, 3)


def test_spreadsheet_habits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sequences.csv"
    path.write_bytes(
        b"\xef\xbb\xbffile, view ,reference_frame,no_lesion\r\na.dcm, RCA ,3.0,FALSE\r\n"
    )
    (row,) = read_labels(path).rows
    assert (row.view, row.reference_frame, row.no_lesion) == ("RCA", 3, False)


def test_all_problems_come_together_with_their_lines(tmp_path: Path) -> None:
    path = labels_file(
        tmp_path,
        "a.dcm,,RCA,20,5,13,28,0.88,,",
        "a.dcm,,RCA,,,,,,,",
        "b.dcm,,RCA,2.5,,,,high,implnt,maybe",
        "c.dcm,,RCA,,9,5,20,,,",
        "d.dcm,,RCA,40,5,13,28,,,",
        "e.dcm,,RCA,,5,,28,,,",
        ",,RCA,,,,,,,",
        "f.dcm,,RCA",
        "g.dcm,1.2,RCA,,,,,9.3,,",
        "h.dcm,1.2,RCA,0,5,13,28,,,",
    )
    with pytest.raises(ValueError) as problem:
        read_labels(path)
    for expected in (
        "line 3: the same file as line 2",
        "line 4: reference_frame is no frame number",
        "line 4: ifr is not a number",
        "line 4: exclude is not one of implant, pacemaker, ifr_wire, other; did you mean implant?",
        "line 4: no_lesion is neither true nor false",
        "line 5: introducing_start <= optimal_start <= vanishing_start does not hold: 9, 5, 20",
        "line 6: reference_frame 40 lies outside the optimal interval, 13 to 27",
        "line 7: optimal_start missing; give all three phase bounds, or none",
        "line 8: neither file nor sop_instance_uid says which cine is meant",
        "line 9: another number of cells than the header has",
        "line 10: ifr 9.3 is no ratio between 0 and 1",
        "line 11: the same sop_instance_uid as line 10",
        "line 11: reference_frame 0 lies outside",
    ):
        assert expected in str(problem.value)
    assert str(path) in str(problem.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("file,veiw", "column 2 has no name that is known; did you mean 'view'?"),
        ("file,file", "column 'file' twice"),
        ("file,Doe^John", "column 2 has no name that is known; there are file, "),
        ("view,ifr", "neither a column 'file' nor 'sop_instance_uid'"),
        ("", "it is empty"),
    ],
)
def test_header_problems(tmp_path: Path, header: str, expected: str) -> None:
    with pytest.raises(ValueError, match="cannot be used as it is") as problem:
        read_labels(labels_file(tmp_path, "a.dcm,RCA", header=header))
    assert expected in str(problem.value)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no row under the header"):
        read_labels(labels_file(tmp_path))


def test_two_rows_for_one_cine_by_file_and_by_instance(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path, "a.dcm,,RCA,,,,,,,", ",1.2,LCA,,,,,,,"))
    first, second = labels.rows
    assert labels.of("a.dcm", "1.2") is first
    assert labels.conflicting_label("a.dcm", "1.2") is second
    assert labels.conflicting_label("a.dcm", None) is None
    assert labels.conflicting_label("b.dcm", "1.2") is None


def test_misfits_with_the_cine(tmp_path: Path) -> None:
    (row,) = read_labels(labels_file(tmp_path, "a.dcm,,RCA,20,5,13,28,,,")).rows
    assert row.label_error(28) == ""
    assert row.label_error(27) == "label: vanishing_start 28 of 27 frames"
    (row,) = read_labels(labels_file(tmp_path, "a.dcm,,RCA,20,,,,,,")).rows
    assert "reference_frame 20 of 20 frames" in row.label_error(20)
