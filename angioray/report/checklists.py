"""Two reporting checklists, filled in where the study knows the answer.

CLAIM, 2024 update (Tejani et al., doi:10.1148/ryai.240300): 44 items. TRIPOD+AI (Collins et al.,
doi:10.1136/bmj-2023-078378): 27 items in 52 parts. Items are named in few words of our own; the
checklists themselves say what each asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from angioray.report.findings import Findings
from angioray.report.methods import methods
from angioray.report.page import Section, Text, plain_table
from angioray.report.pictures import Gallery
from angioray.report.published import PAPER_IN_SHORT
from angioray.report.tables import Table
from angioray.study.coverage import left_out
from angioray.study.selection import CohortIndex
from preprocess.console.words import counted

AUTHORS = "For the authors."

CLAIM = (
    ("1", "Title names the kind of AI", "authors"),
    ("2", "Abstract", "authors"),
    ("3", "Background, intended use", "use"),
    ("4", "Aims and hypotheses", "authors"),
    ("5", "Prospective or retrospective", "authors"),
    ("6", "Goal of the study", "goal"),
    ("7", "Sources of data", "data"),
    ("8", "Inclusion and exclusion", "inclusion"),
    ("9", "Preprocessing", "preprocessing"),
    ("10", "Choice of parts of the data", "inclusion"),
    ("11", "De-identification", "privacy"),
    ("12", "Missing data", "missing"),
    ("13", "Image acquisition", "acquisition"),
    ("14", "Definition of the reference standard", "reference"),
    ("15", "Why this reference standard", "authors"),
    ("16", "Source of the annotations", "reference"),
    ("17", "Annotation of what is tested on", "test_labels"),
    ("18", "Variation between and within readers", "readers"),
    ("19", "How data were assigned to partitions", "partitions"),
    ("20", "What the partitions do not share", "disjoint"),
    ("21", "Size of the test data", "size"),
    ("22", "The model", "model"),
    ("23", "Software", "software"),
    ("24", "Initial weights", "model"),
    ("25", "Training", "training"),
    ("26", "Choice of the final model", "final"),
    ("27", "Ensembles", "ensemble"),
    ("28", "Metrics", "metrics"),
    ("29", "Statistics and uncertainty", "statistics"),
    ("30", "Robustness", "groups"),
    ("31", "Explanations of the model", "gradcam"),
    ("32", "Evaluation on internal data", "performance"),
    ("33", "Evaluation on external data", "external"),
    ("34", "Trial registration", "authors"),
    ("35", "Numbers included and excluded", "inclusion"),
    ("36", "Patients by partition", "patients"),
    ("37", "Performance with uncertainty", "performance"),
    ("38", "Diagnostic performance", "performance"),
    ("39", "Failures", "failures"),
    ("40", "Limitations", "limitations"),
    ("41", "Implications for practice", "authors"),
    ("42", "Study protocol", "protocol"),
    ("43", "Availability of software, model, data", "availability"),
    ("44", "Funding", "authors"),
)
"""Number, topic, and key of the answer."""

TRIPOD_AI = (
    ("1", "Title", "authors"),
    ("2", "Abstract", "authors"),
    ("3a", "Healthcare context", "authors"),
    ("3b", "Target population, purpose, users", "use"),
    ("3c", "Known health inequalities", "authors"),
    ("4", "Objectives", "goal"),
    ("5a", "Sources of data", "data"),
    ("5b", "Dates", "dates"),
    ("6a", "Setting and centres", "centres"),
    ("6b", "Eligibility", "inclusion"),
    ("6c", "Treatments", "authors"),
    ("7", "Data preparation", "preprocessing"),
    ("8a", "Outcome", "reference"),
    ("8b", "Who assessed the outcome", "reference"),
    ("8c", "Blinding of the assessment", "authors"),
    ("9a", "Choice of predictors", "predictors"),
    ("9b", "Definition of predictors", "predictors"),
    ("9c", "Who assessed predictors", "predictors"),
    ("10", "Sample size", "size"),
    ("11", "Missing data", "missing"),
    ("12a", "Use of the data", "partitions"),
    ("12b", "Handling of predictors", "preprocessing"),
    ("12c", "Model, its building, internal validation", "training"),
    ("12d", "Differences between clusters", "groups"),
    ("12e", "Measures of performance", "metrics"),
    ("12f", "Updating of the model", "update"),
    ("12g", "How predictions were calculated", "final"),
    ("13", "Class imbalance", "imbalance"),
    ("14", "Fairness", "fairness"),
    ("15", "Output of the model", "output"),
    ("16", "Training against evaluation data", "test_labels"),
    ("17", "Ethical approval", "authors"),
    ("18a", "Funding", "authors"),
    ("18b", "Conflicts of interest", "authors"),
    ("18c", "Protocol", "protocol"),
    ("18d", "Registration", "authors"),
    ("18e", "Sharing of data", "authors"),
    ("18f", "Sharing of code", "availability"),
    ("19", "Involvement of patients and public", "authors"),
    ("20a", "Flow of participants", "inclusion"),
    ("20b", "Characteristics of participants", "patients"),
    ("20c", "Evaluation against development data", "patients"),
    ("21", "Participants and events by analysis", "inclusion"),
    ("22", "The full model", "availability"),
    ("23a", "Performance with intervals", "performance"),
    ("23b", "Performance by cluster", "groups"),
    ("24", "Results of updating", "update"),
    ("25", "Interpretation", "authors"),
    ("26", "Limitations", "limitations"),
    ("27a", "Poor or missing input", "input"),
    ("27b", "What users do and must know", "authors"),
    ("27c", "Next steps", "authors"),
)


def checklists_section(findings: Findings, sections: Sequence[Section]) -> Section:
    """Both checklists.

    Args:
        findings: of the study.
        sections: the report's others, to which answers point.
    """
    answers = checklist_answers(findings, sections)
    about = Text(
        "Filled in where the study knows the answer. “Words” in such marks are a section of this "
        "report, or a heading of its methods text. Both lists are also CSV files beside this page."
    )
    tables = (
        _table("claim", "CLAIM, 2024 update (doi:10.1148/ryai.240300)", CLAIM, answers),
        _table("tripod_ai", "TRIPOD+AI (doi:10.1136/bmj-2023-078378)", TRIPOD_AI, answers),
    )
    return Section(anchor="checklists", title="Checklists", blocks=(about, *tables))


def checklist_answers(findings: Findings, sections: Sequence[Section]) -> dict[str, str]:
    """What the study knows, by the key of an answer; the rest is the authors' to fill in."""
    study, cohort, facts = findings.study, findings.cohort, findings.facts
    titles = {section.anchor: section.title for section in sections}
    known = methods(findings)
    galleries = {s.anchor for s in sections for block in s.blocks if isinstance(block, Gallery)}

    def see(*anchors: str) -> str:
        named = [f"“{titles[anchor]}”" for anchor in anchors if anchor in titles]
        return f"{', '.join(named)}." if named else AUTHORS

    def text(*headings: str) -> str:
        named = [f"“{heading}”" for heading in headings if heading in known]
        return f"{', '.join(named)}." if named else AUTHORS

    networks = text("View classifier", "Stenosis detectors")
    units = {key: cut["unit"] for key, cut in study.document["splits"].items()}
    disjoint = "; ".join(f"{key}: by {unit}" for key, unit in units.items()) + "."
    acquisition, missing = AUTHORS, AUTHORS
    readers = see("detection") if findings.readers else AUTHORS
    if cohort is not None:
        if not findings.readers and not findings.readers_problem:
            readers = "Not measured: the cohort has no second reading."
        makers = [f"{maker} ({count})" for maker, count in facts.makers.items()]
        acquisition = (
            f"Angles of the C-arm are known of {facts.angles} of {facts.sequences} sequences. "
            f"Makers of the devices: {', '.join(makers) or 'not known'}. Models and settings are "
            "for the authors to name."
        )
        unseen = left_out(study.splits, CohortIndex.of(cohort, study.view_class))
        imputed = [
            f"The {what} of {counted(count, 'sequence')} were proposed from the pixels."
            for what, count in facts.proposed.items()
        ]
        missing = " ".join([*unseen, *(imputed or ["No value was imputed."])])
        if facts.unknown_patients:
            disjoint += " The sources name no patients."
        elif facts.shared:
            disjoint += f" Patients lie on both sides in {', '.join(facts.shared)}."
    stratified = facts.settings.splits is None
    balance = ["Folds are stratified" if stratified else "Folds were given, not stratified"]
    balance += ["detectors learn by the focal loss"] if facts.by_focal_loss else []
    return {
        "authors": AUTHORS,
        "use": "Research; the model cards name the use and what lies outside it. The clinical "
        "background is for the authors to write.",
        "goal": "Development of models and their internal validation by cross-validation."
        if any(len(cut["folds"]) > 1 for cut in study.document["splits"].values())
        else "Development of models and their validation on a part held out.",
        "data": f"{facts.seen} (digest {study.document['cohort']['digest'][:16]}). Their source "
        "is for the authors to name.",
        "dates": (
            f"The cohort holds the year of {counted(facts.years, 'sequence')}, and no dates. "
            if facts.years
            else "The cohort holds no dates. "
        )
        + AUTHORS,
        "centres": "The cohort does not name centres. " + AUTHORS,
        "inclusion": see("cohort"),
        "preprocessing": text("Preprocessing"),
        "privacy": AUTHORS if cohort is None else text("Preprocessing"),
        "missing": missing,
        "acquisition": acquisition,
        "reference": text("Reference standard"),
        "test_labels": f"Both sides of each fold are of the same cohort. {see('folds')}",
        "readers": readers,
        "partitions": f"{text('Data partitions')} {see('folds')}",
        "disjoint": disjoint,
        "size": f"{facts.seen}. How the size was chosen is for the authors to say.",
        "model": f"{networks} {see('training')}",
        "software": f"{text('Software')} {see('again')}",
        "training": f"{networks} {see('training')}",
        "final": "The weights after the last step of training; no model was chosen by its result. "
        "Each frame was judged by models of the fold that held its sequence out. How the settings "
        "were chosen is for the authors to say.",
        "ensemble": "Metrics are of single models. Prediction on new cines joins the models of all "
        "folds, which no metric here judges.",
        "metrics": f"{text('Evaluation')} {see('reading')}",
        "statistics": text("Statistical analysis"),
        "groups": see("detection"),
        "gradcam": f"Grad-CAM, with a sanity check. {see('view')}"
        if "view" in galleries
        else "None in this report.",
        "performance": see("view", "detection", "two-step"),
        "external": "None: no model was judged on another cohort.",
        "patients": f"{see('cohort', 'folds')} The cohort holds neither age nor sex.",
        "failures": see("pictures"),
        "limitations": see("limitations"),
        "protocol": f"The methods follow {PAPER_IN_SHORT}. Whether a protocol was written before "
        "is for the authors to say.",
        "availability": f"Settings and digests: {see('again')} Model cards lie beside this page. "
        "Where code, weights and data are shared is for the authors to say.",
        "predictors": "The grey values of single frames; nobody chose or rated predictors.",
        "update": "No model was updated or recalibrated.",
        "imbalance": f"{'; '.join(balance)}. {see('folds')}",
        "fairness": "The cohort holds neither age, sex nor origin of patients, so that fairness "
        "was not examined.",
        "output": f"Probabilities of views; boxes with scores. {text('Evaluation')}",
        "input": "Files that cannot be used are rejected with a reason. " + see("cohort"),
    }


def _table(
    name: str, caption: str, items: Sequence[tuple[str, str, str]], answers: Mapping[str, str]
) -> Table:
    rows = [(number, topic, answers[key]) for number, topic, key in items]
    meanings = {"Item, Topic, Answer": "items in few words of our own, and what is known of them"}
    return plain_table(name, caption, ("Item", "Topic", "Answer"), rows, meanings=meanings)
