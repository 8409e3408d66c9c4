"""A study's trained networks on frames that are in memory, in a DICOM file or in a cohort."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from angioray.evaluation.matching import FloatArray
from angioray.inference.chosen import Judges, choose
from angioray.inference.findings import Lesion
from angioray.inference.settings import PredictSettings
from angioray.inference.two_step import TwoStep
from angioray.interface.cohort import Cine
from angioray.study.held_out import HeldOut
from angioray.study.run_folder import RunFolder
from angioray.study.study import Study
from preprocess.cohort import Cohort, Sequence
from preprocess.cohort.display import Display
from preprocess.contrast.proposals import with_proposals
from preprocess.storage import Location

if TYPE_CHECKING:
    import pandas

GIVEN = "given"
"""The id of frames that are in no cohort."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a system says of one cine.

    Attributes:
        view: the class that it is taken for; None where the study names no views.
        probabilities: of each view class.
        boxes: float[D, 4] for each frame, xyxy in the frame's own pixels, best first.
        scores: float[D] for each frame, 0 to 1.
        lesions: those boxes linked through the frames, best first.
        unlike: in what the cine is unlike all that the models were trained on, a sentence each.
    """

    view: str | None
    probabilities: dict[str, float]
    boxes: list[FloatArray]
    scores: list[FloatArray]
    lesions: tuple[Lesion, ...]
    unlike: tuple[str, ...]

    def above(self, score: float = 0.5) -> list[FloatArray]:
        """The boxes of each frame whose score is greater."""
        pairs = zip(self.boxes, self.scores, strict=True)
        return [boxes[scores > score] for boxes, scores in pairs]

    def table(self) -> pandas.DataFrame:
        """A row for each box: frame, x1, y1, x2, y2, score."""
        import pandas

        columns = ["frame", "x1", "y1", "x2", "y2", "score"]
        rows = [
            (t, *box, score)
            for t, (boxes, scores) in enumerate(zip(self.boxes, self.scores, strict=True))
            for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
        ]
        return pandas.DataFrame(rows, columns=columns)

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        named = "no view"
        if self.view is not None:
            named = f"{self.view} ({self.probabilities[self.view]:.2f})"
        count = sum(map(len, self.above()))
        return f"Result({named}, {len(self)} frames, {count} boxes with scores above 0.5)"


class System:
    """The trained two steps of a study: the view first, then boxes by that view's detectors.

    All finished folds answer together. A cine of the study's own cohort is judged by those models
    alone that were not trained on its patient; whose frames an array holds is not known.

    Attributes:
        study: whose networks these are.
        settings: which of them, and how their answers are put together.
        device: where they compute.
    """

    def __init__(
        self,
        runs: Location,
        settings: PredictSettings | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        """Open a study; its networks are loaded when they are first asked.

        Args:
            runs: the runs folder, or a URI such as ``s3://bucket/runs``.
            settings: variant, input size of the view classifier, flips, fusion.
            device: ``cuda`` where there is one if None.

        Raises:
            ValueError: there is no study, it has no such variant or size, or a step of it has no
                finished network.
        """
        self.study = Study.open(runs)
        self.settings = settings or PredictSettings()
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._chosen = choose(self.study, self.settings)
        self._two_step = TwoStep(self.study, self.settings, self.device)

    def predict(
        self,
        cine: Cine | NDArray[Any] | torch.Tensor | str | Path,
        frames: Iterable[int] | None = None,
    ) -> Result:
        """Name the view of a cine, and box its stenoses.

        Args:
            cine: a cine of a cohort; the path of a DICOM file; or frames of any size and number,
                [H, W], [T, H, W], or with one or three equal channels, first or last. Frames of
                another type than uint8 are shown from their least to their greatest value.
            frames: indices of those to look at; all of them if None. The others get no boxes.

        Raises:
            ValueError: these are no frames, or no finished network may judge them.
        """
        sequence, shown, judges = self._given(cine)
        wanted = sorted(set(range(sequence.length) if frames is None else frames))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < sequence.length:
            there = f"frames 0 to {sequence.length - 1}" if sequence.length > 1 else "frame 0 alone"
            raise ValueError(f"The cine has {there}; asked for {wanted}.")
        if not judges:
            raise ValueError(
                f"Every finished network was trained on the patient of {sequence.sequence_id}."
            )
        found = self._two_step.findings(sequence, shown, judges, wanted)
        boxes = [found.boxes_by_frame.get(t, []) for t in range(sequence.length)]
        return Result(
            view=found.view,
            probabilities=dict(found.probabilities),
            boxes=[np.array([b.box_xyxy for b in each]).reshape(-1, 4) for each in boxes],
            scores=[np.array([b.score for b in each]) for each in boxes],
            lesions=found.lesions,
            unlike=found.unlike,
        )

    def __repr__(self) -> str:
        runs = self.study.runs
        done = sum(RunFolder.of(self.study.folder, run).finished for run in runs)
        return f"System({str(self.study.folder)!r}: {done} of {len(runs)} runs finished)"

    def _given(self, cine: Any) -> tuple[Sequence, NDArray[np.uint8], Judges]:
        """The record of a cine, its frames as a reader sees them, and who may judge it."""
        if isinstance(cine, Cine):
            cohort, sequence = cine.cohort.opened, cine.sequence
            shown = cohort.cine_8bit(sequence.sequence_id)
            held_out = HeldOut.of(self.study, self._trained_on, cohort)
        else:
            shown = _of_dicom(Path(cine)) if isinstance(cine, (str, Path)) else grey_frames(cine)
            sequence = _record(shown)
            held_out = HeldOut(study=self.study, patient={GIVEN: ""})
        return sequence, shown, self._chosen.judges(held_out, sequence.sequence_id)

    @cached_property
    def _trained_on(self) -> Cohort | None:
        try:
            return Cohort.open(self.study.cohort_folder)
        except (ValueError, OSError):
            return None  # pseudonyms alone tell who is known


def load(
    runs: Location = "runs",
    settings: PredictSettings | None = None,
    device: torch.device | str | None = None,
) -> System:
    """The trained two steps of the study in a runs folder; see :class:`System`."""
    return System(runs, settings, device)


def _record(frames: NDArray[np.uint8]) -> Sequence:
    """The record of frames in memory, uint8[T, H, W], with the phases that are proposed."""
    length, height, width = frames.shape
    sequence = Sequence(
        sequence_id=GIVEN,
        patient_id="",
        view=None,
        length=length,
        height=height,
        width=width,
        bits_stored=8,
        display=Display(lower=0, upper=255),
        frames_digest="",
    )
    return with_proposals(sequence, frames, boxed=False)


def grey_frames(frames: NDArray[Any] | torch.Tensor) -> NDArray[np.uint8]:
    """Frames of any shape and type as uint8[T, H, W].

    Raises:
        ValueError: they have another number of dimensions, colours, or values that are no numbers.
    """
    given = (
        frames.detach().cpu().numpy() if isinstance(frames, torch.Tensor) else np.asarray(frames)
    )
    shape = given.shape
    if given.ndim == 4 and 1 in (shape[1], shape[3]):
        given = given.squeeze(1 if shape[1] == 1 else 3)
    elif given.ndim == 4 and 3 in (shape[1], shape[3]):
        channels = np.moveaxis(given, 1 if shape[1] == 3 else 3, 0)
        if (channels != channels[0]).any():
            raise ValueError("The frames are in colour; expected grey ones.")
        given = channels[0]
    if given.ndim == 2:
        given = given[None]
    if given.ndim != 3 or 0 in given.shape:
        raise ValueError(
            f"Frames of shape {shape}; expected [H, W], [T, H, W], or with one or three channels."
        )
    if given.dtype == np.uint8:
        return np.ascontiguousarray(given)
    if given.dtype.kind not in "uifb" or not np.isfinite(given).all():
        raise ValueError(f"Frames of {given.dtype} hold values that are no finite numbers.")
    values = given.astype(np.float64)
    least, most = float(values.min()), float(values.max())
    scaled = np.round(255 * (values - least) / max(most - least, 1e-9))
    return scaled.astype(np.uint8)


def _of_dicom(path: Path) -> NDArray[np.uint8]:
    from preprocess.dicom.acceptance import Rejection
    from preprocess.dicom.reader import read_cine

    try:
        cine = read_cine(path, size=0)
    except Rejection as reason:
        raise ValueError(f"{path} is no cine that can be read: {reason}.") from reason
    return cine.acquisition.display.apply(cine.frames)
