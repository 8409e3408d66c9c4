"""Two studies compared: paired differences on the frames that both judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from angioray.report.comparisons import (
    COMPARED_OF_DETECTORS,
    COMPARED_OF_VIEWS,
    Comparison,
    compare_detectors,
    compare_views,
    comparison_rows,
    comparison_tables,
)
from angioray.report.definitions import GLOSSARY, VARIANTS
from angioray.report.estimates import Estimate
from angioray.report.findings import Findings
from angioray.report.headline import notices
from angioray.report.page import Block, Page, Section, Text, plain_table
from angioray.report.results import HEADINGS
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Row, Table, Value
from angioray.report.writing import Written, here
from angioray.study.differences import differences
from preprocess.storage import FolderStorage, Location, Storage, open_storage

SCHEMA_VERSION = 1
_Key = tuple[str, str, str, int]


def write_comparison(runs: Location, against: Location) -> Written:
    """Compare two studies and write the page into the first one's ``report`` folder.

    Raises:
        ValueError: one of them is no runs folder, or they are one and the same, or they have no
            view and variant in common.
    """
    folders = [_resolved(location) for location in (runs, against)]
    if folders[0] == folders[1]:
        raise ValueError(f"{runs} and {against} are the same study. Give two runs folders.")
    studies = [ReportedStudy.open(folder) for folder in folders]
    names = _names(*folders)
    opened = [study.cohort() for study in studies]
    one, other = (Findings.of(s, found) for s, (found, _) in zip(studies, opened, strict=True))
    same_cohort = studies[0].document["cohort"]["digest"] == studies[1].document["cohort"]["digest"]
    paired = list(_paired(one, other, *names)) if same_cohort else []
    tables = [*comparison_tables(paired), *_side_by_side(one, other, *names)]
    if not tables:
        raise ValueError(
            f"{runs} and {against} have no view, variant and finished run in common, so that "
            "there is nothing to compare."
        )
    page = Page(
        title=f"{names[0]} against {names[1]}",
        subtitle="Two studies, compared by angioray",
        headline=tuple(_headline(studies, same_cohort, names)),
        notices=tuple(
            f"{name}: {notice}"
            for name, study, (cohort, problem) in zip(names, studies, opened, strict=True)
            for notice in notices(study, cohort, problem)
        ),
        sections=(
            Section(anchor="differences", title="Results", blocks=tuple(tables)),
            Section(anchor="settings", title="Settings", blocks=(_settings(studies, names),)),
        ),
        banner=_banner(studies, names),
        glossary=GLOSSARY,
    )
    folder = folders[0] / "report" / f"against-{folders[1].name}"
    folder.write_json(
        "comparison.json",
        {
            "schema_version": SCHEMA_VERSION,
            "of": names[0],
            "against": names[1],
            "same_cohort": same_cohort,
            "comparisons": comparison_rows(paired),
        },
    )
    for table in tables:
        folder.write_text(f"{table.name}.csv", table.csv())
    folder.write_text("comparison.md", page.markdown())
    folder.write_text("comparison.html", page.html())
    return Written(html=here(folder, "comparison.html"), tables=tables, banner=page.banner)


def _resolved(location: Location) -> Storage:
    folder = open_storage(location)
    return FolderStorage(folder.path.resolve()) if isinstance(folder, FolderStorage) else folder


def _names(first: Storage, second: Storage) -> tuple[str, str]:
    """The folders' own names, or their parents' where those are the same."""
    if first.name != second.name:
        return first.name, second.name
    return f"{first.parent.name}/{first.name}", f"{second.parent.name}/{second.name}"


def _paired(one: Findings, other: Findings, name: str, against: str) -> Iterator[Comparison]:
    views = {evidence.group.size: evidence for evidence in other.views}
    for seen in one.views:
        if seen.group.size in views:
            size = f"{seen.group.size} px: "
            yield from compare_views(seen, views[seen.group.size], size + name, against)
    detectors = {_key(evidence.group): evidence for evidence in other.detectors}
    for found in one.detectors:
        if (same := detectors.get(_key(found.group))) is not None:
            yield from compare_detectors(found, same, f"{found.group.variant}: {name}", against)


def _side_by_side(one: Findings, other: Findings, name: str, against: str) -> Iterator[Table]:
    theirs = {_key(group): found for group, found in other.scored}
    for task, metrics in (("view", COMPARED_OF_VIEWS), ("detector", COMPARED_OF_DETECTORS)):
        rows = []
        for group, found in one.scored:
            if group.task != task or not found or not theirs.get(_key(group)):
                continue
            for study, values in ((name, found), (against, theirs[_key(group)])):
                rows.append(Row((group.title, study, *_values(values, metrics))))
        if rows:
            yield Table(
                name=f"side_by_side_{task}",
                caption=f"Each study by itself: {task}s",
                columns=("Runs", "Study", *(HEADINGS[metric] for metric in metrics)),
                rows=tuple(rows),
                meanings={
                    "Runs": "what was trained",
                    "Study": "the runs folder",
                    **({"Variant": VARIANTS} if task == "detector" else {}),
                },
            )


def _headline(
    studies: Iterable[ReportedStudy], same_cohort: bool, names: tuple[str, str]
) -> Iterator[str]:
    one, other = studies
    if same_cohort:
        yield "Both studies were made on the same cohort; differences are of the same patients."
        if one.document["splits_sha256"] == other.document["splits_sha256"]:
            yield "Their folds are the same."
        else:
            yield (
                "Their folds differ, so that the models compared on a patient were trained on "
                "different others."
            )
    else:
        yield (
            f"{names[0]} and {names[1]} were made on different cohorts: their values stand side by "
            "side, and differences between them are not differences between methods alone."
        )


def _banner(studies: Iterable[ReportedStudy], names: tuple[str, str]) -> str:
    """Once where it is the same of both studies, else by study."""
    one, other = (study.banner for study in studies)
    if one == other:
        return one
    said = zip(names, (one, other), strict=True)
    return " ".join(f"{name}: {banner}" for name, banner in said if banner)


def _settings(studies: Iterable[ReportedStudy], names: tuple[str, str]) -> Block:
    one, other = (study.document["settings"] for study in studies)
    rows = [(name, *map(str, values)) for name, *values in differences(one, other)]
    if not rows:
        return Text("The settings are the same.")
    return plain_table(
        "settings_that_differ",
        "Settings that differ",
        ("Setting", *names),
        rows,
        meanings={"Setting": "as YAML and options name it", ", ".join(names): "its values"},
    )


def _values(found: Mapping[str, Estimate], metrics: Iterable[str]) -> list[Value]:
    estimates = [found.get(metric) for metric in metrics]
    return [
        Value(mean=None) if e is None else Value(mean=e.mean, std=e.std, ci95=e.ci95)
        for e in estimates
    ]


def _key(group: Group) -> _Key:
    return group.task, group.view, group.variant, group.size
