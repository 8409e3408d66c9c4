"""Writing the report's files: JSON, HTML, Markdown, CSV tables and model cards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from angioray.report.checklists import checklists_section
from angioray.report.comparisons import comparison_rows
from angioray.report.definitions import GLOSSARY, definitions_section
from angioray.report.findings import Findings
from angioray.report.headline import headline, notices
from angioray.report.healthy import healthy_section
from angioray.report.key_frames import key_frame_rows, key_frame_section
from angioray.report.limitations import limitations_section
from angioray.report.methods import METHODS_FILE, methods_markdown, methods_section
from angioray.report.model_cards import WITHOUT_COHORT, write_model_cards
from angioray.report.page import Page, Section
from angioray.report.published import PAPER_IN_SHORT
from angioray.report.reproducibility import (
    SETTINGS_FILE,
    again_section,
    settings_yaml,
)
from angioray.report.results import detector_table, view_table
from angioray.report.runs import ReportedRun, ReportedStudy
from angioray.report.sections import (
    cohort_section,
    detection_section,
    folds_section,
    pictures_section,
    severity_section,
    training_section,
    two_step_section,
    view_section,
)
from angioray.report.segmentation import outlined_lesions, segmentation_section
from angioray.report.sensitivity import guaranteed_sensitivities, sensitivity_section
from angioray.report.systems import systems_section, systems_table
from angioray.report.tables import Table
from angioray.report.variance import variance_section
from preprocess.storage import Location, Storage

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Written:
    """A page that was written, and what the terminal shows of it."""

    html: Path
    """Of one in an object store, a copy on this machine."""
    tables: list[Table]
    banner: str


def write_report(runs: Location) -> Path:
    """Write the report of a runs folder into its ``report`` folder, finished or not.

    Returns:
        The path of ``report.html``; of a copy on this machine where it is in an object store.

    Raises:
        ValueError: ``runs`` is no runs folder.
    """
    return write_report_and_tables(runs).html


def write_report_and_tables(runs: Location) -> Written:
    """:func:`write_report`, and the tables of results for the terminal."""
    study = ReportedStudy.open(runs)
    cohort, problem = study.cohort()
    findings = Findings.of(study, cohort)
    sections = [
        cohort_section(study, cohort),
        view_section(findings),
        detection_section(findings),
        systems_section(findings),
        healthy_section(findings),
        sensitivity_section(findings),
        two_step_section(findings),
        severity_section(findings),
        segmentation_section(findings),
        key_frame_section(findings),
        pictures_section(findings),
        limitations_section(findings),
        folds_section(study, cohort),
        variance_section(findings),
        training_section(study),
        definitions_section(),
        methods_section(findings),
        again_section(study),
    ]
    shown = [section for section in sections if section is not None]
    page = Page(
        title="Coronary angiography: views and stenoses",
        subtitle=_subtitle(study),
        headline=headline(study, cohort, findings.scored),
        notices=(*findings.weaknesses, *notices(study, cohort, problem)),
        sections=(*shown, checklists_section(findings, shown)),
        banner=study.banner,
        glossary=GLOSSARY,
    )
    folder = study.folder / "report"
    shared = notices(study, cohort, WITHOUT_COHORT if cohort is None else problem)
    write_model_cards(folder / "model_cards", study, cohort, findings.predicting(), shared)
    folder.write_json("report.json", _document(study, findings))
    for table in _tables(page.sections):
        folder.write_text(f"{table.name}.csv", table.csv())
    folder.write_text(SETTINGS_FILE, settings_yaml(study))
    folder.write_text(METHODS_FILE, methods_markdown(findings))
    folder.write_text("report.md", page.markdown())
    folder.write_text("report.html", page.html())
    results = (
        *(view_table(findings.scored), detector_table(findings.scored)),
        systems_table(findings),
    )
    tables = [table for table in results if table is not None]
    return Written(html=here(folder, "report.html"), tables=tables, banner=page.banner)


def here(folder: Storage, page: str) -> Path:
    """Where a browser on this machine finds a page that was just written."""
    copy = folder.local_copy(page)
    copy.need(page)
    return copy.path / page


def _subtitle(study: ReportedStudy) -> str:
    folds = {len(cut["folds"]) for cut in study.document["splits"].values()}
    counted = " or ".join(map(str, sorted(folds)))
    seeds = study.document["settings"].get("seeds", 1)
    each = f", {seeds} seeds a fold" if seeds > 1 else ""
    return (
        f"{counted}-fold cross-validation{each} after the protocol of {PAPER_IN_SHORT}; "
        f"{len(study.runs)} runs, reported by angioray"
    )


def _document(study: ReportedStudy, findings: Findings) -> dict[str, Any]:
    """``report.json``."""
    states = Counter(run.state for run in study.runs)
    return {
        "schema_version": SCHEMA_VERSION,
        "study": {
            "cohort": study.cohort_facts,
            "splits_sha256": study.document["splits_sha256"],
            "settings": study.document["settings"],
            "runs": {
                "planned": len(study.runs),
                **{state: states[state] for state in ("finished", "failed", "unfinished")},
            },
        },
        "metrics": [
            estimate.as_json() for _, found in findings.scored for estimate in found.values()
        ],
        "comparisons": comparison_rows(findings.comparisons),
        "systems": [
            {"system": group.system, **estimate.as_json()}
            for group, _, found in findings.systems
            for estimate in found.values()
        ],
        "system_comparisons": comparison_rows(findings.system_comparisons),
        "guaranteed_sensitivity": [each.as_json() for each in guaranteed_sensitivities(findings)],
        "two_step": [row for result in findings.two_steps for row in result.as_json()],
        "segmentation": [row for part in outlined_lesions(findings)[0] for row in part.rows()],
        "severity": [row for severity in findings.severity for row in severity.rows],
        "key_frames": key_frame_rows(findings),
        "agreement": [row for pair in findings.readers for row in pair.as_json()],
        "missing": [_missing(run) for run in study.missing],
    }


def _missing(run: ReportedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "task": run.task,
        "view": run.view,
        "variant": run.variant,
        "size": run.size,
        "system": run.system,
        "fold": run.fold,
        "repeat": run.repeat,
        "reason": run.reason_missing,
    }


def _tables(sections: tuple[Section, ...]) -> list[Table]:
    return [block for section in sections for block in section.blocks if isinstance(block, Table)]
