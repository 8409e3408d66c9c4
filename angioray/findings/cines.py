"""Cine after cine, in any number of processes: looked at once, and what was found written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import torch

from angioray import __version__
from angioray.findings.cine_file import (
    LookedAt,
    findings_path,
    is_finished,
    is_ours,
    read_findings,
    write_findings,
)
from angioray.findings.output_folder import FOLDER
from angioray.findings.page import part_path, render_cine
from angioray.findings.processes import Processes
from angioray.findings.provenance import Algorithm
from angioray.inference.chosen import Chosen, Judges
from angioray.inference.settings import PredictSettings
from angioray.inference.two_step import TwoStep
from angioray.study.held_out import HeldOut
from angioray.study.run_folder import RunFolder
from angioray.study.selection import CohortIndex
from angioray.study.study import Study
from angioray.training.checkpoint import STATE
from preprocess.cohort import Cohort
from preprocess.cohort import Sequence as Cine
from preprocess.console.progress import track
from preprocess.console.words import counted
from preprocess.console.workers import map_unordered
from preprocess.dicom.acceptance import Rejection
from preprocess.ingest.assembly import rejection_counts
from preprocess.ingest.file_discovery import WRITTEN_BY_US
from preprocess.storage import LocalCopy, absolute
from preprocess.storage.atomic import remove_partials, write_text


@dataclass(frozen=True, kw_only=True)
class CineTask:
    """A cine to look at, by whom.

    Attributes:
        cine: its record in the cohort.
        judges: the runs that may judge it.
        true_view: the class of its view where readers named it and drew boxes on its reference
            frame; that view's detectors then look at this frame too, if another view is named.
        digest: of all that decides the answer.
        dicom: the film's file, and what the names of its DICOM findings begin with; None without.
    """

    cine: Cine
    judges: Judges
    true_view: str | None
    digest: str
    dicom: tuple[Path, Path] | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all tasks share: a cohort to look at, a study's networks, and where findings go.

    Attributes:
        copy: of the cohort.
        runs: the study's folder.
        settings: how answers are put together.
        models: a digest of the networks.
        algorithm: what DICOM findings call them.
        out: the output folder.
        device: where networks compute.
        threads: of one process.
    """

    copy: LocalCopy
    runs: str
    settings: PredictSettings
    models: str
    algorithm: Algorithm
    out: Path
    device: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Cines:
    """The cines of a cohort that a study may judge, and their files.

    Attributes:
        out: the output folder.
        tasks: one for each, in the order of the cohort.
        work: what they share.
    """

    out: Path
    tasks: Sequence[CineTask]
    work: Work

    @classmethod
    def of(
        cls,
        study: Study,
        chosen: Chosen,
        held_out: HeldOut,
        cohort: Cohort,
        settings: PredictSettings,
        out: Path,
        dicom: Mapping[str, tuple[Path, Path]],
    ) -> Cines:
        """Find out who may judge which cine; cines that nobody may judge are left out.

        Args:
            study: whose networks look.
            chosen: which of them.
            held_out: who was trained on whom.
            cohort: that has the cines.
            settings: how answers are put together.
            out: the output folder.
            dicom: as :class:`CineTask` has it, of sequences that get DICOM findings.
        """
        index = CohortIndex.of(cohort, study.settings.view_classes)
        named = index.view_class if chosen.classifiers else {}
        judged = {s: named[s] for s, _ in index.judged_frames(named, "reference")}
        models = {run.name: _digest_of_run(study, run.name) for run in chosen.runs}
        tasks = []
        for sequence_id, cine in cohort.sequences.items():
            if judges := chosen.judges(held_out, sequence_id):
                view = judged.get(sequence_id)
                digest = _digest(cine, judges, models, settings, view)
                task = CineTask(
                    cine=cine,
                    judges=judges,
                    true_view=view,
                    digest=digest,
                    dicom=dicom.get(sequence_id),
                )
                tasks.append(task)
        copy = replace(cohort.copy, path=cohort.copy.path.absolute())
        work = Work(
            copy=copy,
            runs=absolute(str(study.folder)),
            settings=settings,
            models=_hashed(models),
            algorithm=Algorithm(
                name="angioray",
                version=__version__,
                study_sha256=study.sha256,
            ),
            out=out.absolute(),
            device="cpu",
            threads=1,
        )
        return cls(out=out, tasks=tasks, work=work)

    def look(self, processes: Processes, cluster: str | None) -> Iterator[str]:
        """Look at every cine that is not finished, and show how long the rest takes.

        DICOM findings are written of the finished ones too: those that are there may be of another
        study or score, or have a name that was corrected since.

        Args:
            processes: how many, where.
            cluster: the address of a Ray cluster that does it instead, each cine on a core.

        Yields:
            What to say of it, line by line.
        """
        folder = self.out / FOLDER
        remove_partials(self.out, folder)
        for films in {task.dicom[1].parent for task in self.tasks if task.dicom is not None}:
            for ending in WRITTEN_BY_US:
                remove_partials(films, of=f"*{ending}")
        kept = {task.cine.sequence_id for task in self.tasks}
        for path in folder.glob("*.json"):  # of cines that are no longer in the cohort
            if path.stem not in kept and is_ours(path):
                part_path(self.out, path.stem).unlink(missing_ok=True)
                path.unlink()
        before = [
            task for task in self.tasks if findings_path(self.out, task.cine.sequence_id).exists()
        ]
        unfinished = [task for task in self.tasks if not self._is_finished(task)]
        if done := len(self.tasks) - len(unfinished):
            yield f"Finished by an earlier run: {done} of {counted(len(self.tasks), 'cine')}."
        if anew := len(before) - done:
            yield (
                f"Looked at anew: {counted(anew, 'cine')}, for the study, the settings, the cines "
                "or the models that may judge them have changed since."
            )
        work = replace(
            self.work,
            device="cpu" if cluster else processes.device,
            threads=1 if cluster else processes.threads,
        )
        left = self.tasks if any(task.dicom for task in self.tasks) else unfinished
        finished = map_unordered(
            partial(look, work=work),
            left,
            processes=processes.number,
            died=_died,
            cluster=cluster,
        )
        ended = track(finished, total=len(left), label="cines")
        if reasons := [reason for reason in ended if reason]:
            yield f"Note: {counted(len(reasons), 'film')} got no DICOM findings:"
            yield rejection_counts(reasons)

    def finished(self) -> Iterator[LookedAt]:
        """The finished cines in the order of the cohort, one at a time in memory."""
        for task in self.tasks:
            if self._is_finished(task):
                yield read_findings(self.out, task.cine.sequence_id)

    def _is_finished(self, task: CineTask) -> bool:
        return is_finished(self.out, task.cine.sequence_id, task.digest)


