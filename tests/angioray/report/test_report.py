"""The report of a small drawn study: right numbers, nothing hidden, nothing fetched."""

from __future__ import annotations

import csv
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from torch import nn

from angioray.evaluation.matching import match_frames
from angioray.models.gradcam import grad_cam, map_correlations, randomised
from angioray.report.__main__ import report
from angioray.report.curves import free_response, precision_recall
from angioray.report.gradcam import sanity
from angioray.report.markdown import fenced
from angioray.report.page import RESEARCH
from angioray.report.published import published_detector, published_view
from angioray.report.study_comparison import write_comparison
from angioray.report.tables import Row, Table, Value
from angioray.report.writing import write_report
from preprocess.cohort import Cohort, phantom_notice
from preprocess.console.command_line import run as run_command
from tests.angioray.headings import undefined
from tests.angioray.synthetic_study import CLASSES, FOLDS, fail, write_cohort, write_study
from tests.hostile_names import HOSTILE_VIEWS, words_of

FIGURES = (
    *("inclusion", "boxes", "confusion", "curves-RCA", "curves-LCA", "learning"),
    *("calibration-view", "calibration-RCA", "calibration-LCA"),
)
RECALL = "recall@IoU0.20/score0.50/max5"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_cohort(tmp_path_factory.mktemp("study") / "cohort")


