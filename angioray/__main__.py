"""``python -m angioray``, and the console command ``angioray``: every command by its name."""

from __future__ import annotations

import sys

from preprocess.console.command_line import run_one_of

# By name, for this package imports neither the sweeps above it nor what a command may need.
COMMANDS = {
    "demo": "angioray.demo.__main__:demo",
    "doctor": "angioray.doctor:doctor",
    "phantom": "preprocess.__main__:phantom",
    "sheet": "preprocess.ingest.sheet:sheet",
    "ingest": "preprocess.ingest.command:ingest",
    "propagate": "preprocess.tracking.propagate:propagate",
    "summary": "preprocess.summary.command:summary",
    "review": "preprocess.review.command:review",
    "import": "preprocess.__main__:import_set",
    "export": "preprocess.exporters.command:export",
    "correct": "preprocess.exporters.correct:correct",
    "agreement": "angioray.agreement:agreement",
    "cv": "angioray.cv:cv",
    "train": "angioray.train:train",
    # `export` writes cohorts; `python -m angioray.export` writes networks.
    "export-models": "angioray.export.__main__:export",
    "score": "angioray.score:score",
    "report": "angioray.report.__main__:report",
    "leak": "angioray.leak.__main__:leak",
    "predict": "angioray.predict:predict",
    "pretrain": "angioray.pretrain.__main__:pretrain",
    "sweep": "tune.sweep:sweep",
}


def main() -> None:
    """Run the command that the arguments name."""
    here = "python -m angioray" if sys.argv[0].endswith("__main__.py") else "angioray"
    run_one_of(COMMANDS, prog=here)


if __name__ == "__main__":
    main()
