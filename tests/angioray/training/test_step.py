"""One step: it compiles as one graph, and what is no number is traced to its frames."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from angioray.models.retinanet import RetinaNet
from angioray.training.loop import train
from angioray.training.settings import OptimiserSettings
from angioray.training.step import World
from preprocess.cohort import Cohort
from preprocess.storage import open_storage
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import CPU, RUNS, StoppedError, execute


class LineBatches:
    """Two frames a step, in order."""

    batch_size = 2

    def keys_of(self, step: int) -> list[tuple[str, int]]:
        return [("S1", 2 * step), ("S2", 2 * step + 1)]


class LineTask:
    """Two frames a step through one weight; frame 5 holds what is no number."""

    plateau = None
    steps = 12
    optimiser = OptimiserSettings(learning_rate=1e-3)
    batches = LineBatches()

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1)

    def enter(self, step: int) -> None:
        pass

    def batch(self, step: int, world: World, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        frames = torch.tensor([float(index) for _, index in self.batches.keys_of(step)])
        frames[frames == 5] = torch.nan
        return frames[:, None], torch.zeros(2, 1)

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"square": (self.model(images) - targets).square().mean()}


def test_a_poisoned_frame_is_named_with_its_step(tmp_path: Path) -> None:
    told: list[Any] = []
    # Frame 5 is in the third step; the losses are first read after the tenth.
    with pytest.raises(FloatingPointError, match=r"at step 3, of S1 frame 4; S2 frame 5\."):
        train(
            LineTask(),
            open_storage(tmp_path),
            CPU,
            precision=torch.float32,
            checkpoint_every=100,
            progress=lambda *line: told.append(line),
        )
    assert not told and not (tmp_path / "checkpoint").exists()


def test_forward_and_loss_are_one_graph_with_the_same_numbers() -> None:
    torch.manual_seed(0)
    model = RetinaNet(TOY.detector)
    images = torch.randn(2, 1, 64, 64)
    boxes = torch.tensor([[[8.0, 8, 30, 30], [40, 40, 60, 62]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
    found = []
    compiled = torch.compile(model.loss, fullgraph=True, dynamic=False, backend="aot_eager")
    for loss in (model.loss, compiled):
        losses = loss(images, boxes)
        torch.stack(list(losses.values())).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((losses, gradients))
        model.zero_grad()
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_scores_are_told_apart_under_bfloat16() -> None:
    torch.manual_seed(0)
    model = RetinaNet(TOY.detector).eval()
    for layer in model.head.classification_head.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)  # as different as after training
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, _ = model(torch.randn(4, 1, 64, 64))
    assert logits.dtype == torch.float32
    # Rounded to bfloat16 they would be less than a quarter as many different numbers.
    assert len(logits.unique()) > 0.9 * logits.numel()


def test_a_lane_compiles_once_for_runs_of_one_shape() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    boxes = torch.tensor([[[8.0, 8, 30, 30]], [[0, 0, 0, 0]]])
    # More runs than torch would compile one function for before it gives up.
    for _ in range(torch._dynamo.config.recompile_limit + 2):
        model = RetinaNet(TOY.detector)
        loss = torch.compile(model.loss, fullgraph=True, dynamic=False, backend="aot_eager")
        torch.stack(list(loss(torch.randn(2, 1, 64, 64), boxes, 16).values())).sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_seconds_are_counted_over_attempts(toy_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        execute(toy_cohort, tmp_path, RUNS[1], stop_at=8)
    path = tmp_path / RUNS[1] / "checkpoint" / "state.json"
    state = json.loads(path.read_text())
    assert state["seconds"] > 0
    # As a version without checksums wrote it.
    del state["sha256"], state["sha256_of_this"]
    path.write_text(json.dumps({**state, "schema_version": 1, "seconds": 1000.0}))
    run = execute(toy_cohort, tmp_path, RUNS[1])
    result = json.loads((run / "result.json").read_text())
    assert 1000 < result["seconds"] < 1100
    assert 0 < result["inference"]["seconds"] < 1000 and 0 < result["inference"]["frames"] <= 8