@pytest.fixture(scope="module")
def reported(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study and its report, only to be read."""
    runs = write_study(tmp_path_factory.mktemp("finished") / "runs", cohort)
    write_report(runs)
    return runs


@pytest.fixture
def runs(reported: Path, tmp_path: Path) -> Path:
    """A finished study without its report, to be changed."""
    copy = tmp_path / "runs"
    shutil.copytree(reported, copy, ignore=shutil.ignore_patterns("report"))
    return copy


def test_sequences_that_no_run_saw_are_told(runs: Path) -> None:
    told = "The detectors leave out 1 of 20 sequences: 1 that the given folds do not name."
    assert "leave out" not in write_report(runs).with_name("report.md").read_text()
    document = json.loads((runs / "study.json").read_text())
    for fold in document["splits"]["detector/RCA"]["folds"]:
        for side in fold.values():
            side[:] = [name for name in side if name != "s001"]
    (runs / "study.json").write_text(json.dumps(document))
    assert told in write_report(runs).with_name("report.md").read_text()


class Page(HTMLParser):
    """What a browser would be asked to show and to fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.shapes = 0
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for name in ("src", "href", "xlink:href", "action", "data"):
            if values.get(name):
                self.addresses.append(str(values[name]))
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "svg":
            self.pictures.append(values)
        self.shapes += tag in ("path", "rect", "image", "use")

    def handle_data(self, data: str) -> None:
        self.text += data


def html_of(runs: Path) -> str:
    return (runs / "report" / "report.html").read_text()


def read(runs: Path, name: str = "report.json") -> Any:
    return json.loads((runs / "report" / name).read_text())


def entry(document: dict[str, Any], metric: str, **group: Any) -> dict[str, Any]:
    found = [
        row
        for row in document["metrics"]
        if row["metric"] == metric and all(row[key] == value for key, value in group.items())
    ]
    assert len(found) == 1
    return dict(found[0])


def set_metric(runs: Path, name: str, metric: str, value: float | None) -> None:
    path = runs / name / "result.json"
    result = json.loads(path.read_text())
    result["metrics"][metric] = value
    path.write_text(json.dumps(result))


def test_the_means_are_those_of_the_folds(runs: Path) -> None:
    for fold, value in enumerate([0.5, 0.7, 0.6, None, 0.6]):
        set_metric(runs, f"detector-RCA-B-128-fold{fold}", RECALL, value)
    write_report(runs)
    row = entry(read(runs), RECALL, view="RCA", variant="B")
    assert row["folds"] == [0.5, 0.7, 0.6, None, 0.6]
    assert row["mean"] == pytest.approx(0.6)
    assert row["std"] == pytest.approx((0.02 / 3) ** 0.5)
    assert row["ci95"][0] <= row["ci95"][1]
    assert (row["task"], row["size"]) == ("detector", 128)


def test_every_metric_of_every_group_is_there(reported: Path) -> None:
    document = read(reported)
    assert document["schema_version"] == 1
    assert document["missing"] == []
    assert document["study"]["runs"] == {
        "planned": 30,
        "finished": 30,
        "failed": 0,
        "unfinished": 0,
    }
    for view in CLASSES:
        for variant in ("B", "BG"):
            baseline = f"baseline/{RECALL.replace('0.50', '0.00')}"
            row = entry(document, baseline, view=view, variant=variant)
            assert len(row["folds"]) == FOLDS
            assert row["ci95"] is not None
            entry(document, "AP@IoU0.20", view=view, variant=variant)
    for size in (64, 96):
        for metric, is_given in (("accuracy", True), ("f1_macro", True), ("cross_entropy", False)):
            row = entry(document, metric, task="view", size=size)
            assert (row["ci95"] is not None) == is_given, "ten patients are too few for a loss"


def test_variants_and_sizes_are_compared_on_the_same_patients(reported: Path) -> None:
    found = read(reported)["comparisons"]
    assert {(c["task"], c["view"], c["of"], c["against"]) for c in found} == {
        ("view", "", "96 px", "64 px"),
        ("detector", "LCA", "BG", "B"),
        ("detector", "RCA", "BG", "B"),
    }
    for row in found:
        few = row["metric"] == "cross_entropy"  # ten patients are too few for a loss
        assert row["ci95"] is None if few else row["ci95"][0] <= row["ci95"][1]
        # Every patient has two sequences, one per view.
        assert (row["frames"], row["patients"]) == ((20, 10) if row["task"] == "view" else (10, 10))
    one = next(c for c in found if c["view"] == "RCA" and c["metric"] == RECALL)
    pooled = []
    for variant in ("BG", "B"):
        hits = lesions = 0.0
        for fold in range(FOLDS):
            result = json.loads(
                (reported / f"detector-RCA-{variant}-128-fold{fold}" / "result.json").read_text()
            )
            # Folds of equal frames, so that counts can be had back from shares.
            boxes = _boxes_of_fold(reported, "RCA", fold)
            hits += result["metrics"][RECALL] * boxes
            lesions += boxes
        pooled.append(hits / lesions)
    assert one["difference"] == pytest.approx(pooled[0] - pooled[1])


def _boxes_of_fold(runs: Path, view: str, fold: int) -> int:
    """Lesions on the judged frames of a fold's validation part."""
    study = json.loads((runs / "study.json").read_text())
    cohort = Cohort.open(study["cohort"]["folder"])
    judged = study["splits"][f"detector/{view}"]["folds"][fold]["validation"]
    return sum(
        len(cohort.boxes_by_frame[s, cohort.sequences[s].reference_frame or 0]) for s in judged
    )


def test_a_cohort_without_readers_shows_no_agreement(reported: Path) -> None:
    assert read(reported)["agreement"] == []
    assert "How well readers agree" not in html_of(reported)
    assert not (reported / "report" / "reader_agreement.csv").exists()


def test_what_makes_a_metric_vary_is_parted(reported: Path) -> None:
    with (reported / "report" / "variance_parts.csv").open() as file:
        rows = {(row["Runs"], row["Metric"]): row for row in csv.DictReader(file)}
    row = rows["RCA detector, variant B, 128 px", "Recall, max 5"]
    folds = entry(read(reported), RECALL, view="RCA", variant="B")["folds"]
    assert row["Seed"] == "\N{EN DASH}" and float(row["Patient"]) > 0
    spread = np.std(folds, ddof=1) ** 2 - float(row["Patient"]) ** 2
    assert float(row["Fold"].rstrip("*")) == pytest.approx(max(spread, 0) ** 0.5, abs=0.02)
    assert "seeds: 3 trains each" in (reported / "report" / "report.md").read_text()


def test_a_score_is_chosen_beside_the_fixed_one(reported: Path) -> None:
    document = read(reported)
    score = entry(document, "score-chosen@IoU0.20", view="RCA", variant="B")
    assert all(0 < value < 1 for value in score["folds"])
    recall = entry(document, "recall@IoU0.20/score-chosen/max5", view="RCA", variant="B")
    assert len(recall["folds"]) == FOLDS and recall["ci95"] is not None
    with (reported / "report" / "operating_points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Score"] for row in rows[:2]] == ["fixed", "chosen"]
    assert float(rows[1]["Above mean"]) == pytest.approx(
        entry(document, "score-chosen@IoU0.20", view=rows[1]["View"], variant=rows[1]["Variant"])[
            "mean"
        ]
    )


