"""``sequences.csv``: what is read, and every mistake said at once."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from preprocess.annotations.label_sheet import read_labels
from preprocess.cohort.records import Exclusion

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
        "f.dcm,,RCA,,,,,,,,LCA",
        "g.dcm,1.2,RCA,,,,,9.3,,",
        "h.dcm,1.2,RCA,0,5,13,28,,,",
    )
    with pytest.raises(ValueError) as problem:
        read_labels(path)
    for expected in (
        "line 3: the same file as line 2",
        "line 4: reference_frame holds a fraction; expected a frame number (0, 1, 2, ...)",
        "line 4: ifr holds text; expected a number such as 0.89, or several with ; between them",
        "line 4: exclude holds text; expected one of implant, pacemaker, ifr_wire, other; did you "
        "mean implant?",
        "line 4: no_lesion holds text; expected true or false",
        "line 5: introducing_start <= optimal_start <= vanishing_start does not hold: 9, 5, 20",
        "line 6: reference_frame 40 lies outside the optimal interval, 13 to 27",
        "line 7: optimal_start missing; give all three phase bounds, or none",
        "line 8: neither file nor sop_instance_uid says which cine is meant",
        "line 9: 11 cells where the headings have 10",
        "line 10: ifr 9.3 is no ratio between 0 and 1",
        "line 11: the same sop_instance_uid as line 10",
        "line 11: reference_frame 0 lies outside",
    ):
        assert expected in str(problem.value)
    assert str(path) in str(problem.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("file,veiw", "line 1: the heading of column 2 is nearly 'view'; give it this name"),
        ("file,File", "line 1: 'file' is the heading of 2 columns"),
        ("path,File name", "line 1: 'file' is the heading of 2 columns"),
        ("DICOM-file,view", "the heading of column 1 is nearly 'file'"),
        ("file,Ref. frame (from 1)", "the heading of column 2 is nearly 'reference_frame'"),
        ("view,ifr", "neither a column 'file' nor 'sop_instance_uid'"),
        ("b.dcm,LCA", "none of its first rows has a heading that is known; expected the headings"),
    ],
)
def test_header_problems(tmp_path: Path, header: str, expected: str) -> None:
    with pytest.raises(ValueError, match="cannot be used as it is") as problem:
        read_labels(labels_file(tmp_path, "a.dcm,RCA", header=header))
    assert expected in str(problem.value)


@pytest.mark.parametrize(
    ("heading", "cell", "column"),
    [
        *((name, "a.dcm", "file") for name in ("File Name", "filename", "Datei", "File (path)")),
        *((name, "5", "reference_frame") for name in ("Ref. frame", "RefFrame", "Referenzframe")),
        ("reference frame [from 0]", "5", "reference_frame"),
        ("iFR (value)", "0.9", "ifr"),
        ("view (RCA, LCA)", "RCA", "view"),
        ("Excluded", "implant", "exclude"),
        ("no lesion (x)", "x", "no_lesion"),
    ],
)
def test_headings_as_people_write_them(
    tmp_path: Path, heading: str, cell: str, column: str
) -> None:
    sheet = labels_file(tmp_path, f"{cell};1.2", header=f"{heading};SOP Instance UID")
    labels = read_labels(sheet)
    assert getattr(labels.rows[0], column) not in (None, (), False)
    assert labels.assumed == ("separated by semicolons", f"column 1 is {column}")


def test_the_exact_heading_wins(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path, "p1,a.dcm", header="path,File"))
    assert (labels.rows[0].file, labels.assumed) == ("a.dcm", ("column 1 not used",))


@pytest.mark.parametrize("content", ["", "\n\n", ",,,\n", "sep=;\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sequences.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="it is empty; expected the headings file"):
        read_labels(path)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    for rows in ((), ("seen by Doe,",)):
        with pytest.raises(ValueError, match="no row with a label under the headings"):
            read_labels(labels_file(tmp_path, *rows, header="remark,file"))


def test_a_file_is_the_same_however_its_folders_are_written(tmp_path: Path) -> None:
    for other in ("p1\\k1.dcm", "./p1/k1.dcm", "p1//k1.dcm", "archive\\p1\\k1.dcm"):
        path = labels_file(tmp_path, "p1/k1.dcm,RCA", f"{other},LCA", header="file,view")
        with pytest.raises(ValueError, match="line 3: the same file as line 2"):
            read_labels(path, tmp_path / "archive", ["p1/k1.dcm"])


def test_a_hundred_problems_are_not_all_listed(tmp_path: Path) -> None:
    rows = [f"{number}.dcm,,RCA,late,,,,,," for number in range(100)]
    with pytest.raises(ValueError, match="and 80 more") as problem:
        read_labels(labels_file(tmp_path, *rows))
    assert str(problem.value).count("reference_frame holds text") == 20


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("no_lesion", "FALSE", False),
        ("no_lesion", "WAHR", True),
        ("no_lesion", "FALSCH", False),
        ("no_lesion", "VRAI", True),
        ("no_lesion", "FAUX", False),
        ("no_lesion", "Yes", True),
        ("no_lesion", "nein", False),
        ("no_lesion", "✓", True),
        ("no_lesion", "☐", False),
        ("no_lesion", "1", True),
        ("no_lesion", "0.0", False),
        ("year", "2019.0", 2019),
        ("year", "", None),
        ("no_lesion", "NA", False),
        ("reference_frame", "5.0", 5),
        ("reference_frame", "5,0", 5),
        ("reference_frame", "１２", 12),
        ("reference_frame", "n/a", None),
        ("ifr", "0.89", (0.89,)),
        ("ifr", "0,89", (0.89,)),
        ("ifr", "0,7;0,9", (0.7, 0.9)),
        ("ifr", "0.7, 0.9", (0.7, 0.9)),
        ("ifr", "0.7,0.9", (0.7, 0.9)),
        ("ifr", "0,7 / 0,9", (0.7, 0.9)),
        ("ifr", "0,7；0.9", (0.7, 0.9)),
        ("ifr", "0.7,1", (0.7, 1.0)),
        ("ifr", ".7\n1", (0.7, 1.0)),
        ("exclude", "iFR wire", Exclusion.IFR_WIRE),
        ("exclude", "none", None),
        ("exclude", "no", None),
        ("view", "  LCx/LAD ", "LCx/LAD"),
        ("view", "R  C A", "R C A"),
        ("view", "'RCA'", "RCA"),
        ("view", '=""RCA""', "RCA"),
        ("reference_frame", '=""5""', 5),
        ("view", "“RCA”", "RCA"),
    ],
)
def test_cells_as_people_fill_them(
    tmp_path: Path, column: str, cell: str, expected: object
) -> None:
    path = tmp_path / "sequences.csv"
    path.write_text(f'file;{column}\na.dcm;"{cell}"\n', encoding="utf-8")
    (row,) = read_labels(path).rows
    assert getattr(row, column) == expected


@pytest.mark.parametrize(
    ("column", "cell", "found"),
    [
        ("reference_frame", "-1", "a negative number"),
        ("reference_frame", "07.05.2024", "a date"),
        ("reference_frame", "5. Jul", "a date"),
        ("reference_frame", "5/7", "a date"),
        ("reference_frame", "5-Mar", "a date"),
        ("reference_frame", "Mrz 05", "a date"),
        ("ifr", "01. Sep", "a date"),
        ("reference_frame", "5 of 75", "text"),
        ("reference_frame", "1e9", "text"),
        ("reference_frame", "9" * 5000, "a number"),
        ("reference_frame", "#REF!", "an error of the spreadsheet"),
        ("reference_frame", "0x5", "text"),
        ("ifr", "0,7,0,9", "text"),
        ("ifr", "89%", "text"),
        ("ifr", ";", "text"),
        ("ifr", "#DIV/0!", "an error of the spreadsheet"),
        ("view", "#NV", "an error of the spreadsheet"),
        ("view", "2024-05-03T00:00:00", "a date"),
        ("file", "#BEZUG!", "an error of the spreadsheet"),
        ("view", "R\0A", "a control character"),
        ("exclude", "true", "text"),
        ("no_lesion", "2", "a number"),
        ("year", "07.05.2019", "a date"),
        ("year", "19", "a number"),
        ("year", "2019.5", "a fraction"),
    ],
)
def test_a_value_that_cannot_be_read_is_no_absent_one(
    tmp_path: Path, column: str, cell: str, found: str
) -> None:
    path = tmp_path / "sequences.csv"
    path.write_text(f'sop_instance_uid;{column}\n1.2;"{cell}"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=f"line 2: {column} holds {found}"):
        read_labels(path)


def test_a_column_that_is_nearly_year_is_another_one(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path, "a.dcm,71", header="file,years"))
    assert labels.rows[0].year is None and labels.assumed == ("column 2 not used",)


def test_other_columns_are_not_used_and_told_without_their_names(tmp_path: Path) -> None:
    header = "Doe^John,File,frames,,proposed_view,Series Instance UID,empty"
    labels = read_labels(labels_file(tmp_path, "1,a.dcm,75,,LCA,1.2,", header=header))
    assert labels.assumed == (
        "column 1 and 6 not used",
        "columns proposed_ not used: copy what is right into those without proposed_",
    )
    assert (labels.rows[0].file, labels.rows[0].view) == ("a.dcm", None)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("set\\k2.dcm", "set/k2.dcm"),
        ("set\\k2.dcm", "set\\k2.dcm"),
        ("./set//k2.dcm", "set/k2.dcm"),
        ("Gr%C3%B6%C3%9Fe.dcm", "Größe.dcm"),
        ("Größe.dcm", unicodedata.normalize("NFD", "Größe.dcm")),
        (unicodedata.normalize("NFD", "Größe.dcm"), "Größe.dcm"),
        ("K1.DCM", "k1.dcm"),
        ("'=1+1.dcm", "=1+1.dcm"),
        ("'-k1.dcm", "-k1.dcm"),
        ("file:///k1.dcm", "/k1.dcm"),
        ('"k 1.dcm"', "k 1.dcm"),
    ],
)
def test_a_file_is_found_as_other_systems_spell_it(tmp_path: Path, written: str, file: str) -> None:
    labels = read_labels(labels_file(tmp_path, f"{written},RCA", header="file,view"))
    assert labels.of(file, None) is labels.rows[0]
    assert labels.settled(["other.dcm", file]).of(file, None) is labels.rows[0]


def test_of_files_that_are_spelled_alike_the_closest_has_the_row(tmp_path: Path) -> None:
    labels = read_labels(labels_file(tmp_path, "a b,RCA", "KA,LCA", header="file,view"))
    files = ["a b", "a%20b", "kA", "ka"]
    settled = labels.settled(files)
    assert [row and row.view for row in (settled.of(file, None) for file in files)] == [
        *("RCA", None, None, None)
    ]


def test_a_uid_that_a_spreadsheet_shortened_is_told(tmp_path: Path) -> None:
    path = labels_file(tmp_path, "1.2E+10,RCA", header="sop_instance_uid,view")
    with pytest.raises(ValueError, match="line 2: sop_instance_uid holds a number that a spread"):
        read_labels(path)


@pytest.mark.parametrize("root", ["{archive}", "archive", "/mnt/other/x", "D:\\cath lab\\x"])
def test_absolute_paths_are_taken_below_the_archive(tmp_path: Path, root: str) -> None:
    archive = tmp_path / "archive"
    start = root.format(archive=archive)
    slash = "\\" if "\\" in root else "/"
    rows = [f"{start}{slash}p1{slash}k1.dcm,RCA", f"{start}{slash}p2{slash}k1.dcm,LCA"]
    gone = f"{start}{slash}p9{slash}x.dcm,LCA"
    path = labels_file(tmp_path, *rows, gone, header="file,view")
    # A file of the same name right in the archive is none of the third row's.
    files = ["p1/k1.dcm", "p2/k1.dcm", "x.dcm"]
    labels = read_labels(path, archive, files).settled(files)
    found = [labels.of(file, None) for file in files]
    assert [row and row.view for row in found] == ["RCA", "LCA", None]
    told = ("absolute paths of another machine taken by their ends",)
    assert labels.assumed == (() if "archive" in root else told)


def test_absolute_paths_that_fit_two_files_are_refused(tmp_path: Path) -> None:
    path = labels_file(tmp_path, "/mnt/p1/k1.dcm,RCA", header="file,view")
    with pytest.raises(ValueError, match="fit the archive in more than one way"):
        read_labels(path, tmp_path, ["k1.dcm", "p1/k1.dcm"])


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
