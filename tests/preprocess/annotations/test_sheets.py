"""Sheets of labels as spreadsheet programs save them, and damaged ones."""

from __future__ import annotations

import io
import random
import unicodedata
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from preprocess.annotations.label_sheet import read_labels
from preprocess.annotations.labels import Labels

HEADINGS = ("file", "view", "reference_frame", "ifr", "no_lesion")
ROWS = (
    ("p1/k1.dcm", "RCA", 5, 0.89, False),
    ("p1/Größe.dcm", "LCx/LAD", 0, "0.7;0.9", True),
    ("p1/k3.dcm", "LCA", None, None, None),
)
EXPECTED = [
    ("p1/k1.dcm", "RCA", 5, (0.89,), False),
    ("p1/Größe.dcm", "LCx/LAD", 0, (0.7, 0.9), True),
    ("p1/k3.dcm", "LCA", None, (), False),
]
COMMAS = (
    "file,view,reference_frame,ifr,no_lesion\n"
    "p1/k1.dcm,RCA,5,0.89,FALSE\n"
    "p1/Größe.dcm,LCx/LAD,0,0.7;0.9,TRUE\n"
    "p1/k3.dcm,LCA,,,\n"
)
SEMICOLONS = (
    "file;view;reference_frame;ifr;no_lesion\r\n"
    "p1/k1.dcm;RCA;5;0,89;FALSCH\r\n"
    'p1/Größe.dcm;LCx/LAD;0;"0,7;0,9";WAHR\r\n'
    "p1/k3.dcm;LCA;;;\r\n"
)
TABS = COMMAS.replace(",", "\t")


def read(folder: Path, content: bytes) -> Labels:
    path = folder / "sheet"
    path.write_bytes(content)
    return read_labels(path)


def found(labels: Labels) -> list[tuple[Any, ...]]:
    return [(r.file, r.view, r.reference_frame, r.ifr, r.no_lesion) for r in labels.rows]


def workbook(*worksheets: Sequence[Sequence[Any]]) -> bytes:
    made = Workbook()
    made.remove(made.active)
    for rows in worksheets:
        worksheet = made.create_sheet()
        for row in rows:
            worksheet.append(row)
    content = io.BytesIO()
    made.save(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("text", "encoding", "assumed"),
    [
        (COMMAS, "utf-8", ()),
        (COMMAS, "utf-8-sig", ()),
        (COMMAS.replace("\n", "\r"), "utf-8", ()),
        (COMMAS.replace(",,,\n", "\n"), "utf-8", ()),  # Excel leaves out empty cells at the end
        (COMMAS.replace(",", ", "), "utf-8", ()),
        (f"sep=,\r\n{COMMAS}", "utf-8", ()),
        (f'"sep=,"\r\n{COMMAS}', "utf-8-sig", ()),
        (f"sep=;\r\n{COMMAS}", "utf-8", ("separated by commas",)),
        (COMMAS.replace("\n", "\n\n,,,,\n"), "utf-8", ()),
        (COMMAS.replace("\n", ",,\n"), "utf-8", ()),
        (COMMAS + COMMAS.splitlines()[0] + "\n", "utf-8", ()),  # two sheets joined
        (COMMAS, "cp1252", ("Windows-1252",)),
        (COMMAS, "utf-16", ("UTF-16",)),
        (SEMICOLONS, "utf-8-sig", ("separated by semicolons", "decimal commas")),
        (f"sep=;\r\n{SEMICOLONS}", "utf-8", ("decimal commas",)),
        (
            SEMICOLONS,
            "cp1252",
            ("Windows-1252", "separated by semicolons", "decimal commas"),
        ),
        (TABS, "utf-8", ("separated by tabs",)),
        (TABS, "utf-16-le", ("UTF-16", "separated by tabs")),
        (TABS, "utf-16-be", ("UTF-16", "separated by tabs")),
        (COMMAS.replace(",", "|"), "utf-8", ("separated by bars (|)",)),
        (
            f"Our cines,,,,\n\nas of May,,,,\n{COMMAS}",
            "utf-8",
            ("2 rows above the headings skipped",),
        ),
        (
            f"Our cines\n{SEMICOLONS}",
            "utf-8",
            ("separated by semicolons", "1 row above the headings skipped", "decimal commas"),
        ),
        # A sheet of one column that was saved once more: quotes around every row.
        ("".join(f'"{line}"\n' for line in COMMAS.splitlines()), "utf-8", ()),
        (
            COMMAS.replace("file,view", "File, VIEW").replace("reference_frame", "Reference-Frame"),
            "utf-8",
            (),
        ),
        (COMMAS.replace("reference_frame", '"reference\nframe"'), "utf-8", ()),
        (COMMAS.replace("no_lesion", "No Lesion").replace("ifr", "iFR"), "utf-8", ()),
    ],
)
def test_text_as_programs_save_it(
    tmp_path: Path, text: str, encoding: str, assumed: tuple[str, ...]
) -> None:
    labels = read(tmp_path, text.encode(encoding))
    assert found(labels) == EXPECTED
    assert labels.assumed == assumed


