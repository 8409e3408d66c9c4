"""Systems: further detectors of a study, each the settings of the detector that differ."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from angioray.evaluation.intervals import Jackknife
from angioray.inference.chosen import choose
from angioray.inference.settings import PredictSettings
from angioray.inference.trained import load_detector
from angioray.report.evidence import DetectorEvidence
from angioray.report.runs import ReportedStudy
from angioray.report.systems import describe_system
from angioray.report.writing import write_report
from angioray.study.executor import Executor
from angioray.study.frame_index import FrameIndex
from angioray.study.settings import StudySettings, settings_from_dict
from angioray.study.study import Study
from angioray.training.step import World
from preprocess.cohort import Cohort
from preprocess.console.command_line import run
from tests.angioray.settings import TOY

SYSTEMS = {
    "wide": {"anchors": {"scales": [0.5, 1.0]}},
    "short": {"steps": 2, "variants": ["NL", "BGNL"]},
}
COMPARED = replace(TOY, systems=SYSTEMS)


def test_a_system_is_the_detector_but_for_what_it_sets() -> None:
    detector = replace(TOY.detector, variants=("BG", "B"))
    detectors = replace(TOY, detector=detector, systems=SYSTEMS).detectors
    assert list(detectors) == ["", "wide", "short"] and detectors[""] == detector
    anchors = replace(detector.anchors, scales=(0.5, 1.0))
    assert detectors["wide"] == replace(detector, anchors=anchors, variants=("BG",))
    assert detectors["short"] == replace(detector, steps=2, variants=("NL", "BGNL"))
    assert settings_from_dict(json.loads(json.dumps(asdict(COMPARED)))) == COMPARED


@pytest.mark.parametrize(
    ("systems", "said"),
    [
        ({"a-b": {}}, r"systems has 'a-b'; a name must be 1 to 40 letters"),
        ({"a": {"network": "patches"}}, r"systems\.a: there is no setting detector\.network"),
        ({"a": {"stepz": 3}}, r"systems\.a: .*nearest that exists is `detector\.steps`"),
        ({"a": {"steps": 0}}, r"systems\.a: detector\.steps is 0; it must be 1 or more"),
        ({"a": {"judged_frames": "optimal"}}, r"systems\.a sets judged_frames, which is the same"),
        ({"a": {"key_frames": True}}, r"systems\.a sets key_frames, which is of the own detector"),
        ({"Own": {}}, r"systems has 'Own'; another system, or the study's own detector"),
        ({"a": {}, "A": {}}, r"systems has 'A'; another system"),
        (
            {"a": {"architecture": "ssd300_vgg"}},
            r"architecture is 'ssd300_vgg': the nearest is ssd300_vgg16; there are retinanet, ",
        ),
    ],
)
def test_what_cannot_be_a_system_is_said(systems: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StudySettings(systems=systems)
    with pytest.raises(ValueError, match="systems are detectors, and tasks has none"):
        StudySettings(systems={"a": {}}, tasks=("view",))


def test_the_path_of_weights_is_not_shown_for_it_may_name_somebody() -> None:
    said = describe_system({"weights": "/home/somebody/w.pth", "optimiser": {"name": "sgd"}})
    assert said == "weights from a file, optimiser.name sgd"
    assert describe_system({"weights": "none"}) == "weights none"


def test_settings_of_an_earlier_version_keep_their_architecture() -> None:
    earlier = {"network": "ssd300_vgg16", "size": 300, "weights": "none"}
    named = settings_from_dict({"detector": earlier}).detector
    assert (named.architecture, named.size) == ("ssd300_vgg16", 300)


def test_systems_continue_a_study_and_are_not_taken_away(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    first = Study.plan(toy_cohort, tmp_path, replace(TOY, systems={"wide": SYSTEMS["wide"]}))
    first.freeze(toy_cohort)
    more = Study.plan(toy_cohort, tmp_path, COMPARED)
    more.freeze(toy_cohort)
    assert set(first.runs) < set(more.runs) and Study.open(tmp_path).runs == more.runs
    assert [run.name for run in more.runs if run.view == "RCA" and run.fold == 1] == [
        "detector-RCA-B-64-fold1",
        "detector-RCA-B-64-wide-fold1",
        "detector-RCA-NL-64-short-fold1",
        "detector-RCA-BGNL-64-short-fold1",
    ]
    seeds = {
        (run.view, run.fold): {r.seed for r in more.runs if r.fold == run.fold} for run in more.runs
    }
    assert all(len(of_fold) == 1 for of_fold in seeds.values()), "compared on equal terms"
    with pytest.raises(ValueError, match=r"has the systems wide, short, and short is not given"):
        first.freeze(toy_cohort)
    other = replace(TOY, systems={"wide": {"steps": 3}, "short": SYSTEMS["short"]})
    with pytest.raises(ValueError, match=r"settings\.systems\.wide"):
        Study.plan(toy_cohort, tmp_path, other).freeze(toy_cohort)


@pytest.fixture(scope="module")
def runs(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with the system ``wide`` in all folds, and with ``short`` in none."""
    settings = replace(COMPARED, detector=replace(TOY.detector, steps=4))
    study = Study.plan(toy_cohort, tmp_path_factory.mktemp("systems") / "runs", settings)
    study.freeze(toy_cohort)
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    for each in study.runs:
        if each.system != "short":
            executor.execute(each, lambda *_: None)
    return Path(str(study.folder))


