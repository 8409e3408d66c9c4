"""``python -m preprocess``: from an archive to a cohort."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocess.command_line import Command, run_one_of
from preprocess.ingest import ingest
from preprocess.phantom.settings import PhantomSettings
from preprocess.propagate import propagate
from preprocess.summary import summary

PROG = "python -m preprocess"


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How a public data set is read."""

    processes: int = 0
    """Processes that read images; 0 = one per core."""

    def __post_init__(self) -> None:
        if self.processes < 0:
            raise ValueError("processes must be 0 or more.")


def phantom(out: Path, settings: PhantomSettings) -> None:
    """Write a synthetic XA archive: DICOM files, labels, regions and the truth.

    Args:
        out: the folder to write.

    Examples:
        python -m preprocess phantom archive
        python -m preprocess phantom archive --patients 6 --sequences 12
    """
    # Only this command draws; the others need none of what it imports.
    from preprocess.phantom import write_archive

    archive = write_archive(out, settings)
    there = " (it was there already)" if archive.already_there else ""
    print(
        f"{archive.sequences} usable sequences of {archive.patients} patients, "
        f"{archive.discarded} to be discarded, {archive.frames} frames{there}."
    )
    print(f"Wrote {out} (dicom, labels, truth, phantom.key).")
    print(
        f"Next: {PROG} ingest {out}/dicom --labels {out}/labels/sequences.csv "
        f"--rois {out}/labels/rois --key {out}/phantom.key --out cohort"
    )


def import_set(
    format: Literal["arcade"], src: Path, *, out: Path, settings: ImportSettings
) -> None:
    """Read a public data set into a cohort.

    Args:
        format: which set it is: arcade (Popov et al. 2024, stills).
        src: the unpacked set.
        out: the cohort folder to write.

    Examples:
        python -m preprocess import arcade arcade --out cohort
    """
    assert format == "arcade"
    from preprocess.importers.arcade import import_arcade

    import_arcade(src, out, processes=settings.processes)


def main(argv: list[str] | None = None) -> None:
    """Run the command that the arguments name."""
    commands: dict[str, Command] = {
        "phantom": phantom,
        "ingest": ingest,
        "propagate": propagate,
        "summary": summary,
        "import": import_set,
    }
    run_one_of(commands, prog=PROG, argv=argv)


if __name__ == "__main__":
    main()
