"""The systems of a study beside its own detector: their numbers, and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from angioray.evaluation.healthy import FRAME_AUC
from angioray.models.settings import NAMED_WEIGHTS
from angioray.report.comparisons import Comparison, compare_detectors, comparison_table
from angioray.report.evidence import DetectorEvidence
from angioray.report.page import Block, Section
from angioray.report.results import DETECTOR_COLUMNS, HEADINGS, folds_of, values_of
from angioray.report.runs import Group
from angioray.report.tables import Row, Table
from angioray.study.settings import OWN
from preprocess.console.words import describe_value

if TYPE_CHECKING:
    from angioray.report.findings import Findings

COLUMNS = (*DETECTOR_COLUMNS, FRAME_AUC)


def systems_section(findings: Findings) -> Section | None:
    """The systems and the study's own detector; None where it compares none."""
    table = systems_table(findings)
    if table is None:
        return None
    blocks: list[Block] = [table]
    differences = comparison_table(
        findings.system_comparisons, "comparison_systems", "systems", _meanings(findings)
    )
    if differences is not None:
        blocks.append(differences)
    return Section(anchor="systems", title="Systems compared", blocks=tuple(blocks))


def systems_table(findings: Findings) -> Table | None:
    """The study's own detector and each system, view by view; None where it compares none."""
    if not findings.systems:
        return None
    own = [(group, found) for group, found in findings.scored if group.task == "detector"]
    shown = [*own, *((group, found) for group, _, found in findings.systems)]
    rows = [
        Row(
            (
                *(view, group.system or OWN, group.variant),
                *(*values_of(found, COLUMNS, {}), folds_of(group)),
            )
        )
        for view in dict.fromkeys(group.view for group, _ in shown)
        for group, found in shown
        if group.view == view
    ]
    return Table(
        name="systems",
        caption="Detectors under the same folds",
        columns=(
            *("View", "System", "Variant"),
            *(*(HEADINGS[name] for name in COLUMNS), "Folds"),
        ),
        rows=tuple(rows),
        note=_other_folds(shown),
        meanings=_meanings(findings),
    )


def compare_systems(
    detectors: tuple[DetectorEvidence, ...], systems: tuple[DetectorEvidence, ...]
) -> tuple[Comparison, ...]:
    """Each system less the study's own detector, of its variant if there is one, else the first."""
    found: list[Comparison] = []
    for system in systems:
        view, variant = system.group.view, system.group.variant
        own = [each for each in detectors if each.group.view == view]
        same = [each for each in own if each.group.variant == variant]
        for other in (same or own)[:1]:
            found += compare_detectors(system, other, system.group.system, OWN)
    return tuple(found)


def _other_folds(shown: Iterable[tuple[Group, Any]]) -> str:
    """A sentence on rows that are not of the folds of the study's own detector; empty if none."""
    folds: dict[str, set[int]] = {}
    others = []
    for group, _ in shown:
        finished = {run.fold for run in group.finished}
        if finished != folds.setdefault(group.view, finished) and finished:
            others.append(f"{group.view} {group.system or group.variant}")
    if not others:
        return ""
    return (
        f"{', '.join(others)}: the finished folds are others than those of the first row of the "
        "view, so that these rows cannot be compared; the differences below are of the frames that "
        "both judged."
    )


def _meanings(findings: Findings) -> dict[str, str]:
    settings = findings.study.document["settings"]
    systems, own = settings["systems"], settings["detector"]
    return {
        OWN: f"the study’s own detector: {own['architecture']} over {own['backbone']}, frames of "
        f"{own['size']} px",
        **{name: f"the same with {describe_system(of)}" for name, of in systems.items()},
    }


def describe_system(settings: Mapping[str, Any]) -> str:
    """In which settings a system differs from the study's own detector."""
    return ", ".join(_differing(settings))


def _differing(settings: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Nested settings in words, by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _differing(value, f"{above}{name}.")
        elif name == "weights" and value not in NAMED_WEIGHTS:
            yield "weights from a file"  # whose path may name somebody
        else:
            yield f"{above}{name} {describe_value(value)}"
