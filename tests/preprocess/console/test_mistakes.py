"""Mistakes on the command line and in settings: sentences in the user's words, none in Python's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from angioray.__main__ import COMMANDS
from preprocess.console import command_line
from preprocess.console.command_line import run_one_of
from preprocess.console.names import instead, name_list

PYTHON = re.compile(r"<class|Union|NoneType|typing|Literal|Parser key|Namespace|Traceback|tuple")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on standard error that tells what is wrong."""
    with pytest.raises(SystemExit) as stop:
        run_one_of(COMMANDS, prog="angioray", argv=words)
    assert stop.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert second == f"See `angioray {words[0]} --help`."
    return first.removeprefix(f"angioray {words[0]}: error: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cv --folds many", "--folds got many; expected a whole number, such as `--folds 5`."),
        ("cv --folds 2.5", "--folds got 2.5; expected a whole number, such as `--folds 5`."),
        ("cv --folds=", "--folds got no value; expected a whole number, such as `--folds 5`."),
        ("cv --folds", "--folds needs a value: expected a whole number, such as `--folds 5`."),
        ("cv --config", "--config needs a value."),
        (
            "cv --detector.focal_alpha 0,3",
            "--detector.focal_alpha got 0,3; expected a number, such as `--detector.focal_alpha "
            "0.25`.",
        ),
        (
            "cv --compile perhaps",
            "--compile got perhaps; expected true or false, such as `--compile false`.",
        ),
        (
            "cv --detector.variants B",
            "--detector.variants got B; expected a list of B, BG, NL, BGNL, such as "
            "`--detector.variants '[B, BG, NL, BGNL]'`.",
        ),
        (
            "cv --tasks [detectors]",
            "--tasks got detectors; expected a list of view, detector, such as `--tasks '[view, "
            "detector]'`. Did you mean detector?",
        ),
        (
            "cv --view.sizes 64,32",
            "--view.sizes got 64,32; expected a list of whole numbers, such as `--view.sizes "
            "'[512, 224]'`.",
        ),
        (
            "cv --detector.levels [3,4,5]",
            "--detector.levels got [3, 4, 5]; expected 2 whole numbers, such as "
            "`--detector.levels '[3, 7]'`.",
        ),
        (
            "cv --detector.optimiser.changes [[1]]",
            "--detector.optimiser.changes got [1]; expected a list of pairs of numbers, such as "
            "`--detector.optimiser.changes '[[0.5, 0.5]]'`.",
        ),
        (
            "cv --view_classes RCA",
            "--view_classes got RCA; expected names with their values, such as `--view_classes "
            "'{RCA: RCA, LCA: LCA, LCx/LAD: LCA, LAD/LCx: LCA}'`.",
        ),
        (
            "cv --view.frames_per_sequence x",
            "--view.frames_per_sequence got x; expected a whole number or null, such as "
            "`--view.frames_per_sequence 1`.",
        ),
        (
            "cv --precision bf17",
            "--precision got bf17; expected auto, bf16 or fp32, such as `--precision auto`. Did "
            "you mean bf16?",
        ),
        (
            "cv --detector hello",
            "--detector got hello; expected its settings by their names, such as "
            "`--detector.focal_alpha 0.25`.",
        ),
        (
            "predict new --flips diagonal",
            "--flips got diagonal; expected a list of horizontal, vertical, such as `--flips "
            "'[horizontal]'`. Did you mean horizontal?",
        ),
        (
            "import coca a --out b",
            "format got coca; expected arcade, cadica, coco, danilov or voc. Did you mean coco?",
        ),
        ("ingest archive", "the following arguments are required: --out"),
        ("cv --plan=yes", "--plan takes no value; leave 'yes' out."),
        ("cv a b c", "b c: this command takes no more words here."),
        # An option that is cut short is not taken for another one.
        ("cv --fold 3", "there is no option --fold (the nearest that exists is `folds`)."),
        ("cv -x", "there is no option -x."),
    ],
)
def test_on_the_command_line(words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, *words.split()) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("folds: many\n", "f.yaml, line 1: folds got many; expected a whole number, such as `fol"),
        (
            "detector:\n  steps: 3\n  variants: [X]\n",
            "f.yaml, line 3: detector.variants got X; expected a list of B, BG, NL, BGNL, such as "
            "`variants: [B, BG, NL, BGNL]`.",
        ),
        ("detector: hello\n", "f.yaml, line 1: detector got hello; expected its settings by their"),
        ("detector:\n", "f.yaml, line 1: detector has no value."),
        ("seed: 1\nconfig: g.yaml\n", "f.yaml, line 2: a file of settings names no other one."),
        ("detector:\n  class_path: a.b\n", "f.yaml, line 2: there is no setting detector.class_p"),
        ("folds: 3\nfold: 4\n", "f.yaml, line 2: there is no setting fold (the nearest that exi"),
        ("view:\n  size: 4\n", "f.yaml, line 2: there is no setting view.size (the nearest that"),
        ("view_classes: {RCA: 3}\n", "f.yaml, line 1: view_classes got 3; expected names with th"),
        ("folds: 3\nfolds: 4\n", "f.yaml, line 2: folds has a value already, in line 1."),
        ("- folds\n", "f.yaml holds a list, expected values by their names, such as `seed: 0`."),
    ],
)
def test_in_a_file_of_settings(
    content: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(content)
    Path("fine.yaml").write_text("folds: 4\n")
    assert said(capsys, "cv", "--config", "fine.yaml", "--config", "f.yaml").startswith(expected)


def test_every_command_names_its_file_of_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("torn.yaml").write_text("a: [\n")
    with_settings = set(COMMANDS) - {"agreement", "demo", "doctor", "report"}
    for name in with_settings:
        assert said(capsys, name, "--config", "torn.yaml").startswith("torn.yaml, line 2, is no")
    assert said(capsys, "cv", "--config", "pper") == (
        "There is no file pper. With angioray come arcade, cadica, danilov, demo, paper, systems."
    )
    Path("latin.yaml").write_bytes(b"weights: M\xfcller\n")
    assert "is no text in UTF-8" in said(capsys, "cv", "--detector", "latin.yaml")


def test_no_option_of_any_command_answers_in_the_words_of_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parsers: list[Any] = []

    def kept(*arguments: Any) -> Any:
        parsers.append(make(*arguments))
        return parsers[-1]

    make = command_line._parser
    monkeypatch.setattr(command_line, "_parser", kept)
    monkeypatch.setattr(command_line, "_call", lambda *_: None)
    required = {"phantom": "a", "ingest": "a --labels b --out c", "import": "coco a --out b"}
    required |= {"sheet": "a --out b", "propagate": "a", "summary": "a", "train": "a b"}
    required |= {"predict": "a", "pretrain": "a", "review": "a", "export": "a --to png"}
    required |= {"correct": "a b", "agreement": "a", "score": "a b"}
    kinds: set[str] = set()
    for name in COMMANDS:
        words = required.get(name, "").split()
        run_one_of(COMMANDS, prog="angioray", argv=[name, *words])
        parser = parsers.pop()
        for action in parser._actions:
            kind = str(getattr(action, "_typehint", type(action)))
            if not action.option_strings or action.dest == "help" or kind in kinds:
                continue
            kinds.add(kind)  # one option of each kind
            for value in ("", "x", "[x]", "{x: [1]}", "[[1, x]]", "1.5"):
                try:
                    parser.parse_args([*words, f"{action.option_strings[-1]}={value}"])
                except SystemExit as stop:
                    found = capsys.readouterr().err
                    assert len(found.splitlines()) == (2 if stop.code else 0), found
                    assert not PYTHON.search(found), found
    assert len(kinds) > 20


def test_names_that_nobody_knows() -> None:
    assert instead("LAC", ["RCA", "LCA"]) == "the nearest is LCA; there are RCA, LCA"
    assert instead("bogus", ["RCA", "LCA", "RCA"]) == "there are RCA, LCA"
    assert instead("RCC", ["RCA"]) == "there is RCA"
    assert instead("RCA", []) == "there is none"
    many = [f"run{number}" for number in range(14)]
    assert name_list(many).endswith("run11, and 2 more")
    assert name_list(many[:13]).endswith("run11, run12")
