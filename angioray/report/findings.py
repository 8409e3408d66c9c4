"""The numbers of a study, and the evidence for them, as all sections read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from angioray.evaluation.agreement import Agreement, agreements
from angioray.report.comparisons import Comparison, compare_sizes, compare_variants
from angioray.report.derived import false_box_estimates, majority_estimates
from angioray.report.estimates import Estimate, detector_intervals, estimates, view_intervals
from angioray.report.evidence import DetectorEvidence, ViewEvidence
from angioray.report.operating_points import chosen_estimates
from angioray.report.quality import weaknesses
from angioray.report.runs import Group, ReportedStudy
from angioray.report.severity import Severity
from angioray.report.study_facts import StudyFacts
from angioray.report.systems import compare_systems
from angioray.report.two_steps import TwoStepResult, two_step_results
from angioray.study.frame_index import FrameIndex
from angioray.study.readings import readings
from angioray.study.severity_questions import QUESTIONS
from preprocess.cohort import Cohort
from preprocess.console.progress import track

Evidence = ViewEvidence | DetectorEvidence


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study's numbers and the evidence that they rest on."""

    study: ReportedStudy
    cohort: Cohort | None
    views: tuple[ViewEvidence, ...]
    detectors: tuple[DetectorEvidence, ...]
    scored: tuple[tuple[Group, dict[str, Estimate]], ...]
    comparisons: tuple[Comparison, ...]
    systems: tuple[tuple[Group, DetectorEvidence | None, dict[str, Estimate]], ...]
    """The other detectors that the study compares its own with."""
    system_comparisons: tuple[Comparison, ...]
    two_steps: tuple[TwoStepResult, ...]
    severity: tuple[Severity, ...]
    """Of each question to which the cohort knows answers."""
    readers: tuple[Agreement, ...]
    """How well the cohort's readers agree; empty without two who read the same sequences."""
    readers_problem: str
    """What is wrong where that is not known; empty if nothing is."""
    weaknesses: tuple[str, ...]
    """What speaks against the use of the models, as sentences."""

    @cached_property
    def facts(self) -> StudyFacts:
        """What the study and its cohort are."""
        return StudyFacts.of(self.study, self.cohort)

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None) -> Findings:
        """Score every group, with intervals where the cohort is there."""
        views, detectors, scored, weak = [], [], [], []
        frames = None if cohort is None else FrameIndex(cohort=cohort)
        groups = (*study.groups, *study.systems)
        systems = []
        for group in track(groups, total=len(groups), label="Scoring"):
            evidence, estimated = score(study, frames, group)
            if group.system:
                assert not isinstance(evidence, ViewEvidence)
                systems.append((group, evidence, estimated))
                continue
            if isinstance(evidence, ViewEvidence):
                views.append(evidence)
            elif evidence is not None:
                detectors.append(evidence)
            scored.append((group, estimated))
            weak += weaknesses(
                group, estimated, evidence if isinstance(evidence, DetectorEvidence) else None
            )
        readers, problem = _readers(study, cohort)
        return cls(
            study=study,
            cohort=cohort,
            views=tuple(views),
            detectors=tuple(detectors),
            scored=tuple(scored),
            comparisons=(*compare_sizes(views), *compare_variants(detectors)),
            systems=tuple(systems),
            system_comparisons=compare_systems(
                tuple(detectors), tuple(each for _, each, _ in systems if each is not None)
            ),
            two_steps=tuple(two_step_results(study, views, detectors)),
            severity=tuple(
                each for question in QUESTIONS if (each := Severity.of(study, cohort, question))
            ),
            readers=readers,
            readers_problem=problem,
            weaknesses=tuple(weak),
        )

    def predicting(self) -> Iterator[tuple[Group, Evidence | None, dict[str, Estimate]]]:
        """The groups whose networks predict, with numbers of these alone: of the first seed."""
        frames = None if self.cohort is None else FrameIndex(cohort=self.cohort)
        judged: tuple[Evidence, ...] = (*self.views, *self.detectors)
        evidence = {each.group.name: each for each in judged}
        for group, estimated in self.scored:
            if len(group.by_seed) > 1 and group.members:
                yield group, *score(self.study, frames, group.by_seed[0])
            elif group.members:
                yield group, evidence.get(group.name), estimated


def score(
    study: ReportedStudy, frames: FrameIndex | None, group: Group
) -> tuple[Evidence | None, dict[str, Estimate]]:
    """The evidence of a group, and its estimates: without a cohort's frames they lack intervals."""
    if frames is None or not group.finished:
        return None, estimates(group, {})
    if group.task == "view":
        if (seen := ViewEvidence.of(group, frames, study.view_class)) is None:
            return None, estimates(group, {})
        return seen, estimates(group, view_intervals(seen)) | majority_estimates(study, seen)
    found = DetectorEvidence.of(group, frames)
    derived = chosen_estimates(found) | false_box_estimates(found)
    return found, estimates(group, detector_intervals(found)) | derived


def _readers(study: ReportedStudy, cohort: Cohort | None) -> tuple[tuple[Agreement, ...], str]:
    """How well readers agree, and why that is not known: no report fails for a reader's journal."""
    if cohort is None:
        return (), ""
    try:
        return tuple(agreements(readings(cohort, study.view_class))), ""
    except (ValueError, OSError):  # what they say holds paths, and a report is shared
        return (), (
            "What the readers of the cohort drew cannot be read, so that their agreement is not "
            "shown here; `python -m preprocess agreement COHORT` says why."
        )
