"""ONNX files answer as PyTorch does: boxes within 0.1 px, scores within 1e-4."""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import angioray
from angioray.export import onnx_graphs
from angioray.export.hugging_face import USE
from angioray.export.onnx_graphs import compare, compare_candidates, require_onnx, write_graph
from angioray.models.classifier import view_classifier
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import RetinaNetSettings
from angioray.study.settings import settings_from_dict
from angioray.training.frames import normalise, resize

CLIPS = Path(
    os.environ.get("ANGIORAY_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"),
    "danilov/sequences_8_patients.tar",
)


@pytest.fixture(scope="module")
def phantom() -> RetinaNet:
    """The demo's detector, with the weights that it starts from."""
    demo = yaml.safe_load((angioray.CONFIGS / "demo.yaml").read_text())
    return RetinaNet(settings_from_dict(demo).detector).eval()


@pytest.fixture(scope="module")
def phantom_file(phantom: RetinaNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "phantom.onnx"
    write_graph(path, phantom, phantom.settings.size)
    return path


def noise(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=generator)


def real_frames(size: int) -> torch.Tensor:
    """Every 60th frame of the real clips (uint8[N, 1, size, size])."""
    if not CLIPS.is_file():
        pytest.skip("the real clips are not on this machine (set ANGIORAY_REAL_DATA)")
    frames = []
    with tarfile.open(CLIPS) as tar:
        for member in tar.getmembers()[::60]:
            content = tar.extractfile(member)
            assert content is not None
            grey = Image.open(io.BytesIO(content.read())).convert("L")
            frames.append(resize(torch.from_numpy(np.array(grey))[None, None], size))
    return torch.cat(frames)


def test_it_is_plain_and_says_nothing_of_this_machine(phantom_file: Path) -> None:
    model = onnx.load(phantom_file)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    operators = Counter(node.op_type for node in model.graph.node)
    # 15 of three stages, 2 + 2 of the pyramid, 5 + 5 of each level's sub-networks.
    assert operators["Conv"] == 15 + 4 + 20 and "BatchNormalization" not in operators
    weights = {weight.name for weight in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert all(node.input[1] in weights for node in convolutions), "norms are absorbed"
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
    notes = model.SerializeToString()
    assert not [word for word in (b'.py"', b"stack_trace", b"angioray") if word in notes]


def test_candidates_are_those_of_pytorch(phantom: RetinaNet, phantom_file: Path) -> None:
    difference = compare(phantom_file, phantom, noise(3, 192))
    assert difference.small and difference.scores < 1e-5 and 0 < difference.boxes_px < 1e-2


def test_on_real_frames_final_boxes_are_those_of_pytorch(
    phantom: RetinaNet, phantom_file: Path
) -> None:
    frames = real_frames(192)
    assert compare(phantom_file, phantom, frames).small
    code: dict[str, Any] = {}
    exec(USE["detector"].partition("\n\nconfig =")[0], code)
    session = onnxruntime.InferenceSession(phantom_file)
    boxes, scores = session.run(None, {"frames": frames.numpy()})
    expected = phantom.detect(normalise(frames))
    for i in range(len(frames)):
        kept = code["suppress"](boxes[i], scores[i], phantom.settings.nms_iou, 100)
        wanted = expected.boxes_xyxy[i].numpy(), expected.scores[i].numpy()
        count = int((wanted[1] >= 0).sum())
        assert len(kept[1]) == count > 20
        np.testing.assert_allclose(kept[0], wanted[0][:count], atol=0.1)
        np.testing.assert_allclose(kept[1], wanted[1][:count], atol=1e-4)


@pytest.mark.slow
def test_the_papers_detector(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = RetinaNet(RetinaNetSettings(weights="none", frozen_batch_norm=False)).eval()
    # Random weights score all anchors alike; these tell them apart, and move and scale boxes.
    nn.init.normal_(model.head.classification_head.cls_logits.weight, std=0.03)
    nn.init.normal_(model.head.regression_head.bbox_reg.weight, std=0.02)
    write_graph(tmp_path / "paper.onnx", model, 512)
    difference = compare(tmp_path / "paper.onnx", model, noise(2, 512))
    assert difference.small and difference.boxes_px > 0


def test_a_view_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = view_classifier("resnet18", "none", 3).eval()
    write_graph(tmp_path / "view.onnx", model, 64)
    assert 0 < compare(tmp_path / "view.onnx", model, noise(3, 64)).scores < 1e-5
    other = view_classifier("resnet18", "none", 3).eval()
    assert not compare(tmp_path / "view.onnx", other, noise(3, 64)).small


def test_candidates_compare_as_sets() -> None:
    boxes = np.array([[0, 0, 9, 9], [5, 5, 20, 20], [1, 1, 4, 4], [7, 7, 8, 9]], np.float32)
    scores = np.array([0.9, 0.5, 0.5, 0.1], np.float32)
    swapped = [0, 2, 1, 3]
    same = compare_candidates(boxes[swapped], scores[swapped], boxes, scores)
    assert (same.boxes_px, same.scores) == (0, 0)
    # The last one is at the cut: another box may take its place.
    at_the_cut = boxes + np.array([[0], [0], [0], [9]], np.float32)
    assert compare_candidates(at_the_cut, scores, boxes, scores).small
    moved = boxes + np.array([[0], [0.25], [0], [0]], np.float32)
    assert compare_candidates(moved, scores, boxes, scores).boxes_px == 0.25
    lower = scores - np.array([0.125, 0, 0, 0], np.float32)
    assert compare_candidates(boxes, lower, boxes, scores).scores == pytest.approx(0.125)
    # The same boxes and the same scores, but not of each other.
    assert not compare_candidates(boxes[[1, 0, 2, 3]], scores, boxes, scores).small


class Foreign(nn.Module):
    """A detector of another package."""

    def detect(self, images: torch.Tensor) -> None: ...


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="only angioray's own RetinaNet"):
        write_graph(tmp_path / "x.onnx", Foreign(), 64)

    class Fourier(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(images[:, 0]).abs()

    with pytest.raises(ValueError, match="cannot write this network as ONNX"):
        write_graph(tmp_path / "x.onnx", Fourier(), 64)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(onnx_graphs, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnx and onnxscript: pip install 'angioray\[onnx\]'"):
        require_onnx()
