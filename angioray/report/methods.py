"""Text for the methods of a paper, with the study's own values, to be edited by its authors."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from angioray.evaluation.detection import PAPER as THRESHOLDS
from angioray.report.balance import BothSides
from angioray.report.findings import Findings
from angioray.report.page import Listing, Section, Text
from angioray.report.published import PAPER_IN_SHORT
from angioray.report.runs import ReportedStudy
from angioray.report.study_facts import StudyFacts
from angioray.report.training_methods import classifier_training, detector_training, either
from preprocess.cohort import BoxSource, Cohort, Verdict, read_manifest
from preprocess.console.words import counted
from preprocess.summary.table_1 import rejected_reasons

METHODS_FILE = "methods.md"
LINE = 88
SPLITS = {
    "published": "The published train and validation parts of the data set were used as one fold.",
    "published-test": "The published train and validation parts of the data set trained, and its "
    "test part was judged on.",
}


def methods(findings: Findings) -> dict[str, str]:
    """The paragraphs by their headings. What the study does not know stands in brackets."""
    study, cohort, facts = findings.study, findings.cohort, findings.facts
    settings, tasks = facts.settings, facts.tasks
    said = {
        "Cohort": _cohort(study, cohort, facts),
        "Reference standard": _reference(findings),
        "Preprocessing": _preprocessing(study, cohort, facts),
        "Data partitions": _partitions(study, cohort, facts),
        "View classifier": classifier_training(settings.view) if "view" in tasks else [],
        "Stenosis detectors": (
            detector_training(study, settings.detector) if "detector" in tasks else []
        ),
        "Evaluation": _evaluation(facts),
        "Statistical analysis": _statistics(findings),
        "Software": _software(study),
    }
    written = {heading: " ".join(sentences) for heading, sentences in said.items()}
    return {heading: text for heading, text in written.items() if text}


def methods_markdown(findings: Findings) -> str:
    """``methods.md``."""
    parts = [f"## {heading}\n\n{text}\n" for heading, text in methods(findings).items()]
    return "\n".join(["# Methods\n", *parts])


def methods_section(findings: Findings) -> Section:
    """The text, in lines that fit on a page."""
    lines = methods_markdown(findings).splitlines()
    wrapped = (textwrap.fill(line, LINE, break_on_hyphens=False) for line in lines)
    about = Text(
        f"A text to begin with, also in report/{METHODS_FILE}. Its values are this study's. What "
        "the study does not know stands in brackets."
    )
    text = Listing(title="Methods", text="\n".join(wrapped))
    return Section(anchor="methods", title="Methods text, ready to edit", blocks=(about, text))


def _cohort(study: ReportedStudy, cohort: Cohort | None, facts: StudyFacts) -> Iterator[str]:
    yield f"The cohort of X-ray coronary angiography has {facts.seen}."
    if cohort is not None:
        rows = read_manifest(cohort.folder)
        if rejected := rejected_reasons(rows):
            reasons = ", ".join(f"{reason} ({count})" for reason, count in rejected.items())
            yield (
                f"Of {len(rows)} source files {sum(rejected.values())} were left out, for these "
                f"reasons: {reasons}."
            )
        lengths = sorted(sequence.length for sequence in cohort.sequences.values())
        yield (
            f"A sequence has a median of {lengths[len(lengths) // 2]} frames (range {lengths[0]} "
            f"to {lengths[-1]}); all have {sum(lengths)}."
        )
    yield study.banner
    yield (
        "[Centres, dates, how patients were recruited, their age and sex, the approval of the "
        "ethics committee.]"
    )


def _reference(findings: Findings) -> Iterator[str]:
    cohort, facts = findings.cohort, findings.facts
    if cohort is None:
        return
    drawn = [box for box in cohort.boxes if box.source is not BoxSource.TRACKED]
    tracked = Counter(box.verdict for box in cohort.boxes if box.source is BoxSource.TRACKED)
    yield (
        f"Stenoses are marked on {counted(len({box.sequence_id for box in drawn}), 'sequence')}, "
        f"by {len(drawn)} reference boxes."
    )
    if tracked:
        yield (
            f"On the other frames of these sequences {tracked.total()} boxes were placed by "
            f"tracking, of which {tracked[Verdict.LOST]} were lost and not used."
        )
    if facts.healthy:
        yield f"A reader marked {counted(facts.healthy, 'sequence')} as free of lesions."
    if facts.ifr:
        ifr = "The instantaneous wave-free ratio (iFR)"
        yield f"{ifr} is known of {counted(facts.ifr, 'sequence')}."
    for what, count in facts.proposed.items():
        yield (
            f"The {what} of {counted(count, 'sequence')} were proposed from the pixels by the "
            "software."
        )
    pairs = {frozenset((pair.truth, pair.reader)) for pair in findings.readers}
    if pairs:
        yield f"The agreement of {counted(len(pairs), 'pair')} of readers was measured."
    yield "[Who read the angiograms, with what experience, knowing what of the patients.]"


def _preprocessing(study: ReportedStudy, cohort: Cohort | None, facts: StudyFacts) -> Iterator[str]:
    sizes = sorted({run.size for run in study.runs})
    window = " through the display window of their header" if facts.dicom else ""
    yield (
        f"Frames were shown as 8-bit grey pictures{window}, resized to squares of "
        f"{' or '.join(map(str, sizes))} pixels and normalised by the grey mean and "
        "standard deviation of ImageNet."
    )
    if cohort is not None:
        shapes = Counter((cine.width, cine.height) for cine in cohort.sequences.values())
        shown = [f"{w} x {h} pixels ({count})" for (w, h), count in shapes.most_common(4)]
        yield f"As acquired they have {', '.join(shown)}{' and others' if len(shapes) > 4 else ''}."
        if facts.dicom:
            yield (
                "Patients have pseudonyms, and of the DICOM headers an allow-list of technical "
                "attributes was kept."
            )
        if images := facts.sequences - facts.dicom:
            yield (
                f"{counted(images, 'sequence')} came as image files; nothing but their pixels and "
                "annotations was kept. [How the images were de-identified.]"
            )


def _partitions(study: ReportedStudy, cohort: Cohort | None, facts: StudyFacts) -> Iterator[str]:
    settings = facts.settings
    if settings.splits is not None:
        yield SPLITS.get(settings.splits, "The folds were given in a file.")
    for key, cut in study.document["splits"].items():
        what = "view classifiers" if key == "view" else f"detectors of {key.partition('/')[2]}"
        unit = "still" if facts.unknown_patients else cut["unit"]
        yield (
            f"The {what} have {counted(len(cut['folds']), 'fold')}; no {unit} lies on both sides "
            f"of one. {BothSides.of(study, cohort, key).sentence(what)}".strip()
        )
    if settings.splits is None:
        yield (
            "Folds were stratified by view class for the classifiers and by the number of lesions "
            f"for the detectors, with the seed {settings.seed}."
        )
    yield (
        "Each model was judged on the validation part of its fold; it had seen none of its "
        "sequences."
    )


def _evaluation(facts: StudyFacts) -> Iterator[str]:
    if "view" in facts.tasks:
        yield "Classifiers were judged on one frame of each sequence by accuracy and macro F1."
    if "detector" in facts.tasks:
        at = THRESHOLDS
        frames = {"reference": "the reference frame", "optimal": "all frames with full contrast"}
        judged = frames[facts.settings.detector.judged_frames]
        yield (
            f"Detectors were judged on {judged} of each sequence with lesions. A box is right if "
            f"its IoU with a lesion that no better box has found is above {at.iou:g} "
            f"(pycocotools). Recall and precision count at most {at.max_detections} boxes per "
            f"frame of a score above {at.score:g}; average precision and sensitivity by false "
            "boxes per frame (FROC) need no such score."
        )
        if facts.judged_on_healthy:
            yield (
                "On frames of healthy sequences every box is false; these are counted apart, as "
                "false boxes per frame and as specificity by sequence and patient."
            )
        yield (
            "As a baseline, five fixed boxes that find most lesions of the training part were "
            "judged in the same way."
        )


def _statistics(findings: Findings) -> Iterator[str]:
    if (seeds := findings.facts.settings.seeds) > 1:
        yield f"Each fold was trained with {seeds} seeds; its value is their mean."
    yield "Values are means and standard deviations (n - 1) over folds."
    if findings.views or findings.detectors:
        yield (
            "95 % intervals are by the jackknife over patients with Student's t, on the frames "
            "held out by all finished folds."
        )
    if findings.comparisons:
        yield (
            "Variants and input sizes were compared on the same patients by two-sided t-tests of "
            "the jackknife's errors, at 5 % after Holm's correction over each table."
        )
    else:
        yield "No hypothesis was tested."


def _software(study: ReportedStudy) -> Iterator[str]:
    packages: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    arithmetic: Counter[str] = Counter()
    for run in study.runs:
        made_in = run.read("environment.json") or {}
        packages.update(f"{name} {v}" for name, v in made_in.get("packages", {}).items() if v)
        devices.update(name if name != "cpu" else "CPU" for name in [made_in.get("device")] if name)
        arithmetic.update(filter(None, [made_in.get("forward_passes")]))
    yield f"The protocol is that of {PAPER_IN_SHORT}, carried out with angioray."
    if packages:
        yield f"Versions: {', '.join(sorted(packages))}."
    if devices:
        kind = f" in {either(sorted(arithmetic))} arithmetic" if arithmetic else ""
        yield f"Models were trained on {either(sorted(devices))}{kind}."