def test_a_sensitivity_is_guaranteed_where_there_are_enough_patients(reported: Path) -> None:
    rows = [r for r in read(reported)["guaranteed_sensitivity"] if r["variant"] == "B"]
    assert len(rows) == 2 * (FOLDS + 1) * 3
    for row in rows:
        assert row["patients"] == (10 if row["fold"] is None else 10 // FOLDS)
        if row["fold"] is not None and row["missed_at_most"] < 0.3:
            needed = 9 if row["missed_at_most"] == 0.1 else 4
            assert row["reason"] == f"too few patients: 2, needs at least {needed}"
        assert (row["score"] is None) == bool(row["reason"])
        assert (row["score"] is None) == (row["false_boxes_per_frame"] is None)
    assert any(row["score"] is not None for row in rows)
    assert "too few patients: 2, needs at least 9" in html_of(reported)


def test_the_page_fetches_nothing(reported: Path) -> None:
    html = html_of(reported)
    page = Page(html)
    outside = [a for a in page.addresses if not a.startswith(("#", "data:"))]
    assert outside == []
    assert not re.search(r"@import|url\((?!#)", html)
    assert "<script" not in html
    assert str(reported) not in html


def test_every_link_inside_the_page_leads_somewhere_once(reported: Path) -> None:
    html = html_of(reported)
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    inside = {a[1:] for a in page.addresses if a.startswith("#")}
    inside |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert inside <= set(page.ids)


def test_every_figure_is_there_with_words_and_content(reported: Path) -> None:
    html = html_of(reported)
    for name in FIGURES:
        figure = re.search(rf'<figure id="{name}">(.*?)</figure>', html, re.DOTALL)
        assert figure is not None, name
        assert Page(figure[1]).shapes > 20, name
    pictures = Page(html).pictures
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    assert sum("sequence" in str(picture["aria-label"]) for picture in pictures) >= 12
    assert 'class="truth"' in html and 'class="found"' in html


def test_the_papers_numbers_stand_beside(cohort: Cohort, tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", cohort, sizes=(224,), variants=("B",))
    html = write_report(runs).read_text()
    assert "paper 0.97 ± 0.01" in html
    assert "paper 0.72 ± 0.03" in html
    assert "Cong et al." in html
    with (runs / "report" / "table_2_view.csv").open() as file:
        row, majority = csv.DictReader(file)
    assert (majority["Input (px)"], majority["Accuracy published"]) == ("Majority class", "")
    assert row["Accuracy published"] == "0.97"
    accuracy = entry(read(runs), "accuracy", task="view")
    assert float(row["Accuracy mean"]) == pytest.approx(accuracy["mean"])
    assert published_view(512)["cross_entropy"].std == 0.27
    assert published_detector("RCA", "BG")["precision@IoU0.20/score0.50/max1"].mean == 0.714
    assert published_detector("all", "B") == {}


def test_every_heading_is_defined_below_its_table(reported: Path) -> None:
    html = html_of(reported)
    assert html.count("<table id=") > 12
    assert undefined(html) == {}
    bare = html.replace("<dt>Recall</dt>", "<dt>Else</dt>")
    assert undefined(bare)["table_3_detector"] == [
        *("Recall, max 1", "Recall, max 5", "Recall, any score")
    ]
    text = (reported / "report" / "report.md").read_text()
    for page in (html.replace("<dt>", "").replace("</dt> <dd>", ": "), text.replace("**", "")):
        assert page.count("BGNL: all of these.") >= 8  # the tables of variants, comparison included
        assert page.count("max 1: of each frame counts the box of highest score") >= 4


def test_a_tables_own_meaning_goes_before_that_of_all_tables() -> None:
    row = Row(("1", "2", "3", Value(mean=1, ci95=(0, 2))))
    table = Table(
        name="t",
        caption="",
        columns=("Recall, max 1", "A", "B", "Kappa, view"),
        rows=(row,),
        meanings={"A, B": "ours", "Recall": "of a class", "Label": "of a row"},
    )
    glossary = {"A": "theirs", "Recall": "of lesions", "max 1": "one", "low to high": "interval"}
    assert table.terms(glossary | {"Precision": "unused"}) == {
        "Recall": "of a class",
        "max 1": "one",
        "A, B": "ours",
        "Label": "of a row",
        "low to high": "interval",
    }


def test_an_unfinished_study_says_what_is_missing(runs: Path) -> None:
    name = "detector-LCA-BG-128-fold4"
    shutil.rmtree(runs / name)
    failed = "view-64-fold1"
    fail(runs, failed, "the loss is not finite (at step 20/30, /home/doe/runs/x.json, s3://b/x/y)")
    running = "view-96-fold3"
    (runs / running / "result.json").unlink()
    html = write_report(runs).read_text()
    header = html[html.index("<header>") : html.index("</header>")]
    assert f"1 run is missing because of a failure: {failed} (the loss is not finite" in header
    assert f"{name} (not started)" in header
    assert f"{running} (still running, or stopped, at step 3500)" in header
    assert "27 of 30 runs are finished" in header
    missing = {row["name"]: row["reason"] for row in read(runs)["missing"]}
    assert set(missing) == {name, failed, running}
    shared = "the loss is not finite (at step 20/30, x.json, s3://b/x/y)"
    assert missing[failed] == f"failed: {shared}"
    assert entry(read(runs), RECALL, view="LCA", variant="BG")["folds"][4] is None


def test_a_study_without_any_result_still_has_a_page(runs: Path) -> None:
    for folder in runs.glob("*-fold*"):
        shutil.rmtree(folder)
    html = write_report(runs).read_text()
    assert "0 of 30 runs are finished" in html
    assert read(runs)["metrics"] == []


def test_a_cohort_that_is_gone_is_named_and_means_remain(runs: Path) -> None:
    document = json.loads((runs / "study.json").read_text())
    document["cohort"]["folder"] = str(runs.parent / "gone")
    (runs / "study.json").write_text(json.dumps(document))
    html = write_report(runs).read_text()
    assert "The cohort &#39;gone&#39; was not found" in html
    row = entry(read(runs), RECALL, view="RCA", variant="B")
    assert row["mean"] is not None and row["ci95"] is None
    cards = [path.read_text() for path in (runs / "report" / "model_cards").iterdir()]
    assert all("was not at hand" in card and "gone" not in card for card in cards)


def test_another_cohort_is_not_mistaken_for_the_studys(runs: Path) -> None:
    document = json.loads((runs / "study.json").read_text())
    document["cohort"]["digest"] = "0" * 64
    (runs / "study.json").write_text(json.dumps(document))
    assert "is not the one that the study was made with" in write_report(runs).read_text()


def test_shared_patients_and_rejected_files_are_told(reported: Path) -> None:
    html = html_of(reported)
    both = (
        "Cines of one patient lie on both sides of the folds of the view classifiers (cut by "
        "sequence; 10 patients are on both), so that their metrics may be better than they would "
        "be on new patients."
    )
    assert html.count(both) == 3  # a bullet for each classifier, and the section on folds
    assert "The folds of the RCA detectors are cut by patient; no patient lies on both" in html
    assert "2 of 22 source files were rejected" in html
    with (reported / "report" / "balance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["Sequences"] == "16 / 4"
    assert rows[0]["Validation sequences"] == "LCA 2, RCA 2"


def test_the_markdown_and_the_settings_say_the_same(reported: Path) -> None:
    text = (reported / "report" / "report.md").read_text()
    row = entry(read(reported), RECALL, view="RCA", variant="B")
    assert f"{row['mean']:.2f} ± {row['std']:.2f}" in text
    assert "python -m angioray.cv cohort --all-folds --config runs/report/settings.yaml" in text
    assert "batch_size: 32" in (reported / "report" / "settings.yaml").read_text()


def test_it_names_what_is_no_runs_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it has no study\.json"):
        write_report(tmp_path)
    with pytest.raises(ValueError, match="or does not exist"):
        write_report(tmp_path / "nowhere")


def test_the_command_prints_tables_and_the_page(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(report, prog="python -m angioray.report", argv=[str(runs)])
    printed = capsys.readouterr().out
    assert "Stenosis detection on frames held out" in printed
    assert printed.rstrip().endswith("report.html")


def test_the_command_says_in_a_sentence_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_command(report, prog="python -m angioray.report", argv=[str(tmp_path / "no")])
    assert stopped.value.code == 2
    assert "is no runs folder: it has no study.json, or does not exist" in capsys.readouterr().err


def test_grad_cam_of_a_network_small_enough_for_paper() -> None:
    # Two channels are the image and its negative; the class weighs their means by 3 and -1, so
    # the channels' weights are 3/4 and -1/4: the map is 3/4 x + 1/4 x = x, then its positive part.
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer4 = nn.Conv2d(1, 2, 1, bias=False)
            self.fc = nn.Linear(2, 2, bias=False)
            self.layer4.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
            self.fc.weight.data = torch.tensor([[3.0, -1.0], [0.0, 0.0]])

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(self.layer4(images).mean(dim=(2, 3)))

    model = Small()
    images = torch.tensor([[[[4.0, -2.0], [1.0, 0.0]]]])
    maps, logits = grad_cam(model, images, 0, model.layer4)
    assert logits.tolist() == [[3.0, 0.0]]  # the mean is 3/4
    assert maps.tolist() == [[[1.0, 0.0], [0.25, 0.0]]]
    assert grad_cam(model, images, 1, model.layer4)[0].abs().max() == 0
    assert model.training
    model.requires_grad_(False)
    assert grad_cam(model, images, 0, model.layer4)[0].max() == 1


def test_random_weights_change_the_maps_of_a_network_that_looks_at_its_weights() -> None:
    from angioray.models.classifier import view_classifier

    torch.manual_seed(1)
    model = view_classifier("resnet18", "none", 2).eval()
    random = randomised(model)
    again = randomised(model)
    for first, second in zip(random.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(random.layer4[0].conv1.weight, model.layer4[0].conv1.weight)
    images = torch.randn(2, 1, 64, 64)
    maps, others = (grad_cam(m, images, 0, m.layer4)[0] for m in (model, random))
    assert not torch.allclose(maps, others)


def test_map_correlations_by_hand() -> None:
    ramp = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    maps = torch.cat([ramp, ramp, ramp])
    others = torch.cat([2 * ramp + 1, 3 - ramp, torch.ones_like(ramp)])
    found = map_correlations(maps, others)
    assert found[:2].tolist() == pytest.approx([1, -1])
    assert found[2].isnan()


def test_the_sanity_check_speaks_plainly() -> None:
    assert "depend on what was learnt" in sanity([0.1, -0.2, float("nan")])
    assert "draw no conclusion" in sanity([0.9, 0.8])
    assert "cannot be said" in sanity([float("nan")])


def test_the_page_shows_what_the_classifier_sees(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from angioray.inference import trained
    from angioray.models.classifier import view_classifier

    checkpoint = runs / "view-64-fold0" / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text("{}")
    monkeypatch.setattr(
        trained, "load_classifier", lambda folder: view_classifier("resnet18", "none", 2)
    )
    html = write_report(runs).read_text()
    assert html.count('aria-label="Grad-CAM.') == 8
    assert html.count("The same frame with random weights") >= 4
    assert "Sanity check: the maps correlate with those of random weights by" in html


def test_weights_that_cannot_be_read_do_not_stop_the_report(runs: Path) -> None:
    checkpoint = runs / "view-64-fold0" / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text("{}")
    assert "There is no Grad-CAM at 64 px" in write_report(runs).read_text()


def test_curves_by_hand() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
    truth = {1: np.array([a, b])}
    found = {1: (np.array([a, (80, 0, 90, 10), b]), np.array([0.9, 0.8, 0.7]))}
    fold = match_frames(truth, found, [1, 2])
    precision = precision_recall([fold])
    assert precision is not None
    assert precision.mean[precision.x <= 0.5] == pytest.approx(1)
    assert precision.mean[precision.x > 0.5] == pytest.approx(2 / 3)
    froc = free_response([fold, fold])
    assert froc is not None
    assert froc.mean[froc.x < 0.499] == pytest.approx(0.5)  # one false box in two frames
    assert froc.mean[froc.x > 0.501] == pytest.approx(1)
    assert precision_recall([match_frames({}, {}, [1])]) is None
    assert free_response([match_frames({}, {}, [1])]) is None


def test_stills_without_patients_are_called_that(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", patients=5, stills=True)
    runs = write_study(tmp_path / "runs", cohort, variants=("B",), sizes=())
    html = write_report(runs).read_text()
    assert "No sensitivity of the RCA detectors can be guaranteed" in html
    assert read(runs)["guaranteed_sensitivity"] == []
    header = html[html.index("<header>") : html.index("</header>")]
    assert "Grouping by patient was impossible" in header
    assert "on 10 stills whose sources name no patients." in header
    card = json.loads((runs / "report" / "model_cards" / "detector-RCA-B-128.json").read_text())
    assert card["cohort"]["patients_on_both_sides"] == "may lie"
    assert sum("both sides" in limit for limit in card["limits"]) == 1
    text = (runs / "report" / "model_cards" / "detector-RCA-B-128.md").read_text()
    assert "It is not known whether patients lie on both sides of a fold." in text
    assert "10 stills whose sources name no patients; 5 of the sequences" in text
    assert "No patient lies on both sides" not in text
    shutil.rmtree(cohort.folder)
    write_report(runs)
    card = json.loads((runs / "report" / "model_cards" / "detector-RCA-B-128.json").read_text())
    assert card["cohort"]["patients_on_both_sides"] == "may lie"
    assert any("(each sequence counts as a patient of its own)" in said for said in card["limits"])


def test_each_final_model_has_a_card(reported: Path) -> None:
    cards = reported / "report" / "model_cards"
    names = {path.stem for path in cards.glob("*.json")}
    assert names == {
        *("view-64", "view-96"),
        *(f"detector-{view}-{variant}-128" for view in CLASSES for variant in ("B", "BG")),
    }
    card = json.loads((cards / "detector-RCA-B-128.json").read_text())
    assert len(card["members"]) == FOLDS
    assert (card["cohort"]["patients"], card["cohort"]["kept_together"]) == (10, "patient")
    recall = next(m for m in card["metrics"] if m["metric"] == RECALL)
    assert recall["mean"] == entry(read(reported), RECALL, view="RCA", variant="B")["mean"]
    assert any("no such number" in limit for limit in card["limits"])
    assert any("10 patients are too few" in limit for limit in card["limits"])
    text = (cards / "detector-RCA-B-128.md").read_text()
    assert f"> **{RESEARCH}**" in text and f"{recall['mean']:.3f}" in text
    assert "all 10 sequences that were held out from one of them have trained others" in text
    assert "5 folds, cut by patient. No patient lies on both sides of a fold." in text
    view = (cards / "view-64.md").read_text()
    assert "5 folds, cut by sequence. Patients lie on both sides of a fold." in view
    assert "of the folds of the view classifiers (cut by sequence; 10 patients are on both)" in view
    assert str(reported) not in text + json.dumps(card)


def test_a_card_says_what_the_finished_folds_show(runs: Path) -> None:
    """One fold is no ensemble; a sequence in no training part of a finished fold is still new."""
    document = json.loads((runs / "study.json").read_text())
    folds = document["splits"]["detector/RCA"]["folds"]
    alone = folds[1]["validation"][0]
    folds[0]["train"].remove(alone)
    (runs / "study.json").write_text(json.dumps(document))
    for fold in (2, 3, 4):
        shutil.rmtree(runs / f"detector-RCA-B-128-fold{fold}")
    write_report(runs)
    card = runs / "report" / "model_cards" / "detector-RCA-B-128.md"
    assert (
        "3 of the 4 sequences that were held out from one of them have trained" in card.read_text()
    )
    shutil.rmtree(runs / "detector-RCA-B-128-fold1")
    write_report(runs)
    text = card.read_text()
    assert "The metrics are of the one fold model that is finished" in text
    assert "ensemble" not in text


def compared(runs: Path, other: Path) -> tuple[str, dict[str, Any]]:
    argv = [str(runs), str(other)]
    run_command(report, prog="python -m angioray.report", argv=argv)
    folder = runs / "report" / f"against-{other.name}"
    document = json.loads((folder / "comparison.json").read_text())
    return (folder / "comparison.html").read_text(), document


def test_two_studies_are_compared_on_the_same_patients(
    runs: Path, cohort: Cohort, tmp_path: Path
) -> None:
    other = write_study(tmp_path / "other", cohort, variants=("B",), sizes=(64,), luck=100)
    settings = json.loads((other / "study.json").read_text())
    settings["settings"]["detector"]["steps"] = 7000
    (other / "study.json").write_text(json.dumps(settings))
    html, document = compared(runs, other)
    assert document["same_cohort"] is True
    found = document["comparisons"]
    assert {(c["task"], c["view"]) for c in found} == {
        *(("view", ""), ("detector", "RCA"), ("detector", "LCA"))
    }
    for row in found:
        few = row["metric"] == "cross_entropy"
        assert row["patients"] == 10 and (row["ci95"] is None) == few
    assert any(row["difference"] for row in found)
    assert "detector.steps" in html and "7000" in html and "Their folds are the same." in html
    assert undefined(html) == {}
    back, opposite = compared(other, runs)
    assert "other against runs" in back
    of = {(c["task"], c["view"], c["metric"]): c["difference"] for c in found}
    for row in opposite["comparisons"]:
        assert row["difference"] == pytest.approx(-of[row["task"], row["view"], row["metric"]])


def test_studies_of_different_cohorts_stand_side_by_side(runs: Path, tmp_path: Path) -> None:
    elsewhere = write_cohort(tmp_path / "elsewhere", patients=6)
    other = write_study(tmp_path / "other", elsewhere, variants=("B",), sizes=(64,))
    html, document = compared(runs, other)
    assert document == {**document, "same_cohort": False, "comparisons": []}
    assert "were made on different cohorts" in html
    assert "Each study by itself: detectors" in html
    assert (runs / "report" / "against-other" / "side_by_side_detector.csv").is_file()


def test_a_study_is_not_compared_with_itself(runs: Path) -> None:
    with pytest.raises(ValueError, match="are the same study"):
        write_comparison(runs, runs)


def test_differences_have_signs_and_nothing_is_minus_nothing() -> None:
    assert Value(mean=-0.071, ci95=(-0.2, 0.001), signed=True).main == "−0.07"
    assert Value(mean=0.071, ci95=(-0.2, 0.061), signed=True).interval == "−0.20 to +0.06"
    assert Value(mean=-0.001, signed=True).main == "0.00"
    assert Value(mean=0.5, std=0.1, ci95=(0.4, 0.6)).main == "0.50 ± 0.10"
    assert Value(mean=None, signed=True).main == "–"


@pytest.mark.parametrize("phantoms", [0, 3, 12])
def test_phantoms_are_said_above_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], phantoms: int
) -> None:
    cohort = write_cohort(tmp_path / "cohort", patients=6, phantoms=phantoms)
    runs = write_study(tmp_path / "runs", cohort, variants=("B",), sizes=(64,))
    shutil.rmtree(cohort.folder)  # what the study has written down is enough
    run_command(report, prog="python -m angioray.report", argv=[str(runs)])
    banner = phantom_notice(phantoms, 12)
    assert read(runs)["study"]["cohort"]["phantoms"] == phantoms
    texts = {
        "terminal": capsys.readouterr().out.replace("\n", " "),
        "page": html_of(runs),
        "markdown": (runs / "report" / "report.md").read_text(),
        "card": (runs / "report" / "model_cards" / "view-64.md").read_text(),
        "card as data": (runs / "report" / "model_cards" / "view-64.json").read_text(),
    }
    for name, text in texts.items():
        assert ("Phantom data" in text) is bool(phantoms), name
        assert banner in text, name
    assert all(RESEARCH in unescape(text) for name, text in texts.items() if name != "terminal")
    body = texts["page"].partition("</a>")[2].strip()
    assert body.startswith('<aside class="phantom"' if phantoms else "<header>")


def test_a_comparison_says_which_study_has_phantoms(runs: Path, tmp_path: Path) -> None:
    for name, phantoms, expected in (
        ("simulated", 12, f"simulated: {phantom_notice(12, 12)}"),
        ("real", 0, ""),
    ):
        cohort = write_cohort(tmp_path / f"cohort-{name}", patients=6, phantoms=phantoms)
        other = write_study(tmp_path / name, cohort, variants=("B",), sizes=(64,))
        html, _ = compared(runs, other)
        assert expected in html and ("Phantom data" in html) is bool(expected)


def test_names_of_views_are_text_wherever_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    cohort = write_cohort(tmp_path / "cohort", patients=6, views=HOSTILE_VIEWS)
    runs = write_study(tmp_path / "runs", cohort, variants=("B",), sizes=(64,))
    run_command(report, prog="python -m angioray.report", argv=[str(runs)])
    printed = capsys.readouterr().out
    assert all(name in printed for name in HOSTILE_VIEWS)

    words = words_of(html_of(runs))
    for name in HOSTILE_VIEWS:
        assert f"{name} detectors at IoU" in words, "a caption"
        assert f"{name}: precision and recall" in words, "a title of a figure"
    folder = runs / "report"
    pages = [folder / "report.md", *(folder / "model_cards").glob("*.md")]
    assert len(pages) == 4
    for page in pages:
        html = MarkdownIt("commonmark").enable("table").render(page.read_text())
        words_of(html)
        assert all(name in unescape(html) for name in HOSTILE_VIEWS) or "detector-" in page.name


def test_a_listing_cannot_end_its_own_fence() -> None:
    html = MarkdownIt().render(fenced("a: '```'\n<img>", "yaml"))
    assert unescape(html).split(">", 2)[2].startswith("a: '```'\n<img>\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "[]"),
        ("result.json", '{"metrics": {"cross_entropy": "x"}}'),
        ("metrics.jsonl", '{"step": "x", "loss": 1}\n'),
        ("metrics.jsonl", "3\n"),
        ("predictions.json", "[1]"),
        ("predictions.json", '[{"image_id": 999999, "probabilities": {}}]'),
        ("evaluated_images.json", "[999999]"),
        ("evaluated_images.json", "null"),
    ],
)
def test_a_file_of_a_run_that_holds_something_else_is_named(
    runs: Path, name: str, content: str
) -> None:
    run = "detector-LCA-B-128-fold0" if name.startswith("eval") else "view-64-fold0"
    (runs / run / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{run}/{name} is not what was written \("):
        write_report(runs)
