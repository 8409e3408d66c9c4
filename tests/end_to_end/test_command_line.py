"""Every command as it is typed: its help, what it says to bad input, and what the README shows."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from angioray.demo.__main__ import stages
from preprocess.cohort import Cohort
from preprocess.console.command_line import _arguments, command_at, run_one_of
from tests.end_to_end.command_processes import REPOSITORY, run

COMMANDS = [
    *(f"preprocess {name}" for name in ("phantom", "ingest", "propagate", "summary", "import")),
    *(
        f"angioray.{name}"
        for name in ("cv", "train", "report", "predict", "export", "doctor", "demo")
    ),
]
TOY = {
    "folds": 2,
    "view": {
        **{"sizes": [32], "backbone": "resnet18", "weights": "none", "epochs": 1},
        **{"frozen_epochs": 0, "frames_per_sequence": 1, "batch_size": 8},
    },
    "detector": {
        **{"variants": ["B"], "size": 64, "backbone": "resnet18", "weights": "none"},
        **{"frozen_batch_norm": False, "levels": [3, 4], "channels": 32, "steps": 2},
        **{"batch_size": 2},
    },
}


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """``python -m ARGUMENTS``, in this process; its exit code."""
    module, *rest = map(str, arguments)
    monkeypatch.setattr(sys, "argv", [module, *rest])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # runpy's, of modules known already
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *command.split(), "--help") == 0
    assert f"python -m {command}" in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.parametrize("package", ["preprocess", "angioray", "tune"])
def test_a_package_lists_its_commands(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, package) == 0
    listed = capsys.readouterr().out
    for name, place in import_module(f"{package}.__main__").COMMANDS.items():
        sentence = (command_at(place).__doc__ or "").partition("\n")[0]
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", listed, re.M)
    assert call(monkeypatch, package, "sumary") == 2
    assert "there is no command 'sumary'" in capsys.readouterr().err


def test_the_console_command_has_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    from angioray.__main__ import COMMANDS as ALL
    from preprocess.__main__ import COMMANDS as PREPROCESS
    from tune.__main__ import COMMANDS as TUNE

    assert (PREPROCESS | TUNE).items() <= ALL.items()
    with pytest.raises(SystemExit, match="0"):
        run_one_of(ALL, prog="angioray", argv=["sweep", "--help-all"])
    assert "usage: angioray sweep [COHORT] [options]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["cv", "train", "report", "predict", "export-models", "pretrain", "sweep"]
)
def test_help_and_a_mistyped_option_load_nothing_heavy(command: str, tmp_path: Path) -> None:
    code = """
import sys
from angioray.__main__ import COMMANDS
from preprocess.console.command_line import run_one_of
for words in (["--help"], ["--help-all"], ["--no-such-option"]):
    try:
        run_one_of(COMMANDS, prog="angioray", argv=[sys.argv[1], *words])
    except SystemExit:
        pass
heavy = {"torch", "ray", "numpy", "zarr", "cv2", "sklearn", "scipy", "matplotlib", "optuna"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    said = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, text=True, cwd=tmp_path
    )
    assert said.returncode == 0, said.stderr


def test_short_help_is_short_and_the_long_one_has_every_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "angioray.cv", "--help") == 0
    short = capsys.readouterr().out
    assert call(monkeypatch, "angioray.cv", "--help-all") == 0
    long = capsys.readouterr().out
    options = [len(set(re.findall(r"^  (--[\w.-]+)", text, re.M))) for text in (short, long)]
    assert options[0] <= 14 and options[1] > 75
    assert "--status" in short and "--detector.focal_alpha" not in short
    assert "--detector.focal_alpha" in long
    assert "(list of whole numbers; default [512, 224])" in short
    assert "Optional" not in long and "Literal" not in long and "null" not in short


@pytest.mark.parametrize("option", ["focal-alpha", "focal_alpha"])
def test_hyphens_and_underscores_are_one(
    option: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"--detector.{option}", "0.3", "--view.frozen-epochs=2", "--print_config")
    assert call(monkeypatch, "angioray.cv", *words) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["detector"]["focal_alpha"] == 0.3
    assert printed["view"]["frozen_epochs"] == 2


