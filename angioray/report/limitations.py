"""The limits of a study, as far as its own facts show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from angioray.report.findings import Findings
from angioray.report.headline import few_patients
from angioray.report.healthy import of_whom
from angioray.report.page import Section, Text
from angioray.report.runs import ReportedStudy
from angioray.report.study_facts import StudyFacts
from preprocess.cohort import BoxSource, Cohort, Verdict, read_manifest
from preprocess.console.words import counted

EXCLUDED = {
    "implant": "with implants",
    "pacemaker": "with a pacemaker",
    "ifr_wire": "that show a pressure wire",
    "other": "excluded for other reasons",
}
"""What sequences of each exclusion are, in words."""


def limitations_section(findings: Findings) -> Section:
    """The limits, one paragraph each."""
    return Section(
        anchor="limitations",
        title="Limitations",
        blocks=tuple(Text(sentence) for sentence in limitations(findings)),
    )


def limitations(findings: Findings) -> list[str]:
    """What limits the study, as sentences: none that is not true of it."""
    study, cohort = findings.study, findings.cohort
    said = [study.banner, *_of_study(study)]
    if cohort is not None:
        facts = findings.facts
        said += [*_of_patients(study, cohort, facts), *_of_labels(cohort, facts)]
        said += [*_of_healthy(findings), *_of_readers(findings)]
    return [sentence for sentence in said if sentence]


def _of_study(study: ReportedStudy) -> Iterator[str]:
    yield few_patients(study)
    yield (
        "No model was judged on patients of another cohort. The cohort does not name centres, so "
        "that it is not known here whether they are one or several."
    )
    yield (
        "The cohort holds neither age nor sex of its patients: how results differ by them is not "
        "known."
    )
    if study.missing:
        yield (
            f"{len(study.missing)} of {counted(len(study.runs), 'run')} have no result; all values "
            "are of the finished folds."
        )
    if study.document["settings"].get("seeds", 1) == 1:
        yield (
            "Each model was trained once in each fold: how much results change with the seed of "
            "training is not known."
        )


def _of_patients(study: ReportedStudy, cohort: Cohort, facts: StudyFacts) -> Iterator[str]:
    if facts.unknown_patients:
        yield (
            "The sources name no patients, so that stills of one patient may lie on both sides of "
            "a fold; results may be better than they would be on new patients."
        )
    elif facts.shared:
        yield (
            f"In the split of {' and of '.join(facts.shared)}, patients lie on both sides of a "
            "fold: results may be better than they would be on new patients."
        )
    if facts.stills:
        yield (
            f"{facts.stills} of {counted(facts.sequences, 'sequence')} are stills: on them nothing "
            "is known of contrast, or of a lesion through time."
        )
    by_reference = facts.settings.detector.judged_frames == "reference"
    if "detector" in facts.tasks and facts.stills < facts.sequences and by_reference:
        yield (
            "Detectors were judged on reference frames alone, which were chosen because the artery "
            "is well seen there; on other frames of a cine they may do worse."
        )
    finished = any(run.task == "detector" and run.result for run in study.runs)
    if finished and not (facts.healthy and facts.judged_on_healthy):
        yield (
            "Detectors were judged on sequences with lesions alone: how often they mark a healthy "
            "artery is not known."
        )
    left_out = Counter(row.exclude for row in read_manifest(cohort.folder) if row.exclude)
    if left_out:
        named = [f"{EXCLUDED.get(why, why)} ({count})" for why, count in left_out.most_common()]
        yield (
            f"Sequences {', '.join(named)} were left out: the results say nothing of such cines."
        )


def _of_labels(cohort: Cohort, facts: StudyFacts) -> Iterator[str]:
    everything = counted(facts.sequences, "sequence")
    for what, count in facts.proposed.items():
        yield (
            f"The {what} of {count} of {everything} were proposed from the pixels and checked by "
            "nobody."
        )
    used = [box for box in cohort.boxes if box.verdict is not Verdict.LOST]
    if tracked := sum(box.source is BoxSource.TRACKED for box in used):
        yield (
            f"{tracked} of {len(used)} boxes were placed by tracking, not by a reader; models "
            "learn from them too."
        )
    if 0 < facts.ifr < facts.sequences:
        yield f"The iFR is known of {facts.ifr} of {everything}; these may differ from the others."


def _of_healthy(findings: Findings) -> Iterator[str]:
    """What specificity is of; variants of a view are judged on the same frames."""
    yield from dict.fromkeys(map(of_whom, findings.detectors))


def _of_readers(findings: Findings) -> Iterator[str]:
    if not findings.readers and not findings.readers_problem:
        yield (
            "The cohort has no second reading: how far another reader would mark the same lesions "
            "is not known."
        )