def test_no_row_is_lost_for_its_encoding_alone(tmp_path: Path) -> None:
    rows = ["Größe.dcm,RCA\n".encode(), "Länge.dcm,LCA\n".encode("cp1252"), b"a\x81b.dcm,LCA\n"]
    labels = read(tmp_path, b"file,view\n" + b"".join(rows))
    assert [row.file for row in labels.rows] == ["Größe.dcm", "Länge.dcm", "a\ufffdb.dcm"]
    assert labels.assumed == ("Windows-1252 and UTF-8 mixed",)


@pytest.mark.parametrize(
    ("encoding", "name", "assumed"),
    [
        ("cp1252", "Größe.dcm", "Windows-1252"),
        ("mac_roman", "Größe.dcm", "Mac Roman"),
        ("cp850", "Größe.dcm", "code page 850 of DOS"),
        ("cp1250", "żółć.dcm", "Windows-1250"),
        ("cp1251", "Иван.dcm", "Windows-1251"),
        ("shift_jis", "検査.dcm", "Shift JIS"),
        ("gb18030", "检查.dcm", "GB 18030"),
    ],
)
def test_the_names_of_files_tell_an_encoding(
    tmp_path: Path, encoding: str, name: str, assumed: str
) -> None:
    path = tmp_path / "sheet"
    path.write_bytes(f"file,view\r\nk1.dcm,RCA\r\n{name},LCA\r\n".encode(encoding))
    labels = read_labels(path, tmp_path, ["k1.dcm", unicodedata.normalize("NFD", name)])
    assert [row.file for row in labels.rows] == ["k1.dcm", name]
    assert labels.assumed == (assumed,)


MANY = "".join(f"x{n}.dcm,RCA,\n" for n in range(9000))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'file,view,note\n"k1.dcm,RCA,\n{MANY}', 2),
        ('file,view,note\nk1.dcm,RCA,\nk2.dcm,"RCA,\nk3.dcm,LCA,', 3),
        ('file,view,note\nk1.dcm,"RCA,\nk2.dcm,"LCA,\n', 2),
        # The next quote seems to close it, and the rows between are one cell.
        ('file,view,note\nk1.dcm,RCA,"seen\nk2.dcm,LCA,\nk3.dcm,LCA,"\n', 2),
        ('file\n"k1.dcm\nk2.dcm\n', 2),
        ('list of cines\nfile,view\n"k1.dcm,RCA\n', 3),
    ],
)
def test_an_open_quote_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line}: a quote .* is opened there and not closed"):
        read(tmp_path, text.encode())


def test_one_column_may_hold_separators_in_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, b'file\n"a,b.dcm"\nc;d.dcm\n').rows[0].file == "a,b.dcm"


def test_quotes_and_line_breaks_that_mean_nothing_are_no_open_quote(tmp_path: Path) -> None:
    text = 'file,view,note\nk1.dcm,RCA,"seen,\nthough late, in ""May"""\nk"2.dcm,LCA,5" tube\n'
    labels = read(tmp_path, text.encode())
    assert [(row.line, row.file, row.view) for row in labels.rows] == [
        (2, "k1.dcm", "RCA"),
        (4, 'k"2.dcm', "LCA"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "file,view,ifr\na.dcm,RCA,0,89\n",
            "line 2: 4 cells where the headings have 3; put quotes",
        ),
        ("file,view\na.dcm;RCA\n", "line 2: 1 cell where the headings have 2; is another sep"),
        ("file,view,ifr\na.dcm;RCA;0,9\n", "line 2: 2 cells where the headings have 3; is ano"),
        ('file,view\n\'a\nb.dcm,RCA\n"c\nd.dcm",LCA', "line 4: file runs over two lines"),
    ],
)
def test_rows_that_do_not_fit_the_headings(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ValueError) as problem:
        read(tmp_path, text.encode())
    assert expected in str(problem.value)


