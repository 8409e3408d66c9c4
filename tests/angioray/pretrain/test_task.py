"""Pretraining on phantoms: what is shown, what is written, and that studies take it over."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from angioray.models.classifier import view_classifier
from angioray.models.patch_detector import PatchDetector
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import AnchorSettings, RetinaNetSettings
from angioray.pretrain.run import PretrainingRun, judge, ranks_here
from angioray.pretrain.settings import PretrainingSettings
from angioray.pretrain.task import Block, Blocks, PretrainingNetwork, PretrainingTask
from angioray.study.settings import DetectorTraining, StudySettings, settings_from_dict
from angioray.training.frames import normalise
from angioray.training.loop import train
from angioray.training.step import World
from preprocess.phantom.examples import EXAMPLES
from preprocess.phantom.settings import PhantomSettings
from preprocess.storage import open_storage

SMALL = RetinaNetSettings(
    size=64, backbone="resnet18", weights="none", frozen_batch_norm=False, levels=(3, 4), channels=8
)
CPU = World(torch.device("cpu"))


@pytest.fixture(scope="module")
def block() -> Block:
    """Two chests, a left and a right artery, for one rank."""
    return Blocks(seed=0, chests=2, size=64, rank=0, ranks=1)[0]


def test_a_block_shows_one_frame_of_every_chest_in_each_step(block: Block) -> None:
    assert block.pixels.shape == (EXAMPLES, 2, 1, 64, 64)
    assert block.arteries.tolist() == [0, 1]
    real = block.boxes[(block.boxes[..., 2:] > block.boxes[..., :2]).all(dim=-1)]
    assert len(real) >= EXAMPLES  # half of the frames or more have a lesion
    assert real.min() >= 0 and real.max() <= 64
    # Readers box no less than 30 px of 512, and few lesions are longer than 100.
    sides = (real[:, 2:] - real[:, :2]) * 8
    assert sides.min() >= 30 * 0.6 and sides.max() < 160
    assert len({frame.numpy().tobytes() for frame in block.pixels.flatten(0, 1)}) == 2 * EXAMPLES


def test_ranks_share_a_block_and_each_sees_both_arteries(block: Block) -> None:
    first = Blocks(seed=0, chests=4, size=64, rank=0, ranks=2)[0]
    assert torch.equal(first.pixels, block.pixels)
    assert torch.equal(first.boxes, block.boxes)
    second = Blocks(seed=0, chests=4, size=64, rank=1, ranks=2)[0]
    assert second.arteries.tolist() == [0, 1]
    assert torch.equal(second.pixels, Blocks(seed=0, chests=2, size=64, rank=0, ranks=1)[1].pixels)


def test_no_archive_has_the_seed_of_an_example() -> None:
    with pytest.raises(ValueError, match=r"seed is .*; it must be 0 or more and below"):
        PhantomSettings(seed=1 << 62)


def written(network: PretrainingNetwork, path: Path) -> str:
    """The network's weights as a file."""
    save_file(network.weights(), path)
    return str(path)


@pytest.fixture(scope="module")
def trained() -> PretrainingNetwork:
    """A network whose norms have seen something."""
    torch.manual_seed(0)
    network = PretrainingNetwork(SMALL, view_weight=0.3)
    network.train()
    for _ in range(3):
        network(torch.randn(4, 1, 64, 64))
    return network.eval()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_study_starts_from_the_very_detector(
    frozen: bool, trained: PretrainingNetwork, tmp_path: Path
) -> None:
    weights = written(trained, tmp_path / "weights.safetensors")
    detector = RetinaNet(replace(SMALL, weights=weights, frozen_batch_norm=frozen)).eval()
    images = torch.randn(2, 1, 64, 64)
    for ours, theirs in zip(detector(images), trained.detector(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_half_the_precision_gives_nearly_the_same_detector(
    trained: PretrainingNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "detector.safetensors"
    save_file(trained.weights(compact=True), path)
    detector = RetinaNet(replace(SMALL, weights=str(path), frozen_batch_norm=True)).eval()
    images = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(
        detector(images)[0].sigmoid(), trained.detector(images)[0].sigmoid(), rtol=0, atol=0.01
    )
    with pytest.raises(ValueError, match=r"do not fit the network: \d+ tensors are missing"):
        view_classifier("resnet18", str(path), 2)


def test_a_classifier_starts_from_the_very_backbone(
    trained: PretrainingNetwork, tmp_path: Path
) -> None:
    weights = written(trained, tmp_path / "weights.safetensors")
    classifier = view_classifier("resnet18", weights, 2).eval()
    own = trained.classifier[-1]
    assert isinstance(own, torch.nn.Linear)
    classifier.fc = own
    images = torch.randn(2, 1, 64, 64)
    expected: Tensor = trained.classifier(trained.detector.features(images)[-1])
    torch.testing.assert_close(classifier(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"channels": 16}, r"another architecture \(pyramid.* differs\).*or pretrain one"),
        ({"anchors": AnchorSettings(scales=(1.0,))}, r"another architecture \(head.* differs\)"),
        ({"levels": (3, 5)}, r"another architecture \(pyramid.* differs\)"),
        ({"backbone": "resnet34"}, r"do not fit the network: \d+ tensors are missing"),
    ],
)
def test_another_architecture_is_refused_with_a_sentence(
    other: dict[str, object], named: str, trained: PretrainingNetwork, tmp_path: Path
) -> None:
    weights = written(trained, tmp_path / "weights.safetensors")
    settings = replace(SMALL, weights=weights, **other)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=named):
        RetinaNet(settings)