@pytest.mark.parametrize("name", ["paper", "paper.yaml", "configs/paper.yaml"])
@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_settings_that_come_with_the_package_are_found_by_name(
    name: str,
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = form.format(name).split()
    assert call(monkeypatch, "angioray.cv", *words, "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["detector"]["steps"] == 3500
    for public in ("arcade", "configs/public/arcade.yaml"):
        assert call(monkeypatch, "angioray.cv", "--config", public, "--print_config") == 0
        assert yaml.safe_load(capsys.readouterr().out)["splits"] == "published"
    (tmp_path / "paper").mkdir()
    assert call(monkeypatch, "angioray.cv", "--config", "paper", "--print_config") == 0
    assert "3500" in capsys.readouterr().out
    (tmp_path / "paper.yaml").write_text("detector: {steps: 7}")
    assert call(monkeypatch, "angioray.cv", "--config", "paper.yaml", "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["detector"]["steps"] == 7


def test_a_cohort_that_is_not_named_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, where in ((None, "cohort"), ("elsewhere", "elsewhere")):
        if name:
            monkeypatch.setenv("ANGIORAY_COHORT", name)
        assert call(monkeypatch, "angioray.cv", "--all-folds") == 2
        said = capsys.readouterr().err
        assert f"{where} is no cohort" in said and "python -m angioray.demo" in said


@pytest.fixture
def here(tmp_path: Path, toy_cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to mistype in: the toy cohort, its settings, and things that are no cohort."""
    (tmp_path / "cohort").symlink_to(toy_cohort.folder)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY))
    (tmp_path / "typo.yaml").write_text("detector: {focal_alfa: 0.3}\n")
    (tmp_path / "torn.yaml").write_text("detector: [\n")
    weights = "detector.weights: {choices: [none, nowhere.pth]}\n"
    (tmp_path / "weights.yaml").write_text(weights)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "summer.jpg").write_bytes(b"\xff\xd8")
    torn = {"torn-cohort": "annotations.json", "torn-study": "study.json"}
    for folder, name in torn.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text('{"schema_version": 1, "info"')
    (tmp_path / "void-study").mkdir()
    (tmp_path / "void-study" / "study.json").write_text("{}")
    (tmp_path / "half-cohort").mkdir()
    annotations = (toy_cohort.folder / "annotations.json").read_bytes()
    (tmp_path / "half-cohort" / "annotations.json").write_bytes(annotations)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


CV = "angioray.cv cohort --config toy.yaml"
TRAIN = "angioray.train cohort view-32-fold0 --config toy.yaml"
SWEEP = "tune.sweep cohort --config toy.yaml --detector-view LCA"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("angioray.cv nowhere", "nowhere is no cohort"),
        ("angioray.cv empty", "empty is no cohort"),
        ("angioray.cv photos", "photos is no cohort"),
        ("angioray.cv toy.yaml", "toy.yaml is no cohort"),
        ("angioray.cv torn-cohort", "annotations.json is damaged"),
        ("angioray.cv half-cohort", "frames.zarr does not hold"),
        (f"{CV} --detector.focal_alfa 0.3", "the nearest that exists is `detector.focal_alpha`"),
        ("angioray.cv cohort --config typo.yaml", "the nearest that exists is `detector.focal_al"),
        ("angioray.cv cohort --config torn.yaml", "torn.yaml, line 2, is no YAML"),
        ("angioray.cv cohort --config nowhere.yaml", "nowhere.yaml"),
        (f"{CV} --detector.focal_alpha much", "focal_alpha"),
        (f"{CV} --detector.variants '[X]'", "expected a list of B, BG, NL, BGNL"),
        (f"{CV} --folds 30", "too few for 30 folds"),
        (f"{CV} --folds 1", ": folds is 1; it must be 2 or more."),
        (f"{CV} --checkpoint_every 0", ": checkpoint_every is 0; it must be 1 or more."),
        (f"{CV} --seeds 0", ": seeds is 0; it must be 1 or more."),
        (f"{CV} --folds-only 0,7 --plan", "'7' is no fold of the study, which has 0, 1."),
        (f"{CV} --folds-only 1 --all-folds", "--all-folds runs every fold and --folds-only 1"),
        (f"{CV} --assume h200", "--assume h200 is for a plan alone: give --plan as well."),
        (f"{CV} --plan --assume k80", "a GPU whose speed is known, such as `h200`"),
        (f"{CV} --tasks '[]'", ": tasks is []; it must name at least one."),
        (f"{CV} --detector.batch_size 0", ": detector.batch_size is 0; it must be 1 or more."),
        (f"{CV} --detector.size 0", ": detector.size is 0; it must be 32 or more."),
        (f"{CV} --view.epochs 0", ": view.epochs is 0; it must be 1 or more."),
        (f"{CV} --view.sizes '[]'", "sizes is []"),
        (f"{CV} --lanes.cpus 0", "cpus is 0"),
        (f"{CV} --lanes.ranks 0", "ranks is 0"),
        (f"{CV} --lanes.cpus 9999 --plan", "but one run needs"),
        (f"{CV} --view_classes '{{RCA: right}}'", "views without a class: LCA"),
        (f"{CV} --address 127.0.0.1:9", "No Ray cluster answers at 127.0.0.1:9"),
        (f"{CV} --runs toy.yaml", "toy.yaml"),
        (f"{CV} --runs torn-study", "study.json is damaged"),
        (f"{CV} --runs void-study", "study.json is damaged"),
        ("angioray.train cohort", "required: run"),
        ("angioray.train nowhere view-32-fold0", "nowhere is no cohort"),
        ("angioray.train cohort view-32-fold7 --config toy.yaml", "the nearest is view-32-fold"),
        ("angioray.train cohort bogus --config toy.yaml", "there are view-32-fold0, view-32-fold1"),
        (f"{TRAIN} --view.weights nowhere.pth", "nowhere.pth. Expected `imagenet`"),
        (f"{CV} --plan --detector.weights nowhere.pth", "There are no weights at "),
        (f"{CV} --detector.weights nowhere.pth", "There are no weights at "),
        (f"{SWEEP} --detector.weights nowhere.pth", "There are no weights at "),
        (f"{SWEEP} --space weights.yaml", "weights.yaml searches the weights nowhere.pth."),
        (f"{SWEEP} --space torn.yaml", "torn.yaml, line 2, is no YAML"),
        (f"{SWEEP} --space typo.yaml", "typo.yaml cannot be searched"),
        (f"{SWEEP} --space nowhere.yaml", "There is no file nowhere.yaml."),
        (f"{SWEEP} --space empty", "empty is a folder, expected a file."),
        (f"{CV} --splits typo.yaml", "typo.yaml, line 1, is no JSON"),
        (f"{CV} --splits empty", "empty is a folder, expected a file."),
        (f"{TRAIN} --view.weights toy.yaml", "toy.yaml is no state dict"),
        (f"{TRAIN} --view.backbone resnet19", "resnet18"),
        (f"{TRAIN} --runs torn-study", "study.json is damaged"),
        ("angioray.report", "runs is no runs folder"),
        ("angioray.report nowhere", "nowhere is no runs folder"),
        ("angioray.export nowhere", "nowhere is no runs folder"),
        ("angioray.report empty", "empty is no runs folder"),
        ("angioray.report cohort", "cohort is no runs folder"),
        ("angioray.report torn-study", "study.json is damaged"),
        ("angioray.report void-study", "study.json is damaged"),
        ("angioray.cv --status", "runs holds no study"),
        ("angioray.cv --status nowhere", "nowhere holds no study"),
        ("angioray.cv --status torn-study", "study.json is damaged"),
        (
            "angioray.pretrain out --config toy.yaml --pretraining.steps 0",
            ": pretraining.steps is 0; it must be 1 or more.",
        ),
        (f"{CV} --detector.focal-alfa 0.3", "the nearest that exists is `detector.focal_alpha`"),
        ("angioray.doctor --adress auto", "the nearest that exists is `address`"),
        ("angioray.doctor --address 127.0.0.1:9", "No Ray cluster answers at 127.0.0.1:9"),
    ],
)
def test_bad_input_ends_in_a_sentence(
    command: str,
    expected: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, *shlex.split(command)) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.startswith(f"python -m {command.split()[0]}")
    assert "Traceback" not in said


def test_other_settings_than_the_frozen_ones_are_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *TRAIN.split()) == 0
    frozen = (here / "runs" / "study.json").read_bytes()
    capsys.readouterr()
    assert call(monkeypatch, *CV.split(), "--detector.steps", "3", "--seed", "1") == 2
    said = capsys.readouterr().err
    assert "settings.detector.steps was 2 and is now 3" in said
    assert "settings.seed was 0 and is now 1" in said
    assert "another runs folder for a new study" in said
    assert (here / "runs" / "study.json").read_bytes() == frozen


def test_training_that_diverges_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *TRAIN.split(), "--view.optimiser.learning_rate", "1e30") == 2
    said = capsys.readouterr().err
    assert "the loss is not finite at step" in said and "lower the learning rate" in said


def test_weights_that_cannot_be_downloaded_end_in_advice(here: Path) -> None:
    said = run(
        *TRAIN.split(),
        *("--view.weights", "imagenet"),
        cwd=here,
        TORCH_HOME=str(here / "torch"),
        https_proxy="http://127.0.0.1:9",  # no network, wherever this test runs
    )
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
    (sentence,) = [line for line in said.stderr.splitlines() if line.startswith("python -m")]
    assert "ImageNet weights of resnet18 could not be downloaded" in sentence
    assert "give its path as `weights`" in sentence and "weights: none" in sentence


def shown_commands() -> list[str]:
    """Every command line of the README's shell blocks, whole, without comments."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [shlex.join(words) for words in commands if words]


def modules_shown() -> list[str]:
    """Every ``python -m`` that the README names in passing, as far as its first options."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    return sorted(set(re.findall(r"`python -m ((?:preprocess \w+)|[\w.]+)", text)))


def test_the_readme_shows_commands() -> None:
    shown = shown_commands()
    assert "make demo" in shown and "make test" in shown
    assert any("angioray.cv" in command for command in shown)
    # Whatever is neither ours nor in this list has to be thought about here.
    others = re.compile(r"export |(\.venv/bin/)?ray |cd |git clone |aws s3 sync ")
    ours = re.compile(r"make |(\.venv/bin/)?python3? -m ")
    assert [c for c in shown if not ours.match(c) and not others.match(c)] == []


@pytest.mark.parametrize("command", shown_commands())
def test_what_the_readme_shows_can_be_typed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.split()
    if words[0] == "make":
        said = subprocess.run(
            ["make", "-n", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert said.returncode == 0, said.stderr
        return
    if "-m" not in words[:2]:
        return  # not ours; listed in the test above
    assert not {"|", "&&", ";", ">"} & set(words), "one command per line can be checked"
    monkeypatch.chdir(REPOSITORY)  # where its relative paths to settings lead
    # Parsed and checked as ever, and then not carried out.
    monkeypatch.setattr(
        "preprocess.console.command_line._call",
        lambda command, values, prog: _arguments(command, values),
    )
    # What a sweep writes takes the place of the settings that it began with.
    command = command.replace("sweep/best.yaml", "configs/paper.yaml")
    code = call(monkeypatch, *shlex.split(command)[2:])
    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", modules_shown())
def test_what_the_readme_names_exists(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *command.split(), "--help") == 0


def test_the_demo_goes_the_same_road() -> None:
    """The demo gives the commands that the end-to-end test gives, in the same order."""
    words = [command.words for stage in stages(Path("demo")) for command in stage.commands]
    modules = re.findall(r"-m ((?:preprocess \w+)|angioray\.\w+)", "\n".join(map(" ".join, words)))
    assert modules == [
        *("preprocess phantom", "preprocess ingest", "preprocess propagate"),
        *("preprocess summary", "angioray.cv", "angioray.report"),
    ]


@pytest.mark.parametrize(
    "command",
    [command.words for stage in stages(Path("demo")) for command in stage.commands],
    ids=lambda words: " ".join(words[1:3]),
)
def test_what_the_demo_gives_can_be_typed(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(
        "preprocess.console.command_line._call",
        lambda command, values, prog: _arguments(command, values),
    )
    assert call(monkeypatch, *command[1:]) == 0, capsys.readouterr().err


def test_make_demo_is_the_demo() -> None:
    environment = {**os.environ, "MAKEFLAGS": ""}
    said = subprocess.run(
        ["make", "-n", "--no-print-directory", "demo"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert said.stdout.splitlines()[-1] == ".venv/bin/python -m angioray.demo --out demo"