def test_a_workbook(tmp_path: Path) -> None:
    labels = read(tmp_path, workbook([HEADINGS, *ROWS]))
    assert found(labels) == EXPECTED
    assert labels.assumed == ()


def test_a_workbook_as_people_have_it(tmp_path: Path) -> None:
    rows = [
        ("Our cines",),
        (),
        (None, *HEADINGS[:3], "Remark", *HEADINGS[3:]),
        *((None, *row[:3], "seen", *row[3:], None, "n.b.") for row in ROWS),
    ]
    labels = read(tmp_path, workbook([("Nothing here",)], rows, []))
    assert found(labels) == EXPECTED
    assert labels.assumed == (
        *("worksheet 2 of 3", "1 row above the headings skipped", "column 5 and 9 not used"),
    )
    assert [row.line for row in labels.rows] == [4, 5, 6]


def test_a_cell_in_the_last_corner_costs_nothing(tmp_path: Path) -> None:
    made = Workbook()
    for row in (HEADINGS, *ROWS):
        made.active.append(row)
    made.active["XFD1048576"] = "x"
    made.save(tmp_path / "sheet")
    assert found(read_labels(tmp_path / "sheet")) == EXPECTED


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("=1+1", "row 2: reference_frame holds a formula without a saved value"),
        (date(2024, 5, 7), "row 2: reference_frame holds a date"),
        (-1, "row 2: reference_frame holds a negative number"),
        (2.5, "row 2: reference_frame holds a fraction"),
        (True, "row 2: reference_frame holds text"),
        ("#REF!", "row 2: reference_frame holds an error of the spreadsheet"),
    ],
)
def test_a_cell_of_a_workbook_that_is_no_frame(tmp_path: Path, cell: Any, problem: str) -> None:
    with pytest.raises(ValueError) as told:
        read(tmp_path, workbook([("file", "reference_frame"), ("a.dcm", cell), ("b.dcm", 1)]))
    assert problem in str(told.value)