def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    settings = PretrainingSettings(steps=4, batch_size=2)

    def pretrained(name: str, *stops: int) -> dict[str, Tensor]:
        folder = open_storage(tmp_path / name)
        for stop in (*stops, settings.steps):
            job = PretrainingTask(SMALL, settings, CPU.device, workers=0)
            train(
                job,
                folder,
                CPU,
                precision=torch.float32,
                checkpoint_every=10,
                progress=lambda *_: None,
                until=stop,
            )
        return job.model.state_dict()

    whole, parts = pretrained("whole"), pretrained("parts", 1, 3)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_classifier_of_patches_is_pretrained_without_a_backbone(
    block: Block, tmp_path: Path
) -> None:
    settings = replace(SMALL, architecture="patches")
    job = PretrainingTask(settings, PretrainingSettings(steps=1), CPU.device, workers=0)
    losses = job.losses(normalise(block.pixels[0]), (block.boxes[0], block.arteries))
    assert losses.keys() == {"classification_loss"}
    metrics = judge(job.model, block, torch.float32, CPU.device)
    assert "view_accuracy" not in metrics and metrics["AP@IoU0.20"] is not None
    images = torch.randn(1, 1, 64, 64)
    path = tmp_path / "weights.safetensors"
    for compact in (False, True):
        save_file(job.model.weights(compact=compact), path)
        detector = PatchDetector(replace(settings, weights=str(path))).eval()
        expected = job.model.detector(images)
        torch.testing.assert_close(detector(images), expected, rtol=0, atol=0.01 * compact + 1e-6)


def test_an_architecture_without_pretraining_is_refused(tmp_path: Path) -> None:
    settings = StudySettings(detector=DetectorTraining(architecture="gradcam", variants=("NL",)))
    with pytest.raises(ValueError, match="for the architectures retinanet and patches, not for gr"):
        PretrainingRun(str(tmp_path), settings, PretrainingSettings())


@pytest.mark.slow
def test_two_processes_pretrain_a_folder_that_says_how_good_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = StudySettings(detector=replace(StudySettings().detector, **vars(SMALL)))
    pretraining = PretrainingSettings(steps=1, batch_size=8)
    out = str(tmp_path / "pretrained")
    result = PretrainingRun(out, settings, pretraining).carry_out()
    assert "Warning" not in capfd.readouterr().err
    assert result["held_out_frames"] == 8 * EXAMPLES
    assert 0 <= result["metrics"]["view_accuracy"] <= 1
    weights = f"{out}/weights.safetensors"
    RetinaNet(replace(SMALL, weights=weights, frozen_batch_norm=True))
    assert PretrainingRun(out, settings, pretraining).result() == result
    with pytest.raises(ValueError, match=r"pretraining\.steps was 1 and is now 3"):
        PretrainingRun(out, settings, replace(pretraining, steps=3))


def test_the_weights_that_come_along_find_lesions_that_they_have_not_seen() -> None:
    text = (Path(__file__).parents[3] / "configs" / "demo.yaml").read_text("utf-8")
    settings = settings_from_dict(yaml.safe_load(text)).detector
    assert settings.weights == "phantom"
    network = PretrainingNetwork(settings, view_weight=0.0)
    network.detector = RetinaNet(settings)
    unseen = Blocks(seed=0, chests=4, size=settings.size, rank=0, ranks=1)[1000]
    metrics = judge(network, unseen, torch.float32, CPU.device)
    assert (metrics["recall@IoU0.20/score0.00/max5"] or 0) > 0.6
    assert (metrics["AP@IoU0.20"] or 0) > 0.4


def test_a_batch_is_shared_evenly_by_as_many_processes_as_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert [ranks_here(size) for size in (8, 32, 6, 7)] == [2, 4, 1, 1]


@pytest.mark.parametrize("name", ["study.json", "predictions.json"])
def test_a_folder_of_a_study_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="holds a study or a run of one"):
        PretrainingRun(str(tmp_path), StudySettings(), PretrainingSettings())
