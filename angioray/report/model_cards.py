"""Model cards: use, data, quality and limits of each final model.

A final model is the ensemble of a group's fold models, as ``angioray.predict`` uses it. Cards are
written as JSON and Markdown (after Mitchell et al. 2019, doi:10.1145/3287560.3287596).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from angioray.report.balance import BothSides, cohort_in_words, patients_are_unknown
from angioray.report.estimates import Estimate
from angioray.report.evidence import DetectorEvidence
from angioray.report.findings import Evidence
from angioray.report.healthy import of_whom
from angioray.report.markdown import escape, fenced
from angioray.report.page import RESEARCH
from angioray.report.runs import Group, ReportedStudy
from angioray.report.tables import Value
from preprocess.cohort import Cohort
from preprocess.storage import Storage

SCHEMA_VERSION = 1

INTENDED_USE = {
    "view": "Research on coronary angiography: naming the artery that an XA cine shows, before a "
    "detector of that view looks at it.",
    "detector": "Research on coronary angiography: proposing boxes around stenoses on contrast "
    "filled frames of XA cines of {view}, for readers who look at every frame themselves.",
}
OUT_OF_SCOPE = (
    RESEARCH,
    "Cines unlike those of the cohort, for example of other centres, machines or frame sizes, or "
    "with implants, pacemakers, pressure wires or bypass grafts where the cohort has none.",
)

SIDES = {
    "none": "No patient lies on both sides of a fold.",
    "lie": "Patients lie on both sides of a fold.",
    "may lie": "It is not known whether patients lie on both sides of a fold.",
}
"""What is said of each kind of split."""

WITHOUT_COHORT = (
    "The cohort was not at hand when this card was made, so that its metrics have no intervals."
)
"""In place of what the report says of it, which names folders: cards are shared."""


def write_model_cards(
    folder: Storage,
    study: ReportedStudy,
    cohort: Cohort | None,
    predicting: Iterable[tuple[Group, Evidence | None, Mapping[str, Estimate]]],
    notices: Sequence[str],
) -> list[str]:
    """Write a card for each group of networks that predict into ``folder``; their names."""
    names = []
    for group, evidence, found in predicting:
        card = model_card(study, cohort, group, evidence, found, notices)
        folder.write_json(f"{card['name']}.json", card)
        folder.write_text(f"{card['name']}.md", _markdown(card))
        names.append(card["name"])
    return names


def model_card(
    study: ReportedStudy,
    cohort: Cohort | None,
    group: Group,
    evidence: Evidence | None,
    found: Mapping[str, Estimate],
    notices: Sequence[str],
) -> dict[str, Any]:
    """The card of one group's models, as JSON. It says of the splits what they show."""
    settings = study.document["settings"]
    first = group.members[0]
    cut = study.document["splits"][first.split_key]
    sides = BothSides.of(study, cohort, first.split_key)
    where = "any view" if group.view == "all" else f"the view {group.view}"
    told = cohort is not None and patients_are_unknown(cohort)  # by a notice
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
        "intended_use": INTENDED_USE[group.task].format(view=where),
        "out_of_scope": list(OUT_OF_SCOPE),
        "cohort": {
            **study.cohort_facts,
            "folds": len(cut["folds"]),
            "kept_together": cut["unit"],
            "sequences_of_this_model": sum(len(f["validation"]) for f in cut["folds"]),
            "patients_on_both_sides": sides.verb or "none",
            "in_words": cohort_in_words(study, cohort),
        },
        "metrics": [
            {"metric": e.metric, "mean": e.mean, "std": e.std, "ci95": e.ci95 and list(e.ci95)}
            for e in found.values()
        ],
        "limits": [
            *_limits(study, group, evidence),
            *filter(None, ["" if told else sides.sentence(group.models)]),
            *notices,
        ],
        "training": settings.get(group.task, {}),
        "seed": settings.get("seed"),
        "splits_sha256": study.document["splits_sha256"],
        "environment": first.read("environment.json"),
        "use": f"python -m angioray.predict NEW-DICOM --runs {study.folder.name}",
    }


def _limits(study: ReportedStudy, group: Group, evidence: Evidence | None) -> Iterator[str]:
    yield _of_the_ensemble(study, group)
    if (seeds := len(group.by_seed)) > 1:
        yield (
            f"Each fold was trained with {seeds} seeds. The metrics are of the networks of this "
            "card alone, which are the first seed's; the report's are means over seeds."
        )
    yield "All cines are of one cohort; how the model does elsewhere is not known."
    if group.task == "detector":
        yield (
            "A box counts as right above an IoU of 0.2: it points at a stenosis and does not "
            "measure it. It says nothing of how severe the stenosis is."
        )
        judged = study.document["settings"].get("detector", {}).get("judged_frames", "reference")
        healthy = of_whom(evidence) if isinstance(evidence, DetectorEvidence) else ""
        yield (
            f"Recall, and precision beside it, are of {judged} frames of sequences with lesions, "
            "on which a lesion has a box. They do not say how many boxes are false on other frames"
            + (f". {healthy}" if healthy else " and in healthy arteries.")
        )


def _of_the_ensemble(study: ReportedStudy, group: Group) -> str:
    """Of what the metrics are, and whether the cohort can judge all folds together."""
    cut = study.document["splits"][group.members[0].split_key]["folds"]
    folds = [cut[run.fold] for run in group.members]
    if len(folds) == 1:
        return "The metrics are of the one fold model that is finished, on what it held out."
    held_out = {sequence for fold in folds for sequence in fold["validation"]}
    trained = {sequence for fold in folds for sequence in fold["train"]} & held_out
    share = "all" if len(trained) == len(held_out) else f"{len(trained)} of the"
    said = f"{share} {len(held_out)} sequences that were held out from one of them"
    return (
        "The metrics are of single fold models on what was held out from each. The ensemble of "
        f"all folds has no such number: {said} have trained others. Judge it on other patients, "
        "with `angioray.predict` on a cohort that has readers' boxes."
    )


def read_model_card(study: ReportedStudy, group: Group) -> dict[str, Any]:
    """The card of a group as the report wrote it.

    Raises:
        ValueError: there is none, or it is of other folds than are finished now.
    """
    where = study.folder / "report" / "model_cards"
    card: dict[str, Any] | None = where.read_json(f"{group.name}.json")
    members = [run.name for run in group.members]
    if card is None or card.get("members") != members:
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
        f"> **{escape(RESEARCH)}**",
        "",
        *([f"> **{escape(card['phantom_data'])}**", ""] if card["phantom_data"] else []),
        f"Fold models: {len(card['members'])} of {card['folds_planned']} "
        f"({escape(', '.join(card['members']))}). "
        f"Input: {card['input_px']} x {card['input_px']} px, grey.",
        *("", "## Intended use", "", escape(card["intended_use"]), ""),
        *(f"- {escape(sentence)}" for sentence in card["out_of_scope"] if sentence != RESEARCH),
        *("", "## Limits", ""),
        *(f"- {escape(sentence)}" for sentence in card["limits"]),
        *("", "## Cohort", ""),
        f"{cohort['in_words']}; {cohort['sequences_of_this_model']} of the sequences are in the "
        f"folds of this model: {cohort['folds']} folds, cut by {cohort['kept_together']}. "
        f"{SIDES[cohort['patients_on_both_sides']]} Digest {cohort['digest'][:16]}.",
        *("", "## Metrics on what was held out", ""),
        *("| Metric | Mean ± std over folds | 95 % interval |", "|---|---|---|"),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _interval(ci95: Sequence[float] | None) -> str:
    return "" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"