def test_a_run_of_a_system_is_trained_with_its_settings_and_never_predicts(runs: Path) -> None:
    network = load_detector(runs / "detector-RCA-B-64-wide-fold0")
    assert (
        network.anchors.shape[0]
        == 2 * load_detector(runs / "detector-RCA-B-64-fold0").anchors.shape[0]
    )
    chosen = choose(Study.open(runs), PredictSettings())
    assert {run.system for run in chosen.runs} == {""}


def test_the_report_sets_systems_beside_the_own_detector(
    runs: Path, toy_cohort: Cohort, tmp_path: Path
) -> None:
    write_report(runs)
    document = json.loads((runs / "report" / "report.json").read_text())
    assert {row["system"] for row in document["systems"]} == {"wide"}
    assert {row["system"] for row in document["missing"]} == {"short"}

    study, frames = ReportedStudy.open(runs), FrameIndex(cohort=toy_cohort)
    own, wide = (
        DetectorEvidence.of(group, frames)
        for groups in (study.groups, study.systems)
        for group in groups
        if (group.view, group.system) in (("RCA", ""), ("RCA", "wide"))
    )
    images = own.image_ids
    measures = [each.measures(images)["AP@IoU0.20"] for each in (wide, own)]
    expected = Jackknife.of(frames.patients(images)).difference(*measures)
    (row,) = (
        row
        for row in document["system_comparisons"]
        if row["view"] == "RCA" and row["metric"] == "AP@IoU0.20"
    )
    assert (row["of"], row["against"]) == ("wide", "own")
    assert row["difference"] == pytest.approx(expected.value)

    html = (runs / "report" / "report.html").read_text()
    assert html.count('<section id="systems">') == 1
    assert "the same with anchors.scales [0.5, 1]" in html
    table = (runs / "report" / "systems.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in table[1:] if "0/2" not in line] == [
        [view, system, "B"] for view in ("LCA", "RCA") for system in ("own", "wide")
    ]
    assert "cannot be compared" not in html
    shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("*RCA-B-64-wide-fold1"))
    write_report(tmp_path / "runs")
    assert (
        "RCA wide: the finished folds are others"
        in (tmp_path / "runs/report/report.md").read_text()
    )
    others = [row for row in document["metrics"] if row["task"] == "detector"]
    assert {row["variant"] for row in others} == {"B"}, "other sections are of the own detector"


def test_options_set_single_settings_of_a_system(tmp_path: Path) -> None:
    config = tmp_path / "systems.yaml"
    config.write_text("systems: {SSD: {steps: 3, anchors: {scales: [1.0], ratios: [1.0]}}}\n")
    seen: list[StudySettings] = []

    def command(settings: StudySettings) -> None:
        """Nothing.

        Args:
            settings: of a study.
        """
        seen.append(settings)

    words = ["--systems.SSD.anchors.scales", "[0.5, 2]", "--systems.SSD.batch_size=2"]
    words += ["--systems.long.steps", "9", "--systems.long.channels", "64"]
    run(command, prog="test", argv=["--config", str(config), *words])
    assert seen[0].systems == {
        "SSD": {"steps": 3, "anchors": {"scales": [0.5, 2], "ratios": [1.0]}, "batch_size": 2},
        "long": {"steps": 9, "channels": 64},
    }
