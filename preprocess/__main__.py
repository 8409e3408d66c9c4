"""``python -m preprocess``: from an archive to a cohort."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from preprocess.console.command_line import run_one_of, usage
from preprocess.console.settings import CountOrZero, Settings
from preprocess.phantom.settings import PhantomSettings

PROG = "python -m preprocess"


@dataclass(frozen=True, kw_only=True)
class ImportSettings(Settings):
    """How a public data set is read."""

    group_by: Literal["image", "name", "folder"] = "image"
    """coco and voc: what stands for the patient where none is named (name: up to its number)."""
    processes: CountOrZero = 0
    """Processes that read images; 0 = one per core."""


@usage(configs=Path(__file__).parent / "phantom" / "configs")
def phantom(out: Path, settings: PhantomSettings) -> None:
    """Write a synthetic XA archive: DICOM files, labels, regions and the truth.

    Args:
        out: the folder to write.

    Examples:
        python -m preprocess phantom archive
        python -m preprocess phantom archive --config demo
        python -m preprocess phantom archive --patients 6 --sequences 12
    """
    # Only this command draws; the others need none of what it imports.
    from preprocess.phantom.archive import write_archive

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
    format: Literal["arcade", "cadica", "coco", "danilov", "voc"],
    src: Path,
    *,
    out: Path,
    key: Path | None = None,
    settings: ImportSettings,
) -> None:
    """Read a public data set, or a folder of annotated images, into a cohort.

    The same command again continues where it stopped.

    Args:
        format: arcade (Popov et al. 2024, stills), cadica (Jimenez-Partinen et al. 2024, cines),
            danilov (Danilov et al. 2021, cines), or any images with COCO or Pascal VOC files.
        src: the unpacked set, or the folder that holds the images and their annotations.
        out: the cohort folder to write.
        key: coco and voc: reuse the pseudonym key in this file, so that a patient keeps theirs.

    Raises:
        ValueError: the folder is not laid out so, or ``out`` holds another cohort.

    Examples:
        python -m preprocess import arcade arcade --out cohort
        python -m preprocess import coco my_images --out cohort --group_by folder
    """
    from preprocess.importers.annotated_folder import GroupBy

    importer = import_module(f"preprocess.importers.{format}")
    read = getattr(importer, f"import_{format}")
    if format in ("coco", "voc"):
        options = {"key": key, "group_by": GroupBy(settings.group_by)}
        read(src, out, **options, processes=settings.processes)
    elif key is None:
        read(src, out, processes=settings.processes)
    else:
        raise ValueError(f"{format} is public and has names of its own; leave --key out.")


COMMANDS = {
    "phantom": "preprocess.__main__:phantom",
    "sheet": "preprocess.ingest.sheet:sheet",
    "ingest": "preprocess.ingest.command:ingest",
    "propagate": "preprocess.tracking.propagate:propagate",
    "review": "preprocess.review.command:review",
    "summary": "preprocess.summary.command:summary",
    "import": "preprocess.__main__:import_set",
    "export": "preprocess.exporters.command:export",
    "correct": "preprocess.exporters.correct:correct",
    # Readers are judged by the metrics that models are judged by, which preprocess cannot import.
    "agreement": "angioray.agreement:agreement",
}


def main(argv: list[str] | None = None) -> None:
    """Run the command that the arguments name."""
    run_one_of(COMMANDS, prog=PROG, argv=argv)


if __name__ == "__main__":
    main()
