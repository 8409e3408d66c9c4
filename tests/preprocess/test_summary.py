"""What the summary counts, finds and shows, by hand and in a browser."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_cohort import box, sequence, still, write_drawn, write_drawn_cohort
from test_table_1 import EXPECTED

from preprocess.cohort import (
    BoxSource,
    Cohort,
    Sequence,
    Verdict,
    read_manifest,
    update_attributes,
)
from preprocess.summary import SummarySettings, summary
from preprocess.summary.anchors import AnchorFit, anchor_sides, best_iou, box_sides
from preprocess.summary.angles import angle_outliers, in_words
from preprocess.summary.contact_sheet import chosen_frames, contact_sheet
from preprocess.summary.findings import findings
from preprocess.summary.tally import Tally

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_drawn_cohort(tmp_path / "cohort")


def test_the_anchors_are_the_papers() -> None:
    sides = anchor_sides()
    assert len(sides) == 5 * 12
    assert [32, 32] in sides.tolist()
    assert [16, 64] in sides.tolist(), "4:1 is four times as high as wide"
    assert np.isclose(sides, [32 * 2**0.5 * 2**0.5, 32 * 2**0.5 / 2**0.5]).all(axis=1).any()


def test_best_iou_by_hand() -> None:
    boxes = [(32, 32), (16, 16), (10, 12), (128, 4), (1024, 1024)]
    # 16 x 16 in 32 x 32: 256 / 1024. 10 x 12: 120 / 1024, for all the smallest have that area.
    # 128 x 4 against 90.5 x 45.3 (ratio 1:2, 64 px): 362 / (512 + 4096 - 362).
    wide = 90.5097 * 4
    by_hand = [1, 0.25, 120 / 1024, wide / (512 + 4096 - wide), 1]
    assert best_iou(np.array(boxes, float))[[0, 1, 2, 4]] == pytest.approx(
        [by_hand[i] for i in (0, 1, 2, 4)]
    )
    assert best_iou(np.array(boxes, float))[3] >= by_hand[3]


def test_best_iou_is_that_of_the_best_of_all_anchors() -> None:
    sides = np.random.default_rng(0).uniform(4, 700, (50, 2))
    for (width, height), best in zip(sides, best_iou(sides), strict=True):
        overlaps = []
        for w, h in anchor_sides():
            shared = min(width, w) * min(height, h)
            overlaps.append(shared / (width * height + w * h - shared))
        assert best == pytest.approx(max(overlaps))


def test_shares_of_boxes_without_an_anchor() -> None:
    sides = np.array([(32, 32), (32, 14), (21, 21), (16, 16)], float)
    # 32 x 14 against 45.25 x 22.63: 448 / 1024 = 0.4375. 21 x 21 against 32 x 32: 441 / 1024.
    fit = AnchorFit.of(sides)
    assert fit is not None
    assert (fit.boxes, fit.below_foreground, fit.below_background) == (4, 0.75, 0.25)
    assert fit.median_side_px == pytest.approx(math.sqrt((441 + 448) / 2))
    assert AnchorFit.of(np.empty((0, 2))) is None


def test_box_sides_are_scaled_per_axis_and_leave_lost_boxes_out(tmp_path: Path) -> None:
    drawn = write_drawn(
        tmp_path,
        [sequence("S1", "P1", "RCA")],
        [box("S1", 4, 1), box("S1", 5, 1, BoxSource.TRACKED, Verdict.LOST)],
    )
    assert box_sides(drawn.boxes, drawn.sequences).tolist() == [[512 * 10 / 32, 512 * 12 / 32]]


def placed(view: str, primary: float, secondary: float, name: str) -> Sequence:
    at = {"primary_angle_deg": primary, "secondary_angle_deg": secondary}
    return replace(sequence(name, name, view), **at)


def test_a_left_view_where_only_right_ones_lie_is_named() -> None:
    right = [placed("RCA", 40 + i % 5, i // 5, f"R{i}") for i in range(10)]
    left = [placed("LCA", -30 + i % 5, -25 + i // 5, f"L{i}") for i in range(10)]
    wrong = placed("LCA", 42, 1, "wrong")
    assert angle_outliers([*right, *left]) == {}
    assert angle_outliers([*right, *left, wrong]) == {
        "wrong": "labelled LCA, but of 10 others within 10° of LAO 42 CRA 1, 10 are RCA"
    }


def test_few_neighbours_are_no_evidence() -> None:
    # Of 21, 11 are left: 4 neighbours happen not to be with probability (10 / 21)^4 = 0.051.
    right = [placed("RCA", 40 + i, 0, f"R{i}") for i in range(4)]
    more = [placed("RCA", 0, 30 + i, f"M{i}") for i in range(6)]
    left = [placed("LCA", -30 + i, -25, f"L{i}") for i in range(10)]
    assert angle_outliers([*right, *more, *left, placed("LCA", 42, 1, "doubtful")]) == {}
    fifth = placed("RCA", 44, 0, "R4")
    found = angle_outliers([*right, fifth, *more, *left, placed("LCA", 42, 1, "doubtful")])
    assert list(found) == ["doubtful"], "(11 / 22)^5 = 0.031"


def test_chance_is_binomial_and_bears_thousands() -> None:
    from preprocess.summary.angles import _out_of_place

    # P(at most 1 of 100 at a share of 0.05) = 0.95^100 + 100 * 0.05 * 0.95^99 = 0.0371.
    assert _out_of_place(1, 100, 0.05)
    assert not _out_of_place(1, 90, 0.05), "0.95^90 + 90 * 0.05 * 0.95^89 = 0.0567"
    assert not _out_of_place(3, 100, 0.5), "three of a hundred are too many"
    assert _out_of_place(100, 6000, 0.3)


def test_a_sequence_far_from_all_others_is_named() -> None:
    others = [placed("RCA", 40 + i, 0, f"R{i}") for i in range(5)]
    alone = placed("RCA", -80, 0, "alone")
    assert angle_outliers([*others, alone]) == {
        "alone": "RAO 80 CRA 0 is 120° from the nearest other sequence"
    }
    assert angle_outliers([alone]) == {}


def test_angles_in_words() -> None:
    assert in_words(placed("RCA", -30.4, -20.6, "S")) == "RAO 30 CAU 21"
    assert in_words(sequence("S", "P", "RCA")) == ""


def test_every_kind_of_finding(tmp_path: Path) -> None:
    tracked = BoxSource.TRACKED
    sequences = [
        replace(sequence("healthy", "P", "RCA", healthy=True), reference_frame=4),
        sequence("no_box", "P", "RCA"),
        sequence("lost", "P", "RCA"),
        sequence("half_lost", "P", "RCA"),
        replace(sequence("reference", "P", "RCA"), reference_frame=8),
        sequence("elsewhere", "P", "RCA"),
        replace(sequence("short", "P", "RCA"), vanishing_start=5),
        replace(
            sequence("unlabelled", "P", "RCA"),
            introducing_start=None,
            optimal_start=None,
            vanishing_start=None,
        ),
        sequence("view", "P", None),
        sequence("sound", "P", "RCA"),
        sequence("narrow", "P", "RCA"),
    ]
    boxes = [
        box("healthy", 4, 1),
        *(box("lost", t, 2, tracked, Verdict.LOST, 0.1) for t in (5, 6)),
        *(box("lost", t, 2, tracked) for t in (3,)),
        *(box("lost", t, 3, tracked) for t in (3, 5, 6)),
        box("lost", 4, 2),
        box("half_lost", 4, 4),
        box("half_lost", 5, 4, tracked),
        box("half_lost", 6, 4, tracked, Verdict.LOST),
        box("reference", 8, 5),
        box("elsewhere", 5, 6),
        box("short", 4, 7),
        box("unlabelled", 4, 8),
        box("view", 4, 9),
        box("sound", 4, 10),
        replace(box("narrow", 4, 11), box_xyxy=(2, 3, 3, 31)),
    ]
    found = {f.kind: dict(f.sequences) for f in findings(write_drawn(tmp_path, sequences, boxes))}
    assert found == {
        "view": {"view": "most others have one"},
        "healthy": {"healthy": "1 box"},
        "no_box": {"no_box": "draw its boxes, or label it as no_lesion"},
        "lost": {"lost": "2 of 3 tracked boxes of a lesion are lost"},
        "reference": {
            "reference": "frame 8 is outside the optimal 3 to 6",
            "elsewhere": "frame 4 has no box, other frames have",
        },
        "intervals": {"short": "optimal frames: 2 of 10"},
        "unlabelled": {"unlabelled": "most others have them"},
        "anchors": {"narrow": "16 x 448 px at 512 x 512, IoU under 0.4 with every one"},
    }


def test_stills_without_anything_give_no_finding(tmp_path: Path) -> None:
    assert findings(write_drawn(tmp_path, [still("A"), still("B")], [])) == []


def test_the_tally_counts_tracked_boxes_by_view(cohort: Cohort) -> None:
    tally = Tally.of(cohort, read_manifest(cohort.folder))
    assert tally.tracked == {
        "RCA": {"good": 1, "check": 1, "lost": 0},
        "LCA": {"good": 0, "check": 0, "lost": 1},
    }
    assert tally.all_tracked == {"good": 1, "check": 1, "lost": 1}
    assert {view: fit.boxes for view, fit in tally.anchors.items()} == {"RCA": 5, "LCA": 1}
    assert tally.doubted == {"S2"}
    said = " ".join(tally.sentences())
    assert "4 sequences of 2 patients are in the cohort; 6 of 10 source files were rejected" in said
    assert "1 lost (33.3 %). Lost boxes are not trained on." in said
    assert "the contrast intervals of 1 sequences and the reference frame of 0." in said


@pytest.mark.parametrize(
    ("optimal", "reference", "doubtful", "expected"),
    [
        ((20, 41), 30, {}, [20, 22, 25, 30, 35, 40]),
        ((20, 41), 30, {22: 0.3, 33: 0.1, 39: 0.2}, [20, 25, 30, 33, 36, 39]),
        ((20, 41), None, {}, [20, 22, 25, 30, 35, 40]),
        ((20, 41), 3, {}, [3, 21, 25, 30, 35, 40]),
        ((20, 22), 20, {}, [0, 10, 20, 27, 34, 49]),
    ],
)
def test_chosen_frames(
    optimal: tuple[int, int], reference: int | None, doubtful: dict[int, float], expected: list[int]
) -> None:
    cine = replace(
        sequence("S", "P", "RCA"),
        length=50,
        optimal_start=optimal[0],
        vanishing_start=optimal[1],
        reference_frame=reference,
    )
    boxes = [
        box("S", t, 1, BoxSource.TRACKED, Verdict.CHECK, confidence)
        for t, confidence in doubtful.items()
    ]
    chosen = chosen_frames(cine, boxes, 6)
    assert chosen == sorted(set(chosen)) and len(chosen) == 6
    assert chosen == expected


def test_a_short_cine_is_shown_whole() -> None:
    assert chosen_frames(sequence("S", "P", "RCA"), [], 20) == list(range(10))
    assert chosen_frames(still("S"), [], 6) == [0]


def test_a_sheet_tells_where_each_box_comes_from(cohort: Cohort) -> None:
    boxes = [found for found in cohort.boxes if found.sequence_id == "S1"]
    sheet = contact_sheet(cohort, cohort.sequences["S1"], boxes, [], count=4)
    assert sheet.worst == "check"
    assert [p.caption for p in sheet.pictures] == [
        "frame 3",
        "frame 4, reference",
        "frame 5, check 0.50",
        "frame 6, good 1.00",
    ]
    assert sheet.pictures[1].alt == "Frame 4 of S1: reference, reference box"
    intervals, first, second = sheet.courses
    assert intervals.paths["optimal"] == "M3 0h4v1h-4z"
    assert first.paths["check"] == "M5 1v-0.5h1v0.5z"
    assert first.words == "1 reference, 1 check, 1 good; lowest confidence 0.50 in frame 5"
    assert set(second.paths) == {"reference", "reference pale"}


def test_summary_writes_the_table_and_a_page_without_network(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    summary(cohort.folder, SummarySettings(sequences=2, frames=3))
    said = capsys.readouterr().out
    assert "With Implants" in said
    assert "Lost boxes are not trained on." in said
    assert "Next: " in said
    document = json.loads((cohort.folder / "summary.json").read_text())
    assert document["table_1"][0]["sequences"] == 6
    assert document["tracked_boxes"] == {"good": 1, "check": 1, "lost": 1}
    assert document["rejected"]["excluded: implant"] == 1
    assert document["findings"] == {"lost": {"S2": "1 of 1 tracked boxes of a lesion are lost"}}
    with (cohort.folder / "summary.csv").open() as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    assert "".join(",".join(row) + "\n" for row in rows) == EXPECTED
    page = (cohort.folder / "summary.html").read_text()
    assert re.findall(r'<article id="s-(\w+)"', page) == ["S2", "S1"], "the doubtful one first"
    assert page.count("data:image/jpeg;base64,") == 6
    assert not re.search(r'(?:src|href)="(?!#|data:)|url\((?!#)|@import', page)


def test_the_same_cohort_gives_the_same_page(cohort: Cohort) -> None:
    summary(cohort.folder, SummarySettings())
    once = {p.name: p.read_bytes() for p in cohort.folder.glob("summary.*")}
    summary(cohort.folder, SummarySettings())
    assert once == {p.name: p.read_bytes() for p in cohort.folder.glob("summary.*")}
    assert len(once) == 3


def test_view_names_cannot_break_the_page(tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    write_drawn(tmp_path, [placed(odd, 30, 20, "S1")], [box("S1", 4, 1)])
    summary(tmp_path, SummarySettings())
    page = (tmp_path / "summary.html").read_text()
    assert page.count("<script>") == 1, "the page's own"
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "settings", [{"ifr_threshold": 1.0}, {"sequences": -1}, {"frames": 0}], ids=str
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        SummarySettings(**settings)  # type: ignore[arg-type]


def opened(page: Path, script: str = "") -> dict[str, str]:
    """Open a page in Chromium, run ``script`` in it, and read what it noted on the body."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed, so that the page cannot be opened in a browser.")
    copy = page.with_name("opened.html")
    html = page.read_text().replace("</body>", f"<script>{script}</script></body>")
    copy.write_text(html)
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=3000"),
            *("--dump-dom", copy.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    body = re.search(r"<body([^>]*)>", done.stdout)
    assert body, "the page has no body"
    return dict(re.findall(r'data-(\S+)="([^"]*)"', body[1]))


FILTERS = """
const form = document.getElementById("filters");
const shown = () => [...document.querySelectorAll("article")]
  .filter((sheet) => sheet.getClientRects().length).map((sheet) => sheet.id.slice(2)).join(" ");
const note = (name) => { document.body.dataset[name] = shown(); };
const choose = (name, change) => {
  form.reset();
  queueMicrotask(() => queueMicrotask(() => {
    change(form.elements);
    form.dispatchEvent(new Event("input"));
    note(name);
  }));
};
const steps = [
  ["rca", (e) => { e.view.selectedIndex = 1; }],
  ["lca", (e) => { e.view.selectedIndex = 2; }],
  ["lost", (e) => { e.worst.value = "lost"; }],
  ["untracked", (e) => { e.worst.value = "none"; }],
  ["found", (e) => { e.found.value = "any"; }],
  ["kind", (e) => { e.found.value = "lost"; }],
  ["proposed", (e) => { e.proposed.checked = true; }],
  ["patient", (e) => { e.words.value = " p2 "; }],
  ["none", (e) => { e.words.value = "P3"; }],
];
note("all");
steps.forEach(([name, change], i) => setTimeout(() => choose(name, change), 50 * i));
setTimeout(() => {
  document.body.dataset.nothing = String(!document.getElementById("nothing").hidden);
  document.body.dataset.counted = form.querySelector("output").textContent;
  location.hash = "#s-S2";
}, 1000);
setTimeout(() => note("linked"), 1200);
"""


def test_the_page_opens_and_filters_in_a_browser(cohort: Cohort) -> None:
    summary(cohort.folder, SummarySettings())
    noted = opened(cohort.folder / "summary.html", FILTERS)
    assert noted == {
        "all": "S2 S1 S3 S4",
        "rca": "S1 S3 S4",
        "lca": "S2",
        "lost": "S2",
        "untracked": "S3 S4",
        "found": "S2",
        "kind": "S2",
        "proposed": "S2",
        "patient": "S3 S4",
        "none": "",
        "nothing": "true",
        "counted": "0 of 4 shown",
        "linked": "S2 S1 S3 S4",
    }


def test_a_cohort_of_bare_stills_opens_too(tmp_path: Path) -> None:
    write_drawn(tmp_path, [still("A"), still("B")], [])
    summary(tmp_path, SummarySettings())
    html = (tmp_path / "summary.html").read_text()
    for sentence in (
        "The cohort has no manifest",
        "No sequence tells the angles",
        "No box was tracked",
        "No sequence has a box.",
        "No cine of more than one frame has contrast intervals.",
        "No sequence has an iFR.",
        "The checks of this page found nothing.",
    ):
        assert sentence in html
    note = 'document.body.dataset.sheets = document.querySelectorAll("article").length;'
    assert opened(tmp_path / "summary.html", note) == {"sheets": "2"}


def test_a_cohort_of_one_cine_with_everything_can_be_drawn(tmp_path: Path) -> None:
    one = replace(placed("RCA", 30, 0, "S"), ifr=(0.95,))
    drawn = write_drawn(tmp_path, [one], [box("S", 4, 1)])
    update_attributes(tmp_path, replace(one, vanishing_start=10))
    summary(tmp_path, SummarySettings(frames=1))
    html = (tmp_path / "summary.html").read_text()
    assert [name for name in ("angles", "sizes", "phases", "ifr") if f'<figure id="{name}"' in html]
    assert html.count("<img") == 1
    assert len(drawn.boxes) == 1


def test_only_the_page_needs_what_draws() -> None:
    code = "import sys, preprocess.__main__; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_damaged_frames_end_in_a_sentence(cohort: Cohort) -> None:
    shard = cohort.folder / "frames.zarr" / "S1" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match="are damaged"):
        summary(cohort.folder, SummarySettings())
