"""A prediction on one core, beside the bare forward passes of the same networks on the same frames.

Ours is all that a process does with a cine once its networks are read: frames from the cohort,
view, boxes by all folds, fusion, the files. The peer has the frames as normalised tensors and runs
the same networks over them in batches of the same size: no proposals, no suppression, nothing
written. Both take turns on one thread and are timed by the processor's clock, so that other work on
the machine counts for neither.

    python benchmarks/predict.py demo/runs --out benchmarks/results/predict.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from measuring import Row, show, write

from angioray.findings.cines import Cines, CineTask, look
from angioray.findings.output_folder import FOLDER
from angioray.inference.chosen import choose
from angioray.inference.settings import PredictSettings
from angioray.inference.trained import Models
from angioray.inference.two_step import FRAMES_AT_ONCE
from angioray.study.held_out import HeldOut
from angioray.study.matrix import Run
from angioray.study.run_folder import RunFolder
from angioray.study.selection import contrast_frames, view_frame
from angioray.study.study import Study
from angioray.training.frames import normalise, resize
from angioray.training.precision import dtype_here, forward_passes
from preprocess.cohort import Cohort
from preprocess.ingest.command import IngestSettings, ingest_archive
from preprocess.phantom.archive import write_archive
from preprocess.phantom.settings import PhantomSettings

CPU = torch.device("cpu")


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, help="a finished study, such as the demo's")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--films", type=Path, help="a cohort of new cines instead of a phantom's")
    parser.add_argument("--turns", type=int, default=4, help="timed turns of each")
    options = parser.parse_args()
    study = Study.open(options.runs)
    with tempfile.TemporaryDirectory() as folder:
        films = Cohort.open(options.films) if options.films else new_films(Path(folder))
        rows = [prediction_row(study, films, Path(folder) / "out", options.turns)]
    write(options.out, rows, CPU)


def prediction_row(study: Study, cohort: Cohort, out: Path, turns: int) -> Row:
    """New cines of new patients, by all folds together."""
    settings = PredictSettings()
    chosen, held_out = choose(study, settings), HeldOut.of(study, None, cohort)
    cines = Cines.of(study, chosen, held_out, cohort, settings, out, {})
    bare = BarePasses(study)
    passes = [bare.of(cohort, task) for task in cines.tasks]
    frames = sum(each.frames for each in passes)
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(turns + 1):  # in the first the networks are read
        anew = out / str(turn)  # what is finished is not looked at again
        (anew / FOLDER).mkdir(parents=True)
        work = replace(cines.work, out=anew, device=CPU.type, threads=1)
        for who, steps in (
            ("ours", [partial(look, task, work=work) for task in cines.tasks]),
            ("peer", passes),
        ):
            start = time.process_time()
            for step in steps:
                step()
            if turn:
                rates[who].append(frames / (time.process_time() - start))
    ours, peer = (statistics.median(each) for each in rates.values())
    folds = len(chosen.classifiers), {view: len(runs) for view, runs in chosen.detectors.items()}
    detector = study.settings.detector
    row = Row(
        f"prediction, {detector.backbone} at {detector.size} px, {folds[0]} folds, {frames} frames "
        f"of {len(cines.tasks)} cines",
        ours,
        peer,
        "frames/s a core",
        {who: [round(min(r), 3), round(max(r), 3)] for who, r in rates.items()},
    )
    show(row)
    return row


def new_films(folder: Path) -> Cohort:
    """A cohort of a phantom's cines that no study has seen, read as a prediction reads them."""
    archive = folder / "archive"
    write_archive(archive, PhantomSettings(patients=6, sequences=12, seed=1717))
    with contextlib.redirect_stdout(io.StringIO()):
        settings = IngestSettings(size=0)
        ingest_archive(archive / "dicom", out=folder / "cohort", settings=settings)
    return Cohort.open(folder / "cohort")


class BarePasses:
    """A study's networks on tensors that are ready for them."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._models = Models(CPU)
        self._precision = dtype_here(study.settings.precision, CPU)

    def of(self, cohort: Cohort, task: CineTask) -> Passes:
        """The passes that a prediction of a cine takes; its view's detectors are the truth's."""
        frames = torch.from_numpy(cohort.cine_8bit(task.cine.sequence_id))[:, None]
        named = view_frame(task.cine)
        looked_at = sorted({named, *contrast_frames(task.cine)})
        view = next(iter(task.judges.detectors))  # all views' detectors are of one size and kind
        steps = self._steps(task.judges.classifiers, frames[[named]])
        steps += self._steps(task.judges.of(view) or (), frames[looked_at])
        return Passes(steps, len(looked_at), self._precision)

    def _steps(self, runs: tuple[Run, ...], pixels: torch.Tensor) -> list[Callable[[], object]]:
        steps: list[Callable[[], object]] = []
        for images in pixels.split(FRAMES_AT_ONCE[CPU.type]):
            for run in runs:
                folder = RunFolder.of(self._study.folder, run)
                kinds = {"view": lambda of: self._models.classifier(of)[0]}
                network = kinds.get(run.task, self._models.detector)(folder)
                ready = normalise(resize(images, run.size), self._precision)
                steps.append(partial(network, ready))
        return steps


class Passes:
    """Forward passes of one cine."""

    def __init__(
        self, steps: list[Callable[[], object]], frames: int, precision: torch.dtype
    ) -> None:
        self.frames = frames
        self._steps = steps
        self._precision = precision

    @torch.no_grad()
    def __call__(self) -> None:
        """Carry them out."""
        with forward_passes(CPU, self._precision):
            for step in self._steps:
                step()


if __name__ == "__main__":
    main()
