"""A finished study for other programs: files that answer as PyTorch does, and cards."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from angioray.export.__main__ import ExportSettings, export
from angioray.export.hugging_face import USE, hugging_face_card
from angioray.export.onnx_graphs import Difference, compare_candidates
from angioray.inference.trained import load_classifier, load_detector
from angioray.models.architectures import build_detector
from angioray.models.weights_file import read_state_dict
from angioray.report.page import RESEARCH
from angioray.report.writing import write_report
from angioray.study.executor import Executor
from angioray.study.settings import settings_from_dict
from angioray.study.study import Study
from angioray.training.frames import normalise, resize
from angioray.training.step import World
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY

PAGE = Path(__file__).parents[3] / "docs" / "export.md"
DETECTOR = "detector-RCA-B-64"


@pytest.fixture(scope="module")
def runs(toy_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy study and its report; its folder has a name that no card may say."""
    folder = tmp_path_factory.mktemp("toy") / "Mueller-runs"
    study = Study.plan(toy_cohort, folder, TOY)
    study.freeze(toy_cohort)
    torch.set_num_threads(1)
    executor = Executor(study, toy_cohort, World(torch.device("cpu")))
    for run in study.runs:
        if run.view != "LCA":
            executor.execute(run, lambda *_: None)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def exported(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "exported"
    export(str(runs), out=out, settings=ExportSettings())
    return out


def test_a_folder_for_each_finished_model(exported: Path, runs: Path) -> None:
    names = sorted(str(path.relative_to(exported)) for path in exported.rglob("*.*"))
    files = ["README.md", "config.json", "fold0.onnx", "fold0.safetensors"]
    files += ["fold1.onnx", "fold1.safetensors"]
    assert names == [f"{model}/{file}" for model in (DETECTOR, "view-32") for file in files]
    config = json.loads((exported / DETECTOR / "config.json").read_text())
    assert (config["input_px"], config["classes"]) == (64, ["stenosis"])
    assert (config["nms_iou"], config["max_predictions"]) == (0.5, 100)
    view = json.loads((exported / "view-32" / "config.json").read_text())
    assert view["classes"] == ["LCA", "RCA"] and view["folds"] == ["fold0", "fold1"]
    # The weights fill the network that config.json describes.
    settings = settings_from_dict(
        {"detector": {**config["architecture"], "size": 64, "weights": "none"}}
    )
    network = build_detector(settings.detector, pretrained=False)
    network.load_state_dict(read_state_dict(exported / DETECTOR / "fold1.safetensors"))
    trained = load_detector(runs / f"{DETECTOR}-fold1").state_dict()
    assert all(torch.equal(trained[name], each) for name, each in network.state_dict().items())


def used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, dict[str, Any]]:
    """A frame (uint8[1, 1, 90, 70]), and what the code of README.md makes of it."""
    grey = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "frame.png")
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"^```python\n(.*?)^```", Path("README.md").read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    (folder / "frame.png").unlink()
    return torch.from_numpy(grey)[None, None], names