def look(task: CineTask, *, work: Work) -> str:
    """Look at one cine where that is not done, and write what is found, in a worker.

    Returns:
        Why its film gets no DICOM findings; empty where it has them or they are not asked for.
    """
    if not is_finished(work.out, task.cine.sequence_id, task.digest):
        _look(task, work)
    return _write_dicom(task, work) if task.dicom else ""


def _look(task: CineTask, work: Work) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(work.threads)
    system = _system(work.runs, work.settings, work.device, work.models)
    cine = task.cine
    cohort = Cohort(work.copy.path, {cine.sequence_id: cine}, (), work.copy)
    frames = cohort.cine_8bit(cine.sequence_id)
    findings = system.findings(cine, frames, task.judges)
    by_true_view = None
    if task.true_view not in (None, findings.view):
        assert cine.reference_frame is not None
        detectors = task.judges.of(task.true_view)
        if detectors is None or detectors:
            by_true_view = system.boxes(frames, [cine.reference_frame], detectors or ())
    score = work.settings.score
    part = render_cine(findings, cine, frames, score=score)
    write_text(part_path(work.out, cine.sequence_id), part)
    looked_at = LookedAt(findings=findings, by_true_view=by_true_view)
    write_findings(work.out, task.digest, looked_at)


def _write_dicom(task: CineTask, work: Work) -> str:
    """Of what is stored of a finished cine. What goes wrong is said without the film's name."""
    from angioray.findings.dicom_files import write_dicom  # slow to import, and seldom asked for

    assert task.dicom is not None
    sequence_id = task.cine.sequence_id
    findings, score = read_findings(work.out, sequence_id).findings, work.settings.score
    try:
        write_dicom(*task.dicom, findings, algorithm=work.algorithm, score=score)
    except Rejection as reason:
        return str(reason)
    except ValueError:
        return "its header has a value that cannot be written"
    except OSError as problem:
        number = problem.errno or errno.EIO
        where = f"the folder of the DICOM findings of {sequence_id}"
        raise OSError(number, os.strerror(number), where) from None
    return ""


def _died(task: CineTask) -> str:
    return "its process ended, perhaps for want of memory" if task.dicom else ""


@lru_cache(maxsize=1)
def _system(runs: str, settings: PredictSettings, device: str, _models: str) -> TwoStep:
    """This process's networks; other ones in the same folder are another digest."""
    return TwoStep(Study.open(runs), settings, torch.device(device))


def _digest_of_run(study: Study, name: str) -> str:
    """Of its weights' checksum, and of the classes that it knows."""
    folder = RunFolder(study.folder / name)
    parts = folder.checkpoint.read(STATE) or b"", folder.files.read("result.json") or b""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _digest(
    cine: Cine,
    judges: Judges,
    models: Mapping[str, str],
    settings: PredictSettings,
    true_view: str | None,
) -> str:
    runs = [*judges.classifiers, *(run for view in judges.detectors.values() for run in view)]
    return _hashed(
        {
            "version": __version__,
            "settings": asdict(settings),
            "cine": asdict(cine),
            "models": {run.name: models[run.name] for run in runs},
            "views": sorted(judges.detectors),
            "new_patient": judges.new_patient,
            "true_view": true_view,
        }
    )


def _hashed(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
