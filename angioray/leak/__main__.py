"""``python -m angioray.leak``: near-duplicate frames within and between cohorts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from preprocess.console.command_line import run as run_command
from preprocess.console.command_line import usage
from preprocess.console.settings import Count, CountOrZero, Proportion, Settings


@dataclass(frozen=True, kw_only=True)
class LeakSettings(Settings):
    """What counts as a near-duplicate."""

    likeness: Proportion = 0.7
    """From which two frames are near-duplicates, 0 to 1: the correlation of both once the one is
    laid over the other. Pictures of different hearts have less than 0.68, copies more than 0.75."""
    frames: Count = 3
    """Frames of each sequence that are compared, 1 or more: its reference frame, and others of the
    optimal interval, evenly spaced."""
    pairs: CountOrZero = 200
    """How many pairs the page shows; 0 shows none."""


@usage(positional=("cohort", "other"), again="starts anew")
def leak(
    settings: LeakSettings,
    cohort: str | None = None,
    other: str | None = None,
    out: Path = Path("leak"),
    runs: str | None = None,
    frame_random: Path | None = None,
) -> None:
    """Find near-duplicate frames within a cohort, and between it and another one.

    Near-duplicates are frames of different sequences that show the same picture, also moved,
    cropped, compressed anew or shown by another window; and frames of one cine a moment apart. They
    are found by perceptual hashes and confirmed on pixels. A picture that is turned, mirrored or
    inverted is not found. A study with the setting `groups` keeps each group on one side of every
    fold, which matters where a set names no patients.

    Args:
        cohort: the cohort folder; it may be in an object store. Without it ANGIORAY_COHORT, or
            `cohort`.
        other: another cohort, to be compared with the first.
        settings: what counts as a near-duplicate.
        out: the folder to write: leak.json, pairs.csv and leak.html.
        runs: a study of COHORT; how many of its judged sequences have a near-duplicate that was
            trained on is told.
        frame_random: write COHORT's judged frames as a cohort of stills to this folder instead,
            each a patient of its own, so that a study of it has folds that leak.

    Raises:
        ValueError: there is no such cohort, its frames are damaged, or a folder is there already.

    Examples:
      python -m angioray.leak cohort --out leak
      python -m angioray.leak arcade-stenosis arcade-syntax --out leak
      python -m angioray.cv cohort --all-folds --groups leak/leak.json
      python -m angioray.leak cohort --frame-random stills
    """
    from angioray.leak.duplicates import near_duplicates, seen_frames
    from angioray.leak.groups import COLUMNS, Leaks
    from angioray.leak.page import leak_page
    from angioray.leak.stills import write_stills
    from angioray.study.study import Study
    from preprocess.cohort import Cohort, cohort_location
    from preprocess.storage.atomic import write_json, write_text
    from preprocess.storage.csv_text import csv_text

    place = cohort_location(cohort)
    opened = Cohort.open(place)
    if frame_random is not None:
        count = write_stills(opened, frame_random)
        print(f"Wrote {frame_random}: {count} stills, each of them a patient of its own.")
        same = "--detector.judged_frames optimal --detector.variants '[B]'"
        print(f"Next: python -m angioray.cv {frame_random} --all-folds --runs leaking-runs {same}")
        print(f"      python -m angioray.cv {place} --all-folds --runs runs {same}")
        print("      python -m angioray.report runs leaking-runs")
        return
    second = None if other is None else Cohort.open(other)
    study = None if runs is None else Study.open(runs)
    frames = seen_frames(opened, settings.frames, of_other=False)
    if second is not None:
        frames += seen_frames(second, settings.frames, of_other=True)
    pairs = near_duplicates(frames, settings.likeness)
    leaks = Leaks(opened, pairs, second, study)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "pairs.csv", csv_text(COLUMNS, leaks.rows()))
    page = leak_page(leaks, shown=settings.pairs, least=settings.likeness)
    write_text(out / "leak.html", page)
    write_json(out / "leak.json", leaks.as_json(frames=settings.frames, least=settings.likeness))
    print(*leaks.sentences(), sep="\n")
    print(f"Wrote {out / 'leak.html'}, leak.json and pairs.csv beside it.")
    if leaks.groups:
        print(f"Next: python -m angioray.cv {place} --groups {out / 'leak.json'}")


if __name__ == "__main__":
    run_command(leak, prog="python -m angioray.leak")