def test_the_code_of_a_detectors_card_finds_the_boxes_of_pytorch(
    exported: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, names = used(exported / DETECTOR, monkeypatch)
    model = load_detector(runs / f"{DETECTOR}-fold0")
    found = model.detect(normalise(resize(frame, 64)))
    solid = found.scores[0] >= 0
    boxes = found.boxes_xyxy[0, solid].numpy() * np.array([70, 90, 70, 90]) / 64
    assert len(boxes) > 5
    scores = found.scores[0, solid].numpy()
    apart = compare_candidates(names["boxes"], names["scores"], boxes, scores)
    # Pillow and torchvision may round a pixel differently.
    assert apart.boxes_px < 0.2 and apart.scores < 1e-3
    assert USE["detector"] in PAGE.read_text("utf-8"), "the page shows the same code"


def test_the_code_of_a_classifiers_card_names_the_view_of_pytorch(
    exported: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, names = used(exported / "view-32", monkeypatch)
    with torch.no_grad():
        answers = [
            load_classifier(runs / f"view-32-fold{fold}")(normalise(resize(frame, 32))).softmax(1)
            for fold in (0, 1)
        ]
    expected = torch.stack(answers).mean(0)[0].tolist()
    assert list(names["probabilities"]) == ["LCA", "RCA"]
    np.testing.assert_allclose(list(names["probabilities"].values()), expected, atol=2e-3)


def test_cards_are_what_the_hub_reads(exported: Path, runs: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    for model, task in ((DETECTOR, "object-detection"), ("view-32", "image-classification")):
        text = (exported / model / "README.md").read_text()
        card = hub.ModelCard(text)
        assert card.data.pipeline_tag == task and card.data.license == "other"
        assert card.data.model_name == model
        report = json.loads((runs / "report" / "model_cards" / f"{model}.json").read_text())
        found = {metric["metric"]: metric for metric in report["metrics"]}
        assert len(card.data.eval_results) > 5
        for result in card.data.eval_results:
            assert result.task_type == task and result.dataset_name == "The study's cohort"
            metric = found[result.metric_name.partition(" (95 %")[0]]
            assert result.metric_value == pytest.approx(metric["mean"], abs=1e-4)
            if metric["ci95"]:
                assert result.metric_args["ci95"] == pytest.approx(metric["ci95"], abs=1e-4)
        assert any(result.metric_args.get("ci95") for result in card.data.eval_results)
        assert not any("baseline" in result.metric_name for result in card.data.eval_results)
        assert "# " in card.text and RESEARCH in card.text


@pytest.mark.parametrize(
    ("phantoms", "name"),
    [(24, "Phantoms"), (3, "Phantoms and patients"), (0, "The study's cohort")],
)
def test_a_card_says_whose_cines_its_numbers_are_of(
    phantoms: int, name: str, exported: Path, runs: Path
) -> None:
    card = json.loads((runs / "report" / "model_cards" / f"{DETECTOR}.json").read_text())
    assert card["cohort"]["sequences"] == 24
    card["cohort"]["phantoms"] = phantoms
    card["metrics"].append({"metric": "score-chosen", "mean": 0.4, "std": None, "ci95": None})
    (index,) = yaml.safe_load(hugging_face_card(card).split("---\n")[1])["model-index"]
    assert index["results"][0]["dataset"]["name"] == name
    assert "score-chosen" not in {each["name"] for each in index["results"][0]["metrics"]}


def test_nothing_that_is_shared_names_a_folder_or_a_patient(
    exported: Path, runs: Path, toy_cohort: Cohort
) -> None:
    private = ["Mueller", "/tmp", str(toy_cohort.folder), *toy_cohort.sequences]
    for path in (*exported.rglob("*.md"), *exported.rglob("*.json")):
        text = path.read_text()
        assert [name for name in private if name in text] == []
    head = (exported / DETECTOR / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(head)["model-index"][0]["name"] == DETECTOR


def test_what_answers_otherwise_is_not_written(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angioray.export.models.compare", lambda *_: Difference(0.01, 0.002))
    settings = ExportSettings(models=("view-32",))
    with pytest.raises(ValueError, match=r"view-32-fold0 as ONNX differs .* 0.002 in scores"):
        export(str(runs), out=tmp_path / "out", settings=settings)
    assert not list(tmp_path.iterdir())


def test_mistakes(
    runs: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = ExportSettings(models=("detector-LCA-B-64",))
    with pytest.raises(ValueError, match="no finished detector-LCA-B-64: the nearest is"):
        export(str(runs), out=tmp_path / "out", settings=unfinished)
    with pytest.raises(ValueError, match="is there already"):
        export(str(runs), out=exported, settings=ExportSettings())
    copy = shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("checkpoint"))
    card = copy / "report" / "model_cards" / "view-32.json"
    card.write_text(card.read_text().replace("view-32-fold1", "view-32-fold7"))
    with pytest.raises(ValueError, match=r"no card of view-32 .*`python -m angioray.report"):
        export(str(copy), out=tmp_path / "out", settings=ExportSettings())
    card.write_text('{"members": ["view-32-fold0", "view-32-fold1"]}')
    with pytest.raises(ValueError, match=r"card of view-32 .* is not what was written"):
        export(str(copy), out=tmp_path / "out", settings=ExportSettings())
    for path in copy.glob("*/result.json"):
        path.unlink()
    with pytest.raises(ValueError, match="no finished model: there is none"):
        export(str(copy), out=tmp_path / "out", settings=ExportSettings())
    assert not (tmp_path / "out").exists()
