"""A folder of images with Pascal VOC XML files, one per image.

An XML file belongs to the image that its ``<filename>`` names, or to the one of its own name.
VOC knows no cines and no patients: every image is a still.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from preprocess.annotations import voc
from preprocess.annotations.mismatches import Kind, Mismatch
from preprocess.annotations.region_files import regions_in, unreadable
from preprocess.annotations.regions import Region
from preprocess.annotations.source_lines import parse_xml
from preprocess.importers.annotated_folder import AnnotatedFolder, Found, GroupBy, import_found
from preprocess.importers.image_cine import Frame


def import_voc(
    src: Path,
    out: Path,
    *,
    key: Path | None = None,
    group_by: GroupBy = GroupBy.IMAGE,
    processes: int = 0,
) -> None:
    """Read a folder of images and VOC files into a cohort.

    Args:
        src: the folder that holds both, at any depth.
        out: the cohort folder to write.
        key: reuse the pseudonym key in this file.
        group_by: what stands for the patient.
        processes: processes that read images; 0 = one per core.

    Raises:
        ValueError: there is no VOC file, none belongs to an image, or ``out`` holds another
            cohort.
    """
    files = AnnotatedFolder(src, out)
    drawn: dict[Path, list[Region]] = defaultdict(list)
    mismatches: list[Mismatch] = []
    documents = 0
    for path, content in files.documents(".xml", voc, mismatches):
        documents += 1
        try:
            named = parse_xml(content).text_of("filename") or path.stem
            found = regions_in(content, path, src)
        except ValueError as problem:
            mismatches.append(unreadable(path, problem))
            continue
        image = files.named(named, path)
        if image is Kind.NO_IMAGE:
            image = files.named(path.stem, path)
        if isinstance(image, Kind):
            mismatches.append(Mismatch(file=str(path), line=0, kind=image, said=repr(named)))
            continue
        drawn[image] += [item for item in found if isinstance(item, Region)]
        mismatches += [item for item in found if isinstance(item, Mismatch)]
    if not drawn:
        raise ValueError(files.nothing("Pascal VOC", documents, "<filename>", mismatches))
    bare = len(files) - len(drawn)
    import_found(
        (
            Found(name=files.name(path), frames=(Frame(path=path, regions=tuple(regions)),))
            for path, regions in drawn.items()
        ),
        out,
        key=key,
        group_by=group_by,
        processes=processes,
        notes=[f"{bare} images have no XML file and are left out"] if bare else [],
        mismatches=mismatches,
    )
