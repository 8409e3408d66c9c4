"""Trained networks as ONNX graphs: grey frames in; boxes and scores, or probabilities, out.

Normalisation and the decoding of boxes are in the graph. Suppression is not: its number of boxes
differs by frame, which a batch cannot hold. Nor is resizing: ONNX's own rounds once where
torchvision rounds after rows and after columns, and the grey level by which a tenth of the pixels
then differ moves scores by up to 0.007.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from angioray.models.backbone import absorb_frozen_norms
from angioray.models.retinanet import RetinaNet
from angioray.training.frames import GAIN, OFFSET, normalise

OPSET = 18
"""Of ONNX's operators; runtimes of 2023 and later know it."""
INPUT = "frames"
OUTPUTS = {"detector": ("boxes", "scores"), "view": ("probabilities",)}
"""Names of a graph's outputs, by task."""

BOX_TOLERANCE_PX = 0.1
SCORE_TOLERANCE = 1e-4
"""The most by which a graph may differ from PyTorch; so for probabilities."""


class DetectorGraph(nn.Module):
    """A detector up to its candidates."""

    def __init__(self, detector: RetinaNet) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (float32[N, K, 4] xyxy in pixels) and scores (float32[N, K]), best first, of
        uint8[N, 1, S, S]."""
        return self.detector.candidates(*self.detector(frames.float() * GAIN + OFFSET))


class ViewGraph(nn.Module):
    """A view classifier up to its probabilities."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, frames: Tensor) -> Tensor:
        """The probability of each class (float32[N, K]) of uint8[N, 1, S, S]."""
        logits: Tensor = self.classifier(frames.float() * GAIN + OFFSET)
        return logits.softmax(dim=1)


@dataclass(frozen=True)
class Difference:
    """The greatest differences between a graph and its network.

    Attributes:
        boxes_px: of a side of a box, in pixels of the input; 0 of a view classifier.
        scores: of a score, or of a probability.
    """

    boxes_px: float
    scores: float

    @property
    def small(self) -> bool:
        """Whether both are within their tolerances."""
        return self.boxes_px <= BOX_TOLERANCE_PX and self.scores <= SCORE_TOLERANCE

    def __str__(self) -> str:
        boxes = f"{self.boxes_px:.1g} px in boxes and " if self.boxes_px else ""
        return f"differs from PyTorch by at most {boxes}{self.scores:.1g} in scores"


def require_onnx() -> None:
    """Raise ValueError unless the packages that write graphs are installed."""
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise ValueError(
            f"ONNX files need the package {' and '.join(missing)}: pip install 'angioray[onnx]'."
        )


def write_graph(path: Path, model: nn.Module, size: int) -> None:
    """Write a trained network as an ONNX file for any number of frames, and check that file.

    Args:
        path: the file.
        model: a detector or a view classifier, on the CPU.
        size: side S of its square input in pixels.

    Raises:
        ValueError: the network has an operation that ONNX lacks, or is another detector than
            RetinaNet, whose candidates are not known.
    """
    import onnx

    graph, task = _graph(copy.deepcopy(model))
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=OUTPUTS[task],
            dynamic_shapes=({0: "N"},),
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as problem:
        raise ValueError(
            f"PyTorch {torch.__version__} cannot write this network as ONNX: "
            f"{str(problem).splitlines()[0]}"
        ) from problem
    assert program is not None
    written = program.model_proto
    _strip(written)
    onnx.checker.check_model(written, full_check=True)
    onnx.save_model(written, path)


def _graph(model: nn.Module) -> tuple[nn.Module, str]:
    absorb_frozen_norms(model)
    if type(model) is RetinaNet:
        return DetectorGraph(model), "detector"
    if hasattr(model, "detect"):
        raise ValueError(
            "This detector is of another architecture; only angioray's own RetinaNet is written as "
            "ONNX."
        )
    return ViewGraph(model), "view"


def _strip(written: Any) -> None:
    """Remove notes of the exporter: they hold source lines, with the paths of this machine."""
    parts = [written, written.graph, *written.graph.node, *written.graph.value_info]
    for part in (*parts, *written.graph.input, *written.graph.output, *written.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def compare(path: Path, model: nn.Module, frames: Tensor) -> Difference:
    """What a written graph answers in onnxruntime against what its network answers in PyTorch.

    Args:
        path: the ONNX file.
        model: the network that it was made of.
        frames: uint8[N, 1, S, S]; the first is also looked at alone.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = []
    for part in (frames, frames[:1]):
        found = session.run(None, {INPUT: part.numpy()})
        with torch.no_grad():
            answers = model(normalise(part))
            if isinstance(model, RetinaNet):
                expected = [answer.numpy() for answer in model.candidates(*answers)]
                frame_by_frame = zip(*found, *expected, strict=True)
                differences += [compare_candidates(*frame) for frame in frame_by_frame]
            else:
                wanted = answers.softmax(dim=1).numpy()
                differences.append(Difference(0.0, float(np.abs(found[0] - wanted).max())))
    return greatest(differences)


def greatest(differences: Sequence[Difference]) -> Difference:
    """The greatest of each."""
    return Difference(
        max(difference.boxes_px for difference in differences),
        max(difference.scores for difference in differences),
    )


def compare_candidates(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    expected_boxes: NDArray[np.float32],
    expected_scores: NDArray[np.float32],
) -> Difference:
    """Two lists of one frame's candidates, as sets: equal scores may stand in any order.

    Args:
        boxes: float32[K, 4].
        scores: float32[K], best first.
        expected_boxes: float32[K, 4].
        expected_scores: float32[K], best first.
    """
    from scipy.spatial.distance import cdist

    by_rank = float(np.abs(scores - expected_scores).max())
    # Which of the nearly equal ones at the end of a list is in it is up to rounding.
    certain = expected_scores > expected_scores[-1] + 10 * by_rank + 1e-6
    tolerances = np.array([BOX_TOLERANCE_PX] * 4 + [SCORE_TOLERANCE])
    given = np.column_stack([boxes, scores]) / tolerances
    wanted = np.column_stack([expected_boxes, expected_scores])[certain] / tolerances
    if not len(wanted):
        return Difference(0.0, by_rank)
    nearest = given[cdist(wanted, given, "chebyshev").argmin(axis=1)]
    apart = np.abs(nearest - wanted).max(axis=0) * tolerances
    return Difference(float(apart[:4].max()), max(float(apart[4]), by_rank))
