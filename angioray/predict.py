"""``python -m angioray.predict``: views, boxes and lesions in new DICOM, or in a cohort."""

from __future__ import annotations

from pathlib import Path

from angioray.inference.settings import PredictSettings
from preprocess.console.command_line import run as run_command
from preprocess.console.settings import CountOrZero


def predict(
    src: str,
    *,
    runs: str = "runs",
    out: Path = Path("predictions"),
    key: Path | None = None,
    processes: CountOrZero = 0,
    ray: str | None = None,
    dicom: Path | None = None,
    settings: PredictSettings,
) -> None:
    """Name the view of each cine and find its stenoses, with all fold models of a finished study.

    A cine is judged by those models alone that were not trained on its patient: by all folds
    together where the patient is new, and by the fold that held the patient out where the study
    knows them. So the same command on the study's own cohort says, without a leak, what flips and
    fusion are worth; where there are boxes by readers, the result is judged by them. The same
    command again continues where it stopped. This is research, and its boxes are no diagnosis.

    Args:
        src: a folder of DICOM files, which is read first, or a cohort, also in an object store.
            What links the files to cines is private and is written beside OUT, not in it.
        runs: the study's runs folder, also in an object store.
        out: the folder to write.
        key: the file of a pseudonym key for DICOM files. Without it the key of the study's cohort
            is taken where it can be read, so that the study's patients are recognised.
        processes: processes that read and look at cines; 0 = as many as cores and memory bear, or
            one where there is a GPU.
        ray: address of a Ray cluster whose cores do it instead, such as `auto`; all its nodes must
            see SRC, RUNS and OUT under the same paths.
        dicom: a folder, or SRC itself: for each DICOM file a presentation state and a structured
            report, which viewers open, are written there. They name the patient as the file does.

    Raises:
        ValueError: there is nothing to look at, a step of the study has no finished model, OUT is
            another process's or has files of another kind, or cines were lost with their process.

    Examples:
      python -m angioray.predict new-dicom --runs runs --out predictions
      python -m angioray.predict new-dicom --runs runs --flips '[horizontal]' --variant BGNL
      python -m angioray.predict new-dicom --runs runs --dicom new-dicom --ray auto
      python -m angioray.predict cohort --runs runs --frames reference --out held-out
    """
    from angioray.findings.cines import Cines
    from angioray.findings.end_to_end import Judged, describe, metrics
    from angioray.findings.new_films import open_films, unrecognised
    from angioray.findings.output_folder import check_output
    from angioray.findings.page import write_page
    from angioray.findings.processes import Processes
    from angioray.findings.tables import TABLES, private_table, write_tables
    from angioray.inference.chosen import choose
    from angioray.report.quality import Quality
    from angioray.report.runs import ReportedStudy
    from angioray.study.held_out import HeldOut
    from angioray.study.study import Study
    from preprocess.cohort import count_phantoms, phantom_notice
    from preprocess.console.words import counted
    from preprocess.storage.atomic import write_json

    study = Study.open(runs)
    chosen = choose(study, settings)  # before anything is decoded for models that are not there
    check_output(out, src)
    reported = ReportedStudy.open(runs)
    trained_on, _ = reported.cohort()
    quality = Quality.of(reported, trained_on, chosen)
    for line in (*quality.sentences, *(f"Note: {warning}" for warning in quality.warnings)):
        print(line)
    with open_films(src, out, study, key=key, dicom=dicom, processes=processes, ray=ray) as films:
        cohort, warnings = films.cohort, quality.warnings
        if unknown := unrecognised(study, trained_on, films):
            warnings = (unknown, *warnings)
            print(f"Note: {unknown}")
        else:
            print("Patients of the study are recognised by their pseudonyms.")
        held_out = HeldOut.of(study, trained_on, cohort)
        cines = Cines.of(study, chosen, held_out, cohort, settings, out, films.dicom)
        several = Processes.here(processes, study, chosen, (task.cine for task in cines.tasks))
        for line in cines.look(several, ray):
            print(line)

        judged = Judged(cines.tasks)
        looked_at = judged.following(cines.finished(), cohort)
        found = write_tables(out, looked_at, cohort, settings.score, films.sources)
        print(
            f"Looked at {counted(found.frames, 'frame')} of {counted(found.cines, 'cine')}: "
            f"{found.new} of patients not known to the study, {found.cines - found.new} by models "
            "that held the patient out."
        )
        if left := len(cohort.sequences) - len(cines.tasks):
            words = "Left out, for no finished model may judge them without a leak"
            print(f"{words}: {counted(left, 'cine')}.")
        print(
            f"Lesions with a score above {settings.score:g}: {found.lesions}, in "
            f"{counted(found.with_lesions, 'cine')}."
        )
        page = write_page(
            out,
            (
                (each.findings, cohort.sequences[each.findings.sequence_id])
                for each in cines.finished()
            ),
            score=settings.score,
            subtitle=f"By {len(chosen.runs)} networks of the study {study.sha256[:12]}",
            quality=quality.sentences,
            warnings=warnings,
            banner=phantom_notice(count_phantoms(cohort.sequences.values()), len(cohort.sequences)),
            private_table=private_table(out).name if films.sources else "",
        )
        names = [*TABLES, page.name]
        if (result := judged.result(cohort)) is not None:
            write_json(out / "metrics.json", metrics(result, chosen, settings))
            names.append("metrics.json")
            for line in describe(result):
                print(line)
        else:  # of an earlier run, on other cines
            (out / "metrics.json").unlink(missing_ok=True)
        print(f"Wrote {out} ({', '.join(names)}).")
        print(f"The boxes are COCO results of the images in {cohort.folder / 'annotations.json'}.")
        if films.sources:
            print(
                f"Private, not to be shared: {private_table(out)} (each box with its file, "
                "instance and frame)."
            )
        if films.dicom:
            print(f"Private likewise: the DICOM findings in {dicom}.")
        print(f"Open in a browser: {page}")
        if lost := len(cines.tasks) - found.cines:
            raise ValueError(
                f"{counted(lost, 'cine')} of {len(cines.tasks)} could not be looked at: the "
                "process ended, perhaps for want of memory. The others are written. The same "
                "command with fewer --processes tries again."
            )


if __name__ == "__main__":
    run_command(predict, prog="python -m angioray.predict")