EXCEL = {
    "[Content_Types].xml": """<Types xmlns="{package}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/xl/workbook.xml" ContentType="{type}.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{type}.worksheet+xml"/>
<Override PartName="/xl/sharedStrings.xml" ContentType="{type}.sharedStrings+xml"/></Types>""",
    "_rels/.rels": """<Relationships xmlns="{package}/relationships">
<Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>""",
    "xl/workbook.xml": """<workbook xmlns="{main}" xmlns:r="{office}"><sheets>
<sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": """<Relationships xmlns="{package}/relationships">
<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="r2" Type="{office}/sharedStrings" Target="sharedStrings.xml"/>
</Relationships>""",
    "xl/worksheets/sheet1.xml": """<worksheet xmlns="{main}"><dimension ref="A1"/><sheetData>
<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c>
<c r="D1" t="s"><v>3</v></c></row>
<row r="3"><c r="A3" t="s"><v>4</v></c><c r="B3" t="str"><f>IF(V1,"",U1)</f><v></v></c>
<c r="C3"><f>2+3</f><v>5</v></c><c r="D3" t="b"><v>1</v></c></row></sheetData></worksheet>""",
    "xl/sharedStrings.xml": """<sst xmlns="{main}"><si><t>file</t></si><si><t>view</t></si>
<si><t>reference_frame</t></si><si><t>no_lesion</t></si>
<si><r><t>p1/Grö</t></r><r><t>ße.dcm</t></r></si></sst>""",
}
"""A workbook as Excel packs it: texts once for all cells, and the saved values of formulas."""
NAMES = {
    "{package}": "http://schemas.openxmlformats.org/package/2006",
    "{office}": "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    "{main}": "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "{type}": "application/vnd.openxmlformats-officedocument.spreadsheetml",
}


def excel(**replaced: str) -> bytes:
    """The workbook of ``EXCEL``, with texts of its parts replaced."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, part in EXCEL.items():
            for old, new in {**NAMES, **replaced}.items():
                part = part.replace(old, new)
            packed.writestr(name, part)
    return content.getvalue()


def test_a_workbook_as_excel_packs_it(tmp_path: Path) -> None:
    (row,) = read(tmp_path, excel()).rows
    assert (row.line, row.file, row.view) == (3, "p1/Größe.dcm", None)
    assert (row.reference_frame, row.no_lesion) == (5, True)
    with pytest.raises(ValueError, match="row 3: reference_frame holds a formula without a saved"):
        read(tmp_path, excel(**{"<v>5</v>": ""}))


def bomb(size: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", b"<c/>" * (size // 4))
    return content.getvalue()


def laughs() -> bytes:
    """A workbook one of whose texts names itself a billion times over."""
    entities = ['<!ENTITY l0 "lol">']
    entities += [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)]
    return excel(**{"<sst": f"<!DOCTYPE sst [{''.join(entities)}]><sst", "view": "&l9;"})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            workbook([HEADINGS, *ROWS], [HEADINGS]),
            "worksheets 1 and 2 have the headings",
        ),
        (workbook([]), "no worksheet with anything in it"),
        (workbook([("a.dcm", "RCA")]), "none of its first rows has a heading that is known"),
        (workbook([HEADINGS]), "no row with a label under the headings"),
        (workbook([HEADINGS, *ROWS])[:3000], "a damaged workbook"),
        (bomb(65 << 20), "unpacks to more than 64 MB"),
        (bomb(12 << 20), "more than half a million cells"),
        (b"file,view\n" + b'"' * 200_001, "line 2 has more than 100000 letters"),
        (b"file,view\nk1.dcm" + b"," * 20_000_000, "line 2 has more than 100000 letters"),
        (b"\xef\xbb\xbf\r\n<html><table><tr><td>file</td></tr></table>", "an HTML or XML page"),
        (b'<?xml version="1.0"?><Workbook/>', "an HTML or XML page"),
        (b"PK\3\4" + b"\0" * 100, "a damaged workbook"),
        (laughs(), "a damaged workbook"),
        (excel(view="w" * 40_000), "a cell has more than 32767 letters"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "an .xls of old Excel"),
        (b"\0" * 200, "expected the headings"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "none of its first rows has a heading"),
    ],
)
def test_what_is_no_sheet_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(ValueError, match="cannot be used as it is: ") as told:
        read(tmp_path, content)
    assert problem in str(told.value)
    assert "\n" not in str(told.value)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, put in, cut out or doubled, or the end cut off."""
    found = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                found[at:at] = chance.choice([b'"', b";", b",", b"\n", b"\r", b"\0", b"\xff", b"'"])
            case 2:
                del found[at : at + chance.randint(1, 9)]
            case 3:
                found[at:at] = found[at : at + 60]
            case 4:
                del found[at:]
            case _:
                found[at : at + 1] = bytes([chance.randrange(256)])
    return bytes(found)


TEXTS = [
    text.encode(encoding)
    for text in (COMMAS, SEMICOLONS, TABS, f"sep=;\r\n{SEMICOLONS}", f"Title\n{COMMAS}")
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be")
]


def mutations(contents: Sequence[bytes], number: int) -> list[bytes]:
    chance = random.Random(7)
    return [damaged(contents[n % len(contents)], chance) for n in range(number)]


@pytest.mark.parametrize(
    ("contents", "number"),
    [(TEXTS, 3000), ([workbook([HEADINGS, *ROWS]), workbook([("x",)], [HEADINGS, *ROWS])], 150)],
    ids=["text", "workbook"],
)
def test_damaged_sheets_end_in_labels_or_a_sentence(
    tmp_path: Path, contents: Sequence[bytes], number: int
) -> None:
    ends = {"labels": 0, "sentence": 0}
    for content in mutations(contents, number):
        try:
            labels = read(tmp_path, content)
        except ValueError as problem:
            assert str(problem).startswith(f"{tmp_path / 'sheet'} cannot be used as it is:")
            ends["sentence"] += 1
        else:
            assert labels.rows
            ends["labels"] += 1
    assert min(ends.values()) > 0


def test_damaged_parts_of_a_workbook_end_in_labels_or_a_sentence(tmp_path: Path) -> None:
    """Behind the checksums of the archive: what another program may write into the parts."""
    with zipfile.ZipFile(io.BytesIO(workbook([HEADINGS, *ROWS]))) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    chance = random.Random(11)
    ends = {"labels": 0, "sentence": 0}
    for _ in range(200):
        name = chance.choice(
            [n for n in parts if "sheet1" in n or chance.random() < 0.3] or [*parts]
        )
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as packed:
            for each, part in parts.items():
                packed.writestr(each, damaged(part, chance) if each == name else part)
        try:
            read(tmp_path, content.getvalue())
            ends["labels"] += 1
        except ValueError as problem:
            assert "cannot be used as it is:" in str(problem)
            ends["sentence"] += 1
    assert min(ends.values()) > 5
