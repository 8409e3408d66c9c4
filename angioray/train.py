"""``python -m angioray.train``: one run of a study in this process, without Ray."""

from __future__ import annotations

from angioray import CONFIGS
from angioray.study.settings import StudySettings, ignored_settings
from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage


@usage(common=("detector.variants", "detector.weights", "view.weights"), configs=CONFIGS)
def train(cohort: str, run: str, settings: StudySettings, runs: str = "runs") -> None:
    """Train and judge one run of the study here, without Ray.

    Args:
        cohort: the cohort folder, also in an object store (`s3://…`).
        run: the run's name, such as `detector-RCA-B-512-fold0`; `angioray.cv --plan` lists them.
        settings: the study's settings; those that it began with, where it is in the runs folder.
        runs: the runs folder, also in an object store.

    Examples:
      python -m angioray.train demo/cohort view-64-fold0 --config configs/demo.yaml --runs runs
      python -m angioray.train cohort detector-RCA-B-512-fold0 --config configs/paper.yaml
    """
    from angioray.study.executor import Executor
    from angioray.study.run_folder import RunFolder
    from angioray.study.study import Study
    from angioray.training.step import World
    from preprocess.cohort import Cohort
    from preprocess.console.progress import ProgressLine
    from preprocess.storage import absolute

    opened = Cohort.open(cohort)
    study = Study.plan(opened, absolute(runs), settings)
    study.refuse_another(opened)
    for note in ignored_settings(settings):
        print(note)
    chosen = study.run(run)
    folder = RunFolder.of(study.folder, chosen)
    if not folder.finished:
        study.look_for_weights([chosen])
    study.freeze(opened)
    with folder.locked(), ProgressLine(chosen.name) as line:
        metrics = Executor(study, opened, World.alone(), say=print).execute(
            chosen, lambda done, steps, values: line.show(done, steps, f"loss {values['loss']:.4f}")
        )
    for name, value in metrics.items():
        print(f"  {name:<40} {'-' if value is None else f'{value:.3f}'}")
    print(f"Wrote {folder.files}. Next: python -m angioray.report {runs}")


if __name__ == "__main__":
    run_command(train, prog="python -m angioray.train")
