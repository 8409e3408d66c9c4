"""The methods text and the limits: they follow the settings and the cohort, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from angioray.report.checklists import checklist_answers
from angioray.report.findings import Findings
from angioray.report.limitations import limitations
from angioray.report.methods import methods, methods_markdown, methods_section
from angioray.report.page import Listing
from angioray.report.runs import ReportedStudy
from preprocess.cohort import BoxSource, Cohort, Verdict, update_attributes, write_annotations
from tests.angioray.synthetic_study import write_cohort, write_study


def findings_of(folder: Path, **settings: Any) -> Findings:
    """Of a study without results, whose settings are changed."""
    document = json.loads((folder / "runs" / "study.json").read_text())
    document["settings"] |= settings
    (folder / "runs" / "study.json").write_text(json.dumps(document))
    study = ReportedStudy.open(folder / "runs")
    cohort, problem = study.cohort()
    assert not problem
    return Findings.of(study, cohort)


def prepare(folder: Path, cohort: Cohort) -> Path:
    names = [f"detector-{v}-B-128-fold{f}" for v in ("LCA", "RCA") for f in range(5)]
    names += [f"view-64-fold{f}" for f in range(5)]
    write_study(folder / "runs", cohort, variants=("B",), sizes=(64,), leave_out=names)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepare(tmp_path, write_cohort(tmp_path / "cohort"))


def test_the_text_has_the_values_of_the_study(folder: Path) -> None:
    detector = {"steps": 1234, "batch_size": 9, "focal_alpha": 0.4, "variants": ["B", "BGNL"]}
    optimiser = {"name": "adamw", "learning_rate": 3e-5, "warmup_steps": 77, "decay": "cosine"}
    said = methods(findings_of(folder, detector=detector | {"optimiser": optimiser}, seed=17))
    assert list(said) == [
        *("Cohort", "Reference standard", "Preprocessing", "Data partitions", "View classifier"),
        *("Stenosis detectors", "Evaluation", "Statistical analysis", "Software"),
    ]
    for heading, expected in (
        ("Cohort", "X-ray coronary angiography has 20 sequences of 10 patients"),
        ("Cohort", "Of 22 source files 2 were left out"),
        ("Cohort", "a median of 12 frames (range 12 to 12); all have 240."),
        ("Data partitions", "detectors of LCA have 5 folds; no patient lies on both sides of one"),
        (
            "Data partitions",
            "Cines of one patient lie on both sides of the folds of the view class",
        ),
        ("Data partitions", "with the seed 17"),
        ("Stenosis detectors", "trained for 1234 steps of 9 frames, with AdamW (learning rate "),
        ("Stenosis detectors", "learning rate 3e-05, weight decay 0.0004, 77 warm-up steps, cos"),
        ("Stenosis detectors", "alpha 0.4, gamma 2"),
        ("Stenosis detectors", "boxes (B) or B with both (BGNL)."),
        ("View classifier", "a resnet50 that takes one grey frame and began with weights learned "),
        ("View classifier", "30 epochs in batches of 32 frames, in the first 15 its last stage"),
        ("Evaluation", "Detectors were judged on the reference frame of each sequence"),
    ):
        assert expected in said[heading], heading
    assert "seeds" not in said["Statistical analysis"] and "healthy" not in said["Evaluation"]
    repeated = methods(findings_of(folder, seeds=3, detector={"validation_share": 0.25}))
    assert repeated["Statistical analysis"].startswith("Each fold was trained with 3 seeds;")
    assert "About one in 4 of the training patients" in repeated["Stenosis detectors"]
    other = {"judged_frames": "optimal", "weights": "/home/somebody/weights.pt"}
    changed = methods(findings_of(folder, detector=other, splits="published"))
    assert "Folds were given" in checklist_answers(findings_of(folder), [])["imbalance"]
    assert "all frames with full contrast" in changed["Evaluation"]
    assert "weights from a file" in changed["Stenosis detectors"]
    assert "published train and validation parts" in changed["Data partitions"]
    assert "seed" not in changed["Data partitions"]
    assert "somebody" not in str(changed)


def test_the_page_and_the_file_say_the_same(folder: Path) -> None:
    findings = findings_of(folder)
    shown = methods_section(findings).blocks[1]
    assert isinstance(shown, Listing)
    assert shown.text.split() == methods_markdown(findings).split()
    assert max(map(len, shown.text.splitlines())) <= 88


def test_images_have_no_headers_and_what_was_proposed_is_told(tmp_path: Path) -> None:
    stills = write_cohort(tmp_path / "cohort", stills=True)
    images = findings_of(prepare(tmp_path, stills))
    said = methods(images)
    for word in ("header", "DICOM", "pseudonym"):
        assert word not in said["Preprocessing"]
    assert "20 sequences came as image files" in said["Preprocessing"]
    assert "has 20 stills whose sources name no patients" in said["Cohort"]
    assert "no still lies on both sides" in said["Data partitions"]
    for number, cine in enumerate(stills.sequences.values()):
        proposed = {"phases_proposed": number < 3, "reference_proposed": number < 2}
        update_attributes(stills.folder, replace(cine, **FROM_DICOM, **proposed))
    found = replace(images, cohort=Cohort.open(stills.folder))
    said = methods(found)
    assert "window of their header" in said["Preprocessing"]
    assert "Patients have pseudonyms" in said["Preprocessing"]
    assert "image files" not in said["Preprocessing"]
    answers = checklist_answers(found, [])
    assert answers["missing"] == (
        "The contrast intervals of 3 sequences were proposed from the pixels. "
        "The reference frames of 2 sequences were proposed from the pixels."
    )
    assert answers["dates"].startswith("The cohort holds the year of 20 sequences, and no dates.")
    assert "Philips (20)" in answers["acquisition"]
    assert "focal" in answers["imbalance"] and answers["privacy"] == "“Preprocessing”."


FROM_DICOM: dict[str, Any] = {
    "transfer_syntax_uid": "1.2.840.10008.1.2.1",
    "manufacturer": "Philips",
    "year": 2019,
}
FEW = "10 patients are too few to conclude anything from these numbers."
SHARED = "In the split of view, patients lie on both sides of a fold: results may be better"


def test_limits_are_those_of_this_study(folder: Path) -> None:
    said = limitations(findings_of(folder))
    assert said[0] == FEW
    assert any(sentence.startswith(SHARED) for sentence in said)
    assert any("with a pacemaker (1) were left out" in sentence for sentence in said)
    assert any(sentence.startswith("15 of 15 runs have no result") for sentence in said)
    for word in ("lesions alone", "hantom", "still", "proposed", "tracking", "name no patients"):
        assert word not in " ".join(said)
    assert any("judged on reference frames alone" in sentence for sentence in said)
    optimal = limitations(findings_of(folder, detector={"judged_frames": "optimal"}))
    assert not any("reference frames alone" in sentence for sentence in optimal)


def test_limits_of_stills_phantoms_and_tracked_boxes(tmp_path: Path) -> None:
    stills = write_cohort(tmp_path / "cohort", stills=True, phantoms=20)
    said = " ".join(limitations(findings_of(prepare(tmp_path, stills))))
    for words in (
        "No real patient is shown: all 20 sequences",
        "The sources name no patients",
        "20 of 20 sequences are stills",
    ):
        assert words in said
    assert "reference frames alone" not in said and SHARED not in said
    cohort = write_cohort(tmp_path / "tracked" / "cohort")
    boxes = [
        box
        if cohort.sequences[box.sequence_id].reference_frame == box.frame_index
        else replace(box, source=BoxSource.TRACKED, confidence=0.9)
        for box in cohort.boxes
    ]
    boxes[0] = replace(boxes[0], verdict=Verdict.LOST)
    write_annotations(cohort.folder, list(cohort.sequences.values()), boxes)
    tracked = prepare(tmp_path / "tracked", Cohort.open(cohort.folder))
    count = len(boxes)
    assert (
        f"{count * 5 // 6 - 1} of {count - 1} boxes were placed by tracking, not by a reader; "
        "models learn from them too."
    ) in limitations(findings_of(tracked))
