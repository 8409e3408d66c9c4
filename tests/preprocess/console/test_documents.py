"""Files of settings that are not what they should be: each is told with its name and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.console.documents import read_json, read_yaml


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"detector: [\n", "f, line 2, is no YAML: while parsing a flow node, expected"),
        (b"detector:\n\tsteps: 3\n", "f, line 2, is no YAML: it has a tab. Indent with spaces."),
        (b"a: 1\nb: 'open\n", "f, line 3, is no YAML: while scanning a quoted scalar"),
        (b"folds: 3\n---\nfolds: 4\n", "f, line 2, is no YAML: expected a single document"),
        (b"a: 1\nb: \x00\n", "f, line 2, is no YAML: it has a control character."),
        (b'x: !!python/object/apply:os.system ["ls"]\n', "f, line 1, is no YAML: could not"),
        (b"a: " + b"[" * 1000, "f is nested too deeply."),
        (b"a: &x {b: *x}\n", "f is nested too deeply."),
        (b"a: &x [1, *x]\n", "f is nested too deeply."),
        (b"a: 1\nb: M\xfcller\n", "f, line 2, is no text in UTF-8."),
        ("folds: 3\n".encode("utf-16"), "f, line 1, is no text in UTF-8."),
        (b"- a\n- b\n", "f holds a list, expected values by their names, such as `folds: 5`."),
        (b"hello\n", "f holds text, expected values"),
        (b"# folds: 3\n", "f holds nothing, expected values"),
        (b"{}", "f holds nothing, expected values"),
        (b"folds: 3\nseed: 1\nfolds: 4\n", "f, line 3: folds has a value already, in line 1."),
        (b"a:\n  b: 3\n  c: {b: 1}\n  b: 4\n", "f, line 4: a.b has a value already, in line 2."),
        (b"a:\n  NO: LCA\n", "f, line 2: expected a name before the colon, found NO."),
        (b"[1, 2]: 3\n", "f, line 1: expected a name before the colon, found a list."),
    ],
)
def test_what_is_no_yaml_of_names(
    content: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(content)
    with pytest.raises(ValueError, match=r"^f") as said:
        read_yaml(Path("f"), example="folds: 5")
    assert str(said.value).startswith(expected)


@pytest.mark.parametrize("read", [read_json, lambda path: read_yaml(path, example="folds: 5")])
def test_a_file_that_is_not_there_and_a_folder(read: object, tmp_path: Path) -> None:
    assert callable(read)
    for path, expected in (
        (tmp_path / "nope", f"There is no file {tmp_path}/nope."),
        (tmp_path, f"{tmp_path} is a folder, expected a file."),
    ):
        with pytest.raises(ValueError, match=r"\.$") as said:
            read(path)
        assert str(said.value) == expected


def test_every_name_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("\ufefffolds: 3\n\ndetector:\n  anchors: {ratios: [1.0],\n    scales: [2.0]}\n")
    found = read_yaml(path, example="")
    assert found.document["detector"] == {"anchors": {"ratios": [1.0], "scales": [2.0]}}
    assert found.lines == {
        **{"folds": 1, "detector": 3, "detector.anchors": 4},
        **{"detector.anchors.ratios": 4, "detector.anchors.scales": 5},
    }
    assert found.place("detector.anchors.scales") == f"{path}, line 5"
    assert found.place("detector.steps") == f"{path}, line 3"
    assert found.place("view") == str(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"view":\n [}', "f, line 2, is no JSON: Expecting value."),
        (b'{"view": [], "view": []}', "f has 'view' twice in one place. Keep one of them."),
        (b"\xff\xd8", "f, line 1, is no text in UTF-8. Save the file with the encoding UTF-8."),
        (b"[" * 100_000, "f is nested too deeply."),
    ],
)
def test_what_is_no_json(
    content: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(content)
    with pytest.raises(ValueError, match=r"^f") as said:
        read_json(Path("f"))
    assert str(said.value) == expected
