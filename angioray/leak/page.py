"""The page of near-duplicates: counts first, then the pairs side by side."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import cv2

from angioray.leak.groups import Leaks
from preprocess.cohort import Cohort, count_phantoms, phantom_notice
from preprocess.console.pages import render
from preprocess.console.progress import track

_SIDE_PX = 320
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class ShownPair:
    """Two frames side by side: what stands below each, and each as JPEG in base64."""

    names: tuple[str, str]
    jpegs: tuple[str, str]
    likeness: float


def leak_page(leaks: Leaks, *, shown: int, least: float) -> str:
    """The page as HTML.

    Args:
        leaks: what was found.
        shown: how many pairs at most: half of them the most alike, half the least, where a mistake
            would be.
        least: the likeness from which frames are near-duplicates.

    Raises:
        ValueError: a cine is damaged.
    """
    sequences = leaks.cohort.sequences.values()
    chosen = leaks.pairs
    if len(chosen) > shown:
        chosen = [*chosen[: shown - shown // 2], *chosen[len(chosen) - shown // 2 :]]

    def pictures() -> Iterator[ShownPair]:
        for pair in chosen:
            other = leaks.other if pair.of_other and leaks.other else leaks.cohort
            ids = pair.one.sequence_id, pair.other.sequence_id
            yield ShownPair(
                (
                    f"{ids[0]}, frame {pair.frame_index}",
                    f"{ids[1]}, frame {pair.other_frame_index}"
                    + (" of the other cohort" if pair.of_other else ""),
                ),
                (
                    _jpeg(leaks.cohort, ids[0], pair.frame_index),
                    _jpeg(other, ids[1], pair.other_frame_index),
                ),
                pair.likeness,
            )

    return render(
        "angioray.leak",
        "page.html.j2",
        style="page.css",
        banner=phantom_notice(count_phantoms(sequences), len(sequences)),
        sentences=leaks.sentences(),
        least=least,
        pairs=track(pictures(), total=len(chosen), label="pictures"),
        count=len(leaks.pairs),
        shown=len(chosen),
        groups=leaks.groups,
    )


def _jpeg(cohort: Cohort, sequence_id: str, frame_index: int) -> str:
    frame = cohort.frame_8bit(sequence_id, frame_index)
    shrink = min(1.0, _SIDE_PX / max(frame.shape))
    small = cv2.resize(frame, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    return base64.b64encode(encoded.tobytes()).decode("ascii")
