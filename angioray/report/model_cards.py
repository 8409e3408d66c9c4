"""Model cards: use, data, quality and limits of each final model.

A final model is the ensemble of a group's fold models, as ``angioray.predict`` uses it. Cards are
written as JSON and Markdown (after Mitchell et al. 2019, doi:10.1145/3287560.3287596).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from angioray.report.estimates import Estimate
from angioray.report.markdown import escape, fenced
from angioray.report.quality import CUT_BY_SEQUENCE
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Value
from preprocess.storage import Storage

SCHEMA_VERSION = 1

INTENDED_USE = {
    "view": "Research on coronary angiography: naming the artery that an XA cine shows, before a "
    "detector of that view looks at it.",
    "detector": "Research on coronary angiography: proposing boxes around stenoses on contrast "
    "filled frames of XA cines of one view, for readers who look at every frame themselves.",
}
OUT_OF_SCOPE = (
    "It is no medical device. It must not be used for diagnosis, to decide on a treatment, or to "
    "spare a reader's look at a cine.",
    "Cines unlike those of the cohort: other centres and machines, implants, pacemakers, pressure "
    "wires in view, bypass grafts, other frame sizes.",
)


WITHOUT_COHORT = (
    "The cohort was not at hand when this card was made, so that its metrics have no intervals."
)
"""In place of what the report says of it, which names folders: cards are shared."""


def write_model_cards(
    folder: Storage,
    study: ReportedStudy,
    scored: Iterable[tuple[Group, Mapping[str, Estimate]]],
    notices: Sequence[str],
) -> list[str]:
    """Write a card for each group with a finished run into ``folder``; their names."""
    names = []
    for group, found in scored:
        if group.members:
            card = model_card(study, group, found, notices)
            folder.write_json(f"{card['name']}.json", card)
            folder.write_text(f"{card['name']}.md", _markdown(card))
            names.append(card["name"])
    return names


def model_card(
    study: ReportedStudy, group: Group, found: Mapping[str, Estimate], notices: Sequence[str]
) -> dict[str, Any]:
    """The card of one group's models, as JSON."""
    settings = study.document["settings"]
    first = group.members[0]
    cut = study.document["splits"][first.split_key]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": group.name,
        "model": group.title,
        "phantom_data": study.banner,
        "task": group.task,
        "view": group.view,
        "variant": group.variant,
        "input_px": group.size,
        "members": [run.name for run in group.members],
        "folds_planned": len(group.folds),
        "intended_use": INTENDED_USE[group.task],
        "out_of_scope": list(OUT_OF_SCOPE),
        "cohort": {
            **study.cohort_facts,
            "folds": len(cut["folds"]),
            "kept_together": cut["unit"],
            "sequences_of_this_model": sum(len(f["validation"]) for f in cut["folds"]),
        },
        "metrics": [
            {"metric": e.metric, "mean": e.mean, "std": e.std, "ci95": e.ci95 and list(e.ci95)}
            for e in found.values()
        ],
        "limits": [*_limits(group, cut["unit"]), *notices],
        "training": settings.get(group.task, {}),
        "seed": settings.get("seed"),
        "splits_sha256": study.document["splits_sha256"],
        "environment": first.read("environment.json"),
        "use": f"python -m angioray.predict NEW-DICOM --runs {study.folder.name}",
    }


def _limits(group: Group, unit: str) -> Iterator[str]:
    yield (
        "The metrics are of single fold models on what was held out from each. The ensemble of all "
        "folds has no such number: every patient of the cohort has trained most of its members. "
        "Judge it on other patients, with `angioray.predict` on a cohort that has readers' boxes."
    )
    yield "All patients are of one cohort; how the model does elsewhere is not known."
    if unit == "sequence":
        yield CUT_BY_SEQUENCE
    if group.task == "detector":
        yield (
            "A box counts as right from an IoU of 0.2 on: it points at a stenosis and does not "
            "measure it. It says nothing of how severe the stenosis is."
        )
        yield (
            "It was judged on frames that readers chose because a stenosis was well seen there, of "
            "patients who have one; on other frames and in healthy patients more boxes are false."
        )


def read_model_card(study: ReportedStudy, group: Group) -> dict[str, Any]:
    """The card of a group as the report wrote it.

    Raises:
        ValueError: there is none, or it is of other folds than are finished now.
    """
    where = study.folder / "report" / "model_cards"
    card: dict[str, Any] | None = where.read_json(f"{group.name}.json")
    if card is None or card.get("members") != [run.name for run in group.members]:
        raise ValueError(
            f"{where} has no card of {group.name} with the folds that are finished now. Make the "
            f"report first: `python -m angioray.report {study.folder}`."
        )
    return card


def _markdown(card: Mapping[str, Any]) -> str:
    lines = [
        *describe(card),
        *("", "## Use", "", fenced(card["use"], "bash")),
        *("", "Training settings and environment are in the JSON file beside this one.", ""),
    ]
    return "\n".join(lines)


def describe(card: Mapping[str, Any]) -> list[str]:
    """A card but for how its models are used, as lines of Markdown."""
    cohort = card["cohort"]
    rows = [
        (
            escape(m["metric"]),
            Value(mean=m["mean"], std=m["std"], digits=3).main,
            _interval(m["ci95"]),
        )
        for m in card["metrics"]
    ]
    return [
        f"# {escape(card['model'])}",
        "",
        *([f"> **{escape(card['phantom_data'])}**", ""] if card["phantom_data"] else []),
        f"Fold models: {len(card['members'])} of {card['folds_planned']} "
        f"({escape(', '.join(card['members']))}). "
        f"Input: {card['input_px']} x {card['input_px']} px, grey.",
        *("", "## Intended use", "", escape(card["intended_use"]), ""),
        *(f"- {escape(sentence)}" for sentence in card["out_of_scope"]),
        *("", "## Limits", ""),
        *(f"- {escape(sentence)}" for sentence in card["limits"]),
        *("", "## Cohort", ""),
        f"{cohort['sequences']} sequences of {cohort['patients']} patients, of which "
        f"{cohort['sequences_of_this_model']} sequences for this model; {cohort['folds']} folds, a "
        f"{cohort['kept_together']} never on both sides. Digest {cohort['digest'][:16]}.",
        *("", "## Metrics on what was held out", ""),
        *("| Metric | Mean ± std over folds | 95 % interval |", "|---|---|---|"),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _interval(ci95: Sequence[float] | None) -> str:
    return "" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"
