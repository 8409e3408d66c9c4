"""Patches of a frame: slid is patch by patch, blobs are found where they are, runs resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from angioray.cluster.flops import forward_flop
from angioray.models.patch_detector import FRAME, NEAR, PATCH, STRIDE, PatchDetector
from angioray.models.settings import RetinaNetSettings
from preprocess.cohort import Cohort
from tests.angioray.settings import TOY
from tests.angioray.training.toy_runs import RUNS, StoppedError, execute

SETTINGS = RetinaNetSettings(
    architecture="patches", size=FRAME, weights="none", frozen_batch_norm=False
)


def seen(settings: RetinaNetSettings = SETTINGS) -> PatchDetector:
    """A network whose norms have seen something."""
    torch.manual_seed(0)
    detector = PatchDetector(settings).train()
    detector(torch.randn(2, 1, settings.size, settings.size))
    return detector.eval()


@torch.no_grad()
def test_slid_over_a_frame_it_answers_as_on_each_patch() -> None:
    detector = seen()
    frame = torch.randn(1, 1, FRAME, FRAME)
    answers = detector(frame)[0]
    patches = frame[0, 0].unfold(0, PATCH, STRIDE).unfold(1, PATCH, STRIDE)
    assert patches.shape[:2] == answers.shape
    each = detector.network(patches.reshape(-1, 1, PATCH, PATCH)).view(answers.shape)
    torch.testing.assert_close(answers, each, rtol=1e-4, atol=1e-5)


def test_its_operations_are_counted() -> None:
    flop = forward_flop(
        replace(TOY, detector=replace(TOY.detector, architecture="patches")), "detector", 64
    )
    layers = [(254, 9, 16), (252, 9 * 16, 16), (124, 9 * 16, 32), (122, 9 * 32, 32)]
    layers += [(57, 25 * 32, 64), (57, 64, 1)]
    assert flop == sum(2 * side**2 * inputs * outputs for side, inputs, outputs in layers)


def test_labels_by_brute_force() -> None:
    detector = PatchDetector(replace(SETTINGS, size=128))  # two pixels of a frame each
    boxes = torch.tensor([[[40.0, 60, 60, 70], [100, 10, 110, 16], [0, 0, 0, 0]], [[0.0] * 4] * 3])
    lesion, none = detector.labels(boxes, patches=57)
    centres = [(100, 130), (210, 26)]
    for row in range(57):
        for column in range(57):
            y, x = (16 + 4 * place for place in (row, column))
            apart = min(max(abs(x - cx), abs(y - cy)) for cx, cy in centres)
            assert bool(lesion[0, row, column]) == (apart <= NEAR)
            assert bool(none[0, row, column]) == (apart > PATCH / 2)
    assert lesion[0].sum() == 3 * 4 + 4 * 4 and not lesion[1].any() and none[1].all()


@pytest.mark.parametrize("size", [128, 256, 512])
def test_bright_blobs_are_found_at_the_right_pixel(size: int) -> None:
    detector = PatchDetector(replace(SETTINGS, size=size))
    detector.network = nn.Sequential(nn.AvgPool2d(PATCH, STRIDE))  # how bright a patch is
    images = torch.zeros(1, 1, size, size)
    pixel = size / FRAME
    for x, y, grey in ((64, 80, 9.0), (160, 200, 5.0)):  # of a patch's size, around these pixels
        low_x, high_x, low_y, high_y = (round(c * pixel) for c in (x - 16, x + 16, y - 16, y + 16))
        images[0, 0, low_y:high_y, low_x:high_x] = grey
    found = detector.detect(images)
    expected = torch.tensor([[48.0, 64, 80, 96], [144, 184, 176, 216]]) * pixel
    torch.testing.assert_close(found.boxes_xyxy[0, :2], expected)
    torch.testing.assert_close(
        found.scores[0, :2], torch.tensor([9.0, 5.0]).sigmoid(), rtol=0.01, atol=0
    )


def test_it_learns_to_find_what_boxes_show() -> None:
    size = 128
    images = 0.3 * torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[35.0, 27, 45, 37]], [[70, 80, 80, 90]], [[90, 40, 100, 50]]] * 2)[:4]
    boxes[3] = torch.tensor([60.0, 64, 70, 74])
    for image, box in zip(images, boxes, strict=True):
        x1, y1, x2, y2 = box[0].int().tolist()
        image[0, y1:y2, x1:x2] += 2
    torch.manual_seed(0)
    detector = PatchDetector(replace(SETTINGS, size=size)).train()
    optimiser = torch.optim.AdamW(detector.parameters(), lr=1e-2)
    for _ in range(15):
        detector.loss(images[:3], boxes[:3])["classification_loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
    found = detector.eval().detect(images[3:]).boxes_xyxy[0, 0]
    assert ((found[:2] + found[2:]) / 2 - torch.tensor([65.0, 69])).abs().max() <= 3


def test_both_classes_weigh_alike_and_the_same_batch_gives_the_same_loss() -> None:
    detector = PatchDetector(SETTINGS)
    nn.init.zeros_(detector.network[-1].weight)  # type: ignore[arg-type]
    nn.init.constant_(detector.network[-1].bias, 1.0)  # type: ignore[arg-type]
    images, boxes = torch.randn(2, 1, FRAME, FRAME), torch.tensor([[[90.0, 90, 130, 130]]] * 2)
    loss = detector.loss(images, boxes)["classification_loss"]
    one = torch.tensor(1.0)
    torch.testing.assert_close(loss, -(one.sigmoid().log() + (-one).sigmoid().log()) / 2)
    assert torch.equal(loss, detector.loss(images, boxes)["classification_loss"])


def test_a_run_that_was_stopped_ends_with_the_same_weights(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    detector = replace(TOY.detector, architecture="patches", steps=8, batch_size=2)
    settings = replace(TOY, detector=detector, checkpoint_every=2)
    whole = execute(toy_cohort, tmp_path / "whole", RUNS[1], settings)
    with pytest.raises(StoppedError):
        execute(toy_cohort, tmp_path / "parts", RUNS[1], settings, stop_at=6)
    parts = execute(toy_cohort, tmp_path / "parts", RUNS[1], settings)
    first, second = (
        next((f / "checkpoint").glob("weights-*")).read_bytes() for f in (whole, parts)
    )
    assert first == second
    assert (whole / "predictions.json").read_bytes() == (parts / "predictions.json").read_bytes()


def test_it_starts_from_its_own_weights_alone(tmp_path: Path) -> None:
    detector, path = seen(), tmp_path / "weights.safetensors"
    save_file(detector.state_dict(), path)
    images = torch.randn(1, 1, FRAME, FRAME)
    for frozen in (True, False):
        settings = replace(SETTINGS, weights=str(path), frozen_batch_norm=frozen)
        torch.testing.assert_close(PatchDetector(settings).eval()(images), detector(images))
    save_file({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no weights of the architecture patches"):
        PatchDetector(replace(SETTINGS, weights=str(path)))
    with pytest.raises(ValueError, match="weights is phantom, which the architecture patches"):
        replace(SETTINGS, weights="phantom")
