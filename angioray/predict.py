"""``python -m angioray.predict``: views and boxes for new DICOM, or for a cohort."""

from __future__ import annotations

from pathlib import Path

from angioray.inference.settings import PredictSettings
from preprocess.console.command_line import run as run_command


def predict(
    src: str, *, runs: str = "runs", out: Path = Path("predictions"), settings: PredictSettings
) -> None:
    """Name the view of each cine and box its stenoses, with all fold models of a finished study.

    A cine is judged by those models alone that were not trained on its patient: by all folds
    together where the patient is new, and by the fold that held the patient out where the study
    knows them. So the same command on the study's own cohort says, without a leak, what flips and
    fusion are worth; where there are boxes by readers, the result is judged by them. This is
    research, and its boxes are no diagnosis.

    Args:
        src: a folder of DICOM files, which is ingested first, or a cohort, also in an object store.
            Key and journal of that ingest are private and lie beside OUT, not in it.
        runs: the study's runs folder, also in an object store.
        out: the folder to write.

    Raises:
        ValueError: there is nothing to look at, or a step of the study has no finished model.

    Examples:
      python -m angioray.predict new-dicom --runs runs --out predictions
      python -m angioray.predict new-dicom --runs runs --flips '[horizontal]' --variant BGNL
      python -m angioray.predict cohort --runs runs --frames reference --out held-out
    """
    import torch

    from angioray.inference.chosen import choose
    from angioray.inference.prediction import carry_out, write_predictions
    from angioray.inference.two_step import TwoStep
    from angioray.report.runs import ReportedStudy
    from angioray.study.held_out import HeldOut
    from angioray.study.study import Study
    from preprocess.cohort import Cohort

    study = Study.open(runs)
    chosen = choose(study, settings)  # before anything is decoded for models that are not there
    for note in chosen.notes:
        print(f"Note: {note}")
    cohort = Cohort.open(_cohort(src, out))
    out.mkdir(parents=True, exist_ok=True)
    trained_on, problem = ReportedStudy.open(runs).cohort()
    if trained_on is None:
        print(f"Note: {problem}")
        print("Patients of the study are recognised by their pseudonyms alone.")
    system = TwoStep(
        study=study,
        cohort=cohort,
        held_out=HeldOut.of(study, trained_on, cohort),
        ensemble=settings,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    prediction = carry_out(system, settings, chosen)
    for line in write_predictions(out, system, prediction, settings):
        print(line)


def _cohort(src: str, out: Path) -> str:
    """Where the cohort of new cines is; DICOM is ingested first.

    The output is there to be shared: what links it to patients stays outside.
    """
    from preprocess.annotations.mismatches import mismatches_path
    from preprocess.ingest.command import IngestSettings, ingest_archive, print_outcome
    from preprocess.ingest.journal import journal_path
    from preprocess.storage import FolderStorage, open_storage

    given = open_storage(src)
    if not isinstance(given, FolderStorage) or given.exists("annotations.json"):
        return src
    if not given.path.is_dir():
        raise ValueError(f"{src} is no folder. Give a folder of DICOM files, or a cohort.")
    cohort, private = out / "cohort", out.absolute()
    for lies in (journal_path, mismatches_path):  # an earlier version left them in the output
        if (inside := lies(cohort)).exists() and not lies(private).exists():
            inside.rename(lies(private))
    result = ingest_archive(given.path, out=cohort, private=private, settings=IngestSettings())
    print_outcome(result, cohort, private)
    return str(cohort)


if __name__ == "__main__":
    run_command(predict, prog="python -m angioray.predict")
