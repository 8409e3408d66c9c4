"""The run matrix, and what freezing it refuses."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from angioray.study.differences import describe_difference, differences
from angioray.study.seeds import seed_of
from angioray.study.settings import StudySettings, settings_from_dict
from angioray.study.study import Study
from preprocess.cohort import Cohort, update_attributes
from tests.angioray.settings import TOY
from tests.toy_cohort import write_toy_cohort

CONFIGS = Path(__file__).parents[3] / "configs"


def test_the_papers_settings_are_the_defaults() -> None:
    written = yaml.safe_load((CONFIGS / "paper.yaml").read_text())
    assert settings_from_dict(written) == StudySettings()


def test_every_value_of_the_protocol() -> None:
    paper = settings_from_dict(yaml.safe_load((CONFIGS / "paper.yaml").read_text()))
    view, detector = paper.view, paper.detector
    assert (view.sizes, view.epochs, view.frozen_epochs, view.batch_size) == (
        (512, 224),
        30,
        15,
        32,
    )
    assert (view.optimiser.name, view.optimiser.learning_rate) == ("adam", 1e-5)
    assert (view.plateau_factor, view.split_unit, paper.folds) == (0.2, "sequence", 5)
    assert detector.anchors.ratios == (1, 0.5, 2, 4) and detector.anchors.per_cell == 12
    assert (detector.focal_alpha, detector.focal_gamma) == (0.25, 2)
    assert (detector.steps, detector.batch_size, detector.size) == (3500, 32, 512)
    rule = detector.optimiser
    assert (rule.name, rule.learning_rate, rule.momentum, rule.weight_decay) == (
        "sgd",
        8e-4,
        0.9,
        4e-4,
    )
    assert (detector.levels, detector.channels, detector.nms_iou) == ((3, 7), 256, 0.5)


def test_the_papers_study_is_50_runs(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, StudySettings())
    assert len(study.runs) == 2 * 5 + 2 * 4 * 5
    assert len({run.name for run in study.runs}) == 50
    assert study.run("detector-RCA-BGNL-512-fold3").seed == seed_of(0, 3)


def test_a_frozen_study_reads_back_as_it_was(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, TOY)
    study.freeze(toy_cohort)
    study.freeze(toy_cohort)  # the same again is no contradiction
    assert Study.open(tmp_path) == study


def test_more_seeds_continue_a_study_and_fewer_do_not(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, TOY)
    study.freeze(toy_cohort)
    more = Study.plan(toy_cohort, tmp_path, replace(TOY, seeds=3))
    more.freeze(toy_cohort)
    assert Study.open(tmp_path) == more
    assert tuple(run for run in more.runs if not run.repeat) == study.runs
    with pytest.raises(ValueError, match=r"settings.seeds was 3 and is now 1"):
        study.freeze(toy_cohort)
    with pytest.raises(ValueError, match=r"settings.seed was 0 and is now 1"):
        Study.plan(toy_cohort, tmp_path, replace(TOY, seeds=4, seed=1)).freeze(toy_cohort)


def test_a_study_from_before_phantoms_were_counted_goes_on(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    study = Study.plan(toy_cohort, tmp_path, TOY)
    study.freeze(toy_cohort)
    document = json.loads((tmp_path / "study.json").read_text())
    assert document["cohort"].pop("phantoms") == 0
    (tmp_path / "study.json").write_text(json.dumps(document))
    study.freeze(toy_cohort)
    assert json.loads((tmp_path / "study.json").read_text())["cohort"]["phantoms"] == 0


def test_another_study_in_the_same_folder_is_refused(toy_cohort: Cohort, tmp_path: Path) -> None:
    Study.plan(toy_cohort, tmp_path, TOY).freeze(toy_cohort)
    other = replace(TOY, detector=replace(TOY.detector, focal_alpha=0.5))
    with pytest.raises(ValueError, match=r"settings\.detector\.focal_alpha was 0\.25 and is now"):
        Study.plan(toy_cohort, tmp_path, other).freeze(toy_cohort)


def test_an_unknown_run_names_the_nearest(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, TOY)
    with pytest.raises(ValueError, match="nearest is view-32-fold1"):
        study.run("view-32-fold7")


def test_splits_of_all_variants_are_the_same(toy_cohort: Cohort, tmp_path: Path) -> None:
    study = Study.plan(toy_cohort, tmp_path, StudySettings())
    runs = [run for run in study.runs if run.view == "LCA" and run.fold == 2]
    assert len(runs) == 4 and len({study.fold(run) for run in runs}) == 1


def test_settings_survive_json() -> None:
    assert settings_from_dict(json.loads(json.dumps(asdict(TOY)))) == TOY


def test_weights_that_are_not_there_are_known_before_the_study_begins(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    lacking = replace(TOY, view=replace(TOY.view, weights=str(tmp_path / "none.pth")))
    study = Study.plan(toy_cohort, tmp_path / "runs", lacking)
    for download in (False, True):
        with pytest.raises(ValueError, match=r"no weights at .*none\.pth"):
            study.look_for_weights(download=download)
    assert (
        study.look_for_weights(r for r in study.runs if r.task == "detector") == []
    )  # only the classifiers need that file
    assert study.weights_files == [str(tmp_path / "none.pth")]
    assert not (tmp_path / "runs").exists()


def test_published_weights_are_not_downloaded_for_a_plan(
    toy_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published = replace(
        TOY,
        view=replace(TOY.view, weights="imagenet"),
        detector=replace(TOY.detector, weights="imagenet"),
    )
    study = Study.plan(toy_cohort, tmp_path / "runs", published)
    (note,) = study.look_for_weights(download=False)
    assert "ImageNet weights of resnet18 are not on this machine yet" in note
    assert "https://download.pytorch.org/models/resnet18-" in note
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"folds": "many"}, r"study\.json is damaged \(folds got many; expected a whole number"),
        ({"colour": 3}, r"study\.json is damaged \(there is no setting colour"),
    ],
)
def test_settings_of_a_damaged_study_are_named(
    settings: dict[str, object], expected: str, toy_cohort: Cohort, tmp_path: Path
) -> None:
    Study.plan(toy_cohort, tmp_path, TOY).freeze(toy_cohort)
    document = json.loads((tmp_path / "study.json").read_text())
    document["settings"] |= settings
    (tmp_path / "study.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=expected):
        Study.open(tmp_path)


def test_a_folder_that_is_not_this_studys_is_refused(toy_cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Study.plan(toy_cohort, tmp_path / "runs", TOY).freeze(toy_cohort)
    other = write_toy_cohort(tmp_path / "other", patients=8, seed=3)
    for cohort, runs, expected in (
        (toy_cohort, tmp_path / "file", "file is a file, expected a folder for runs"),
        (other, other.folder, "other holds a cohort. Give runs a folder of their own"),
        (other, tmp_path / "runs", "study.json was made with other inputs: the cohort has"),
    ):
        study = Study.plan(cohort, runs, TOY)
        with pytest.raises(ValueError, match=expected):
            study.refuse_another(cohort)


def test_a_run_that_the_study_has_not_is_answered_with_those_that_it_has(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    study = Study.plan(toy_cohort, tmp_path / "runs", TOY)
    with pytest.raises(ValueError, match=r"has no run 'bogus': there are view-32-fold0, view-32-f"):
        study.run("bogus")
    near = "the nearest is detector-RCA-B-64-fold1; there are view-32-fold0, .*-RCA-B-64-fold1"
    with pytest.raises(ValueError, match=near):
        study.run("detector-RCA-B-64-fold7")
    paper = Study.plan(toy_cohort, tmp_path / "runs", StudySettings())
    with pytest.raises(ValueError, match=r"detector-LCA-B-512-fold1, and 38 more\."):
        paper.run("bogus")


def test_a_relative_path_of_weights_becomes_absolute(
    toy_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = replace(TOY, detector=replace(TOY.detector, weights="here.pth"))
    study = Study.plan(toy_cohort, tmp_path, given)
    assert study.settings.detector.weights == str(tmp_path / "here.pth")
    assert study.settings.view.weights == "none"


def test_long_values_that_differ_are_named_without_them() -> None:
    short, long = list(range(8)), list(range(90))
    assert describe_difference("a", short, [1]) == f"a was {short} and is now [1]"
    assert describe_difference("a", long, [1]) == "a differs"
    assert describe_difference("a", [1], {"b": long}) == "a differs"
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == [("a.c", 2, 3)]


def test_a_changed_cohort_is_refused_with_what_changed(tmp_path: Path) -> None:
    cohort = write_toy_cohort(tmp_path / "cohort", patients=4)
    Study.plan(cohort, tmp_path / "runs", TOY).freeze(cohort)
    update_attributes(cohort.folder, replace(cohort.sequences["S00RCA"], ifr=(0.7,)))
    changed = Cohort.open(cohort.folder)
    with pytest.raises(
        ValueError, match=r"other inputs: the cohort has other ifr of 1 sequence \(S00RCA\)\."
    ):
        Study.plan(changed, tmp_path / "runs", TOY).freeze(changed)


def test_a_study_of_an_earlier_version_goes_on_and_says_what_was_not_compared(
    toy_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study.plan(toy_cohort, tmp_path, TOY)
    study.freeze(toy_cohort)
    assert capsys.readouterr().out == ""
    path = tmp_path / "study.json"
    document = json.loads(path.read_text())
    del document["cohort"]["contents"]
    with pytest.raises(ValueError, match="the cohort has other annotations or pixels"):
        path.write_text(json.dumps(document))
        study.freeze(toy_cohort)
    earlier = hashlib.sha256((toy_cohort.folder / "annotations.json").read_bytes())
    for sequence in toy_cohort.sequences.values():
        earlier.update(sequence.frames_digest.encode())
    document["cohort"]["digest"] = earlier.hexdigest()
    path.write_text(json.dumps(document))
    study.freeze(toy_cohort)
    assert "begun by a version that compared" in capsys.readouterr().out
    assert json.loads(path.read_text())["cohort"]["contents"] == toy_cohort.contents


def test_a_view_class_that_is_no_name_of_a_folder_is_refused(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    odd = replace(TOY, view_classes={"RCA": "../RCA", "LCA": "LCA"})
    with pytest.raises(ValueError, match=r"view class '../RCA' .* holds a slash"):
        Study.plan(toy_cohort, tmp_path, odd)
