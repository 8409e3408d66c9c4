"""Doubts about labels, on a toy cohort and on run folders whose predictions are written by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preprocess.cohort import (
    BoxSource,
    Cohort,
    Verdict,
    store_cine,
    update_attributes,
    write_annotations,
)
from preprocess.review.doubts import OF_FINDINGS, Doubt, doubts
from preprocess.summary.findings import CHECKS
from preprocess.tracking.boxes import BoxXyxy
from tests.toy_cohort import write_toy_cohort

REFERENCE = 4
Found = dict[str, list[tuple[BoxXyxy, float]]]
"""Boxes and scores by sequence."""
FAR_AWAY = {True: (0.0, 48.0, 14.0, 62.0), False: (0.0, 0.0, 14.0, 14.0)}
"""A place that no lesion of the toy is on, by whether the lesion is in the upper half."""


class Study:
    """A runs folder that is written run by run, in the files that angioray writes."""

    def __init__(self, folder: Path, cohort: Cohort) -> None:
        self.folder, self._cohort, self._runs = folder, cohort, list[dict[str, Any]]()
        folder.mkdir()

    def add_detector(self, found: Found, *, variant: str = "B", finished: bool = True) -> Path:
        """A fold whose detector was judged on these sequences."""
        rows = [
            {"image_id": self._image(s), "category_id": 1, "bbox": _xywh(box), "score": score}
            for s, boxes in found.items()
            for box, score in boxes
        ]
        return self._add("detector", variant, 64, list(found), rows, finished)

    def add_classifier(self, rca: dict[str, float], *, size: int = 64) -> Path:
        """A fold whose classifier gave these probabilities of RCA."""
        rows = [
            {"image_id": self._image(s), "probabilities": {"LCA": 1 - p, "RCA": p}}
            for s, p in rca.items()
        ]
        return self._add("view", "", size, list(rca), rows, True)

    def _add(
        self, task: str, variant: str, size: int, judged: list[str], rows: list[Any], done: bool
    ) -> Path:
        name = f"{task}-{variant or size}-fold0"
        run = {"task": task, "view": "", "variant": variant, "size": size, "fold": 0, "seed": 0}
        self._runs.append({**run, "name": name})
        folder = self.folder / name
        folder.mkdir()
        images = [self._image(s) for s in judged]
        (folder / "predictions.json").write_text(json.dumps(rows))
        (folder / "evaluated_images.json").write_text(json.dumps(images))
        if done:
            (folder / "result.json").write_text(json.dumps({"schema_version": 1, **run}))
        document = {
            "schema_version": 1,
            "cohort": {"digest": self._cohort.digest, "contents": self._cohort.contents},
            "view_classes": {"RCA": "RCA", "LCA": "LCA"},
            "runs": self._runs,
        }
        (self.folder / "study.json").write_text(json.dumps(document))
        return folder

    def _image(self, sequence_id: str) -> int:
        return self._cohort.image_id(sequence_id, REFERENCE)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """20 sequences with a box each, S00RCA to S09LCA, and 4 healthy ones."""
    return write_toy_cohort(tmp_path / "cohort")


@pytest.fixture
def study(tmp_path: Path, cohort: Cohort) -> Study:
    """A study of it, still without runs."""
    return Study(tmp_path / "runs", cohort)


def test_a_clean_cohort_and_a_study_that_agrees_give_no_doubt(cohort: Cohort, study: Study) -> None:
    study.add_detector(agreeing(cohort))
    study.add_classifier({s: float(s.endswith("RCA")) for s in boxed(cohort)})
    assert doubts(cohort, None) == doubts(cohort, study.folder) == {}


def test_a_box_that_no_detector_finds(cohort: Cohort, study: Study) -> None:
    study.add_detector(agreeing(cohort) | {"S03RCA": []})
    assert doubts(cohort, study.folder) == {
        "S03RCA": [
            Doubt(
                kind="not_found",
                words="in frame 4, the detector finds nothing like the box that a reader drew at "
                + place(box_of(cohort, "S03RCA")),
                weight=0.02 / (0.02 + 1 / 20),
                frame_index=4,
                box_xyxy=box_of(cohort, "S03RCA"),
            )
        ]
    }


def test_a_box_that_is_found_with_a_low_score_only(cohort: Cohort, study: Study) -> None:
    box = box_of(cohort, "S03RCA")
    study.add_detector(agreeing(cohort) | {"S03RCA": [(box, 0.12)]})
    [doubt] = doubts(cohort, study.folder)["S03RCA"]
    assert doubt.kind == "not_found"
    assert doubt.words == (
        f"in frame 4, the detector finds the box at {place(box)} with a score of only 0.12"
    )


def test_a_box_that_a_sure_detector_finds_is_not_doubted(cohort: Cohort, study: Study) -> None:
    """However much surer it is of all the others."""
    found = {s: [(box_of(cohort, s), 0.99)] for s in boxed(cohort)}
    study.add_detector(found | {"S03RCA": [(box_of(cohort, "S03RCA"), 0.6)]})
    assert doubts(cohort, study.folder) == {}


def test_a_box_that_a_less_sure_detector_draws_too_is_looked_at(
    cohort: Cohort, study: Study
) -> None:
    """One of 14 x 14 px beside it by 10 px has IoU 1/6, one beside it by 5 px 9/19."""
    x1, y1, x2, y2 = box = box_of(cohort, "S03RCA")
    other, nearer = ((x1 + by, y1, x2 + by, y2) for by in (10, 5))
    study.add_detector(agreeing(cohort) | {"S03RCA": [(other, 0.99), (nearer, 0.08)]})
    assert words_of(cohort, study, "S03RCA")[0] == (
        f"in frame 4, instead of the box at {place(box)}, the detector finds one of 14 x 14 px, "
        "its centre 5 px away (score 0.08, overlap as IoU 0.47)"
    )


def test_of_several_detectors_those_that_find_a_box_are_counted(
    cohort: Cohort, study: Study
) -> None:
    found = agreeing(cohort)
    one, two, none, beside = (box_of(cohort, f"S0{n}RCA") for n in range(4))
    x1, y1, x2, y2 = beside
    near: BoxXyxy = (x1 + 5, y1, x2 + 5, y2)
    undrawn = far_from(box_of(cohort, "S05LCA"))
    alone = {"S00RCA": [(one, 0.95)], "S05LCA": [*found["S05LCA"], (undrawn, 0.9)]}
    either = {"S01RCA": [(two, 0.5)], "S02RCA": [], "S03RCA": [(near, 0.9)]}
    study.add_detector(found | either | alone, variant="B")
    either |= {"S01RCA": [(two, 0.3)], "S05LCA": [*found["S05LCA"], (undrawn, 0.6)]}
    study.add_detector(found | either | {"S00RCA": []}, variant="BG")
    nobody: Found = {f"S0{n}RCA": [] for n in range(4)}
    study.add_detector(found | nobody, variant="BGNL")
    said = [words_of(cohort, study, name)[0] for name in (*sorted(nobody), "S05LCA")]
    assert said == [
        f"in frame 4, 1 of 3 detectors finds the box at {place(one)} with a score of 0.95",
        f"in frame 4, 2 of 3 detectors find the box at {place(two)} with a score of only 0.40 "
        "on average",
        f"in frame 4, 3 detectors find nothing like the box that a reader drew at {place(none)}",
        f"in frame 4, 2 of 3 detectors find a box like the box at {place(beside)}; the best match "
        "is one of 14 x 14 px, its centre 5 px away (score 0.90, overlap as IoU 0.47)",
        f"in frame 4, 2 of 3 detectors find a lesion at {place(undrawn)} with score 0.75 on "
        "average; no reader drew one there",
    ]


def test_of_several_classifiers_those_that_name_another_view_are_counted(
    cohort: Cohort, study: Study
) -> None:
    right = {s: float(s.endswith("RCA")) for s in boxed(cohort)}
    study.add_classifier(right | {"S02RCA": 0.05}, size=64)
    study.add_classifier(right | {"S02RCA": 0.6}, size=96)
    assert words_of(cohort, study, "S02RCA") == [
        "labelled RCA, but 1 of 2 classifiers names it LCA with probability 0.95"
    ]


@pytest.mark.parametrize("found", [True, False])
def test_a_tracked_box_is_not_called_drawn(cohort: Cohort, study: Study, found: bool) -> None:
    """After a review moved the reference frame, a study has judged a frame that was tracked to."""
    box = box_of(cohort, "S03RCA")
    study.add_detector(agreeing(cohort) | {"S03RCA": [(box, 0.12)] if found else []})
    boxes = [
        replace(b, source=BoxSource.TRACKED if b.frame_index == REFERENCE else b.source)
        for b in cohort.boxes
    ]
    write_annotations(cohort.folder, cohort.sequences.values(), boxes)
    update_attributes(cohort.folder, replace(cohort.sequences["S03RCA"], reference_frame=6))
    [words] = words_of(Cohort.open(cohort.folder), study, "S03RCA")
    assert words == (
        f"in frame 4, the detector finds the tracked box at {place(box)} with a score of only 0.12"
        if found
        else f"in frame 4, the detector finds nothing like the tracked box at {place(box)}"
    )


def test_a_lesion_that_no_reader_drew(cohort: Cohort, study: Study) -> None:
    found = agreeing(cohort)
    elsewhere = far_from(box_of(cohort, "S05LCA"))
    found["S05LCA"].append((elsewhere, 0.93))
    found["S06LCA"].append((far_from(box_of(cohort, "S06LCA")), 0.4))
    study.add_detector(found)
    said = doubts(cohort, study.folder)
    assert said["S05LCA"] == [
        Doubt(
            kind="undrawn",
            words=f"in frame 4, the detector finds a lesion at {place(elsewhere)} with score 0.93; "
            "no reader drew one there",
            weight=0.02 / (0.02 + 1 / 20),
            frame_index=4,
            box_xyxy=elsewhere,
        )
    ]
    assert said["S06LCA"][0].weight == 0.02 / (0.02 + 2 / 20)  # two are found as surely


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ((5, 0, 5, 0), "one of 14 x 14 px, its centre 5 px away (score 0.90, overlap as IoU 0.47)"),
        (
            (0, 0, -6, -2),
            "one of 8 x 12 px, its centre 3 px away (score 0.90, overlap as IoU 0.49)",
        ),
        # It fits in the main, and lies beside it all the same: that is what is doubted.
        ((3, 0, 3, 0), "one of 14 x 14 px, its centre 3 px away (score 0.90, overlap as IoU 0.65)"),
    ],
)
def test_a_box_that_the_detector_draws_otherwise(
    cohort: Cohort, study: Study, moved: tuple[int, ...], words: str
) -> None:
    box = box_of(cohort, "S01LCA")
    x1, y1, x2, y2 = (side + by for side, by in zip(box, moved, strict=True))
    study.add_detector(agreeing(cohort) | {"S01LCA": [((x1, y1, x2, y2), 0.9)]})
    [doubt] = doubts(cohort, study.folder)["S01LCA"]
    assert doubt.kind == "misplaced"
    assert doubt.words == (
        f"in frame 4, instead of the box at {place(box)}, the detector finds {words}"
    )
    assert doubt.weight == 0.02 / (0.02 + 1 / 20)


def test_a_view_that_the_classifiers_name_otherwise_on_average(
    cohort: Cohort, study: Study
) -> None:
    right = {s: float(s.endswith("RCA")) for s in boxed(cohort)}
    study.add_classifier(right | {"S02RCA": 0.1, "S04LCA": 0.9}, size=64)
    study.add_classifier(right | {"S02RCA": 0.3, "S04LCA": 0.0}, size=96)
    assert doubts(cohort, study.folder) == {
        "S02RCA": [
            Doubt(
                kind="other_view",
                words="labelled RCA, but 2 classifiers name it LCA with probability 0.80 on "
                "average",
                weight=0.05 / (0.05 + 1 / 20),
            )
        ]
    }


def test_the_detectors_of_all_variants_are_asked(cohort: Cohort, study: Study) -> None:
    """One of two finds it: it is as doubtful as a box that both find with half the score."""
    box = box_of(cohort, "S01RCA")
    found = agreeing(cohort)
    study.add_detector(found | {"S00RCA": [], "S01RCA": [(box, 0.45)]}, variant="B")
    study.add_detector(found | {"S01RCA": [(box, 0.45)]}, variant="BG")
    said = doubts(cohort, study.folder)
    assert {s: [d.weight for d in of] for s, of in said.items()} == {
        "S00RCA": [0.02 / (0.02 + 2 / 20)],
        "S01RCA": [0.02 / (0.02 + 2 / 20)],
    }
    assert said["S01RCA"][0].words.startswith("in frame 4, 2 detectors find the box")


def test_the_most_doubtful_sequence_is_first_and_its_gravest_doubt(
    cohort: Cohort, study: Study
) -> None:
    """Two lesser doubts (0.33 and 0.29, together 0.52) count for more than one of 0.50."""
    study.add_detector(agreeing(cohort) | {"S07RCA": []})
    right = {s: float(s.endswith("RCA")) for s in boxed(cohort)}
    study.add_classifier(right | {"S07RCA": 0.4, "S00RCA": 0.1})
    said = doubts(cohort, study.folder)
    assert list(said) == ["S07RCA", "S00RCA"]
    assert [doubt.kind for doubt in said["S07RCA"]] == ["other_view", "not_found"]


def test_tracking_and_the_summary_speak_without_a_study(cohort: Cohort) -> None:
    verdicts = {2: Verdict.LOST, 3: Verdict.CHECK}
    boxes = [
        replace(box, verdict=verdicts[box.frame_index], confidence=box.frame_index / 10)
        if box.sequence_id == "S00LCA" and box.frame_index in verdicts
        else box
        for box in cohort.boxes
        if box.sequence_id != "S09RCA"
    ]
    write_annotations(cohort.folder, cohort.sequences.values(), boxes)
    said = doubts(Cohort.open(cohort.folder), None)
    assert list(said) == ["S09RCA", "S00LCA"]
    assert said["S00LCA"] == [
        Doubt(
            kind="tracking",
            words="of 4 tracked boxes of a lesion, 1 lost and 1 to be checked; the least sure one, "
            "in frame 2, has confidence 0.20",
            weight=(0.3 + 0.1) / 4,
            frame_index=2,
        )
    ]
    kinds = {doubt.kind: doubt.words for doubt in said["S09RCA"]}
    assert kinds["no_box"] == (
        "No box, though not labelled as healthy: draw its boxes, or label it as no_lesion"
    )


def test_every_finding_of_the_summary_has_a_weight() -> None:
    assert set(OF_FINDINGS) == {"angles", *CHECKS}


def test_a_corrected_label_is_doubted_no_longer(cohort: Cohort, study: Study) -> None:
    found = agreeing(cohort)
    moved: BoxXyxy = far_from(box_of(cohort, "S03RCA"))
    study.add_detector(found | {"S03RCA": [(moved, 0.9)]})
    right = {s: float(s.endswith("RCA")) for s in boxed(cohort)}
    study.add_classifier(right | {"S08LCA": 0.9})
    assert {d.kind for of in doubts(cohort, study.folder).values() for d in of} == {
        "not_found",
        "undrawn",
        "other_view",
    }
    boxes = [
        replace(box, box_xyxy=moved, source=BoxSource.CORRECTED)
        if (box.sequence_id, box.frame_index) == ("S03RCA", REFERENCE)
        else box
        for box in cohort.boxes
    ]
    write_annotations(cohort.folder, cohort.sequences.values(), boxes)
    update_attributes(cohort.folder, replace(cohort.sequences["S08LCA"], view="RCA"))
    assert doubts(Cohort.open(cohort.folder), study.folder) == {}


def test_an_area_to_ignore_holds_no_undrawn_lesion(cohort: Cohort, study: Study) -> None:
    [box] = [b for b in cohort.boxes if (b.sequence_id, b.frame_index) == ("S05LCA", REFERENCE)]
    area = replace(box, box_xyxy=far_from(box.box_xyxy), instance_id=0, ignored=True)
    write_annotations(cohort.folder, cohort.sequences.values(), [*cohort.boxes, area])
    found = agreeing(cohort)
    found["S05LCA"].append((area.box_xyxy, 0.93))
    study.add_detector(found)
    assert doubts(Cohort.open(cohort.folder), study.folder) == {}


def test_an_unfinished_run_is_passed_over(cohort: Cohort, study: Study) -> None:
    study.add_detector(agreeing(cohort) | {"S03RCA": []}, finished=False)
    assert doubts(cohort, study.folder) == {}


def test_a_study_fits_a_cohort_that_has_lost_one_cine_to_a_review_and_got_another(
    cohort: Cohort, study: Study
) -> None:
    """Image ids are counted through the cines of the study, of which an excluded one is stored."""
    study.add_detector(agreeing(cohort) | {"S03RCA": []})
    newer = replace(cohort.sequences["S00RCA"], sequence_id="S00AAA")
    store_cine(cohort.folder, newer, cohort.cine("S00RCA"))
    kept = [newer, *(s for name, s in cohort.sequences.items() if name != "S00LCA")]
    boxes = [box for box in cohort.boxes if box.sequence_id != "S00LCA"]
    boxes += [replace(b, sequence_id="S00AAA") for b in boxes if b.sequence_id == "S00RCA"]
    write_annotations(cohort.folder, kept, boxes)
    said = doubts(Cohort.open(cohort.folder), study.folder)
    assert {name: [doubt.kind for doubt in of] for name, of in said.items()} == {
        "S03RCA": ["not_found"]
    }


def test_a_study_of_other_cines_is_refused(tmp_path: Path, cohort: Cohort, study: Study) -> None:
    study.add_detector(agreeing(cohort))
    other = write_toy_cohort(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="cannot be laid on this cohort, which has other boxes, p"):
        doubts(other, study.folder)
    fewer = write_toy_cohort(tmp_path / "fewer", patients=9)
    with pytest.raises(ValueError, match=r"which has 2 sequences \(S11LCA, S11RCA\) gone"):
        doubts(fewer, study.folder)


def test_a_study_that_did_not_note_its_cohort_is_refused_once_a_label_changed(
    cohort: Cohort, study: Study
) -> None:
    study.add_detector(agreeing(cohort))
    kept = json.loads((study.folder / "study.json").read_text())
    earlier = hashlib.sha256((cohort.folder / "annotations.json").read_bytes())
    for sequence in cohort.sequences.values():
        earlier.update(sequence.frames_digest.encode())
    kept["cohort"] = {"digest": earlier.hexdigest()}
    (study.folder / "study.json").write_text(json.dumps(kept))
    assert doubts(cohort, study.folder) == {}
    write_annotations(cohort.folder, cohort.sequences.values(), cohort.boxes[1:])
    with pytest.raises(ValueError, match="has other annotations or pixels since it began"):
        doubts(Cohort.open(cohort.folder), study.folder)


def test_a_folder_without_a_study_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere is no runs folder: it has no study\.json"):
        doubts(cohort, tmp_path / "nowhere")


def _no_row(rows: Any) -> Any:
    return {"rows": rows}


def _unknown_image(rows: Any) -> Any:
    return [{**rows[0], "image_id": 10**6}]


def _no_number(rows: Any) -> Any:
    return [{**rows[0], "score": float("nan")}]


@pytest.mark.parametrize("damage", [_no_row, _unknown_image, _no_number])
def test_damaged_predictions_are_named(
    cohort: Cohort, study: Study, damage: Callable[[Any], Any]
) -> None:
    file = study.add_detector(agreeing(cohort)) / "predictions.json"
    file.write_text(json.dumps(damage(json.loads(file.read_text()))))
    with pytest.raises(ValueError, match=r"fold0/predictions\.json is not what was written"):
        doubts(cohort, study.folder)


def test_boxes_on_frames_that_were_not_evaluated_change_no_doubt(
    cohort: Cohort, study: Study
) -> None:
    """Those of healthy arteries are in the same file."""
    run = study.add_detector(agreeing(cohort))
    before = doubts(cohort, study.folder)
    evaluated = json.loads((run / "evaluated_images.json").read_text())
    rows = json.loads((run / "predictions.json").read_text())
    rows.append({**rows[0], "image_id": evaluated[0] + 1, "score": 0.99})
    assert rows[-1]["image_id"] not in evaluated
    (run / "predictions.json").write_text(json.dumps(rows))
    assert doubts(cohort, study.folder) == before


def test_a_file_cut_short_and_one_that_is_gone_are_named(cohort: Cohort, study: Study) -> None:
    run = study.add_detector(agreeing(cohort))
    (run / "predictions.json").write_text("[{")
    with pytest.raises(ValueError, match=r"fold0/predictions\.json is not what was") as damaged:
        doubts(cohort, study.folder)
    assert "remove" not in str(damaged.value)  # without the file, nothing is read either
    for name in ("predictions.json", "evaluated_images.json"):
        (run / name).unlink()
        with pytest.raises(ValueError, match=rf"/{name} is missing, though its run has finished"):
            doubts(cohort, study.folder)


def boxed(cohort: Cohort) -> list[str]:
    """The sequences with a box."""
    return [name for name, sequence in cohort.sequences.items() if not sequence.no_lesion]


def box_of(cohort: Cohort, sequence_id: str) -> BoxXyxy:
    """The reader's box of a sequence."""
    [box] = cohort.boxes_by_frame[sequence_id, REFERENCE]
    return box.box_xyxy


def words_of(cohort: Cohort, study: Study, sequence_id: str) -> list[str]:
    """What is doubted about a sequence, gravest first."""
    return [doubt.words for doubt in doubts(cohort, study.folder)[sequence_id]]


def agreeing(cohort: Cohort) -> Found:
    """A detector that finds every box where the reader drew it, with a score of 0.9."""
    return {name: [(box_of(cohort, name), 0.9)] for name in boxed(cohort)}


def far_from(box: BoxXyxy) -> BoxXyxy:
    """A box of the same size that does not touch it."""
    return FAR_AWAY[box[1] < 24]


def place(box: BoxXyxy) -> str:
    """Where a box is, in words."""
    x1, y1, x2, y2 = box
    return f"x {x1:.0f} to {x2:.0f}, y {y1:.0f} to {y2:.0f}"


def _xywh(box: BoxXyxy) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
