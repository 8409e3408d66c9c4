"""A pretraining run: its processes, its folder, and its results."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.distributed
import yaml
from torch.multiprocessing.spawn import ProcessRaisedException, spawn

from angioray.evaluation.detection import JudgedFrames, Matched
from angioray.evaluation.measures import Metrics, value
from angioray.models.settings import PATCHES, RETINANET
from angioray.models.weights_file import packed
from angioray.pretrain.settings import PretrainingSettings
from angioray.pretrain.task import (
    Block,
    Blocks,
    PatchPretraining,
    PretrainingNetwork,
    PretrainingTask,
)
from angioray.study.differences import describe_difference, differences
from angioray.study.run_folder import RunFolder, alone_in, environment
from angioray.study.settings import StudySettings
from angioray.training.frames import normalise
from angioray.training.loop import train
from angioray.training.precision import dtype_here, forward_passes
from angioray.training.step import World
from preprocess.console.cluster import meet_on_loopback
from preprocess.console.progress import ProgressLine
from preprocess.phantom.examples import EXAMPLES

WEIGHTS = "weights.safetensors"
COMPACT = "detector.safetensors"
"""The same for detectors alone, in float16: a sixth of the size or less, to be handed on."""
CHECKPOINT_EVERY = 100
LEAST_FRAMES = 4
"""Of a rank in a step: its batch norms see these alone."""
HELD_OUT_CHESTS = 8
MEASURES = (
    "AP@IoU0.20",
    "recall@IoU0.20/score0.00/max5",
    "recall@IoU0.20/score0.50/max5",
    "precision@IoU0.20/score0.50/max5",
)


class PretrainingRun:
    """A folder of pretrained weights, and how it comes to hold them."""

    def __init__(
        self, location: str, settings: StudySettings, pretraining: PretrainingSettings
    ) -> None:
        """``location`` is the folder; the detector's settings give the architecture.

        Raises:
            ValueError: the folder holds weights that were made otherwise, or there is nothing to
                pretrain for the architecture.
        """
        if settings.detector.architecture not in (RETINANET, PATCHES):
            raise ValueError(
                f"Weights can be pretrained for the architectures {RETINANET} and {PATCHES}, not "
                f"for {settings.detector.architecture}. Detectors with a backbone may start from "
                f"that of a pretrained {RETINANET}: give its file as `detector.weights`."
            )
        self._location, self._settings, self._pretraining = location, settings, pretraining
        self._folder = RunFolder(location)
        if self._folder.files.exists("study.json") or self._folder.files.exists("predictions.json"):
            raise ValueError(
                f"{location} holds a study or a run of one. Give weights a folder of their own."
            )
        kept = self._folder.files.read_text("settings.yaml")
        if kept is not None and (different := differences(yaml.safe_load(kept), self._document())):
            raise ValueError(
                f"{location} holds weights that are made with other settings: "
                f"{describe_difference(*different[0])}. Give the same ones to continue it, or name "
                "another folder."
            )

    def result(self) -> dict[str, Any] | None:
        """What became of it; None while it is not finished."""
        return self._folder.result() if self._folder.finished else None

    def carry_out(self) -> dict[str, Any]:
        """Pretrain, from the checkpoint if there is one.

        Raises:
            ValueError: another process is at it.
            FloatingPointError: training diverged.
        """
        ranks = ranks_here(self._pretraining.batch_size)
        with alone_in(self._folder.files, what="pretraining"):
            self._folder.files.write_text(
                "settings.yaml", yaml.safe_dump(self._document(), sort_keys=False)
            )
            if ranks == 1:
                self._train(World.alone())
            else:
                self._train_on(ranks)
        found = self.result()
        assert found is not None
        return found

    def _train_on(self, ranks: int) -> None:
        meet_on_loopback()
        # Each rank would warn that DistributedDataParallel looked for idle parameters in vain.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        with tempfile.TemporaryDirectory() as meeting:
            arguments = (ranks, f"file://{meeting}/ranks", self._location)
            try:
                spawn(_rank, (*arguments, self._settings, self._pretraining), nprocs=ranks)
            except ProcessRaisedException as problem:
                raise FloatingPointError(str(problem).strip().rpartition("\n")[2]) from problem

    def _train(self, world: World) -> None:
        """Train as one rank; the first writes the files."""
        settings, pretraining = self._settings, self._pretraining
        precision = dtype_here(settings.precision, world.device)
        workers = max(1, (os.cpu_count() or 1) // world.size)
        job = PretrainingTask(settings.detector, pretraining, world.device, workers)
        if world.leads:
            made_in = environment(world.device) | {
                "forward_passes": str(precision).removeprefix("torch."),
                "ranks": world.size,
            }
            self._folder.files.write_json("environment.json", made_in)
        with ProgressLine("pretraining step") as line:

            def show(done: int, steps: int, values: Mapping[str, float]) -> None:
                if world.leads:
                    line.show(done, steps, f"loss {values['loss']:.3f}")

            seconds = train(
                job,
                self._folder.files,
                world,
                precision=precision,
                checkpoint_every=CHECKPOINT_EVERY,
                progress=show,
                compiled=settings.compile,
            )
        if world.leads:
            self._finish(job.model, precision, world.device, seconds)

    def _finish(
        self,
        network: PretrainingNetwork | PatchPretraining,
        precision: torch.dtype,
        device: torch.device,
        seconds: float,
    ) -> None:
        """Judge the network on new phantoms, and write its weights; the result comes last."""
        pretraining, size = self._pretraining, self._settings.detector.size
        blocks = Blocks(pretraining.seed, HELD_OUT_CHESTS, size, rank=0, ranks=1)
        # Chests are counted through all blocks: these begin after the last that was trained on.
        trained = -(-pretraining.steps // EXAMPLES) * pretraining.batch_size
        block = blocks[-(-trained // HELD_OUT_CHESTS)]
        self._folder.files.write(WEIGHTS, packed(network.weights()))
        self._folder.files.write(COMPACT, packed(network.weights(compact=True)))
        result = {
            "steps": pretraining.steps,
            "seconds": round(seconds, 1),
            "held_out_frames": HELD_OUT_CHESTS * EXAMPLES,
            "metrics": judge(network, block, precision, device),
        }
        self._folder.files.write_json("result.json", result)

    def _document(self) -> dict[str, Any]:
        detector = asdict(self._settings.detector)
        decides: tuple[str, ...] = ("architecture", "size")
        if detector["architecture"] == RETINANET:
            architecture = ("size", "backbone", "levels", "channels", "anchors")
            losses = ("focal_alpha", "focal_gamma", "smooth_l1_beta", "box_weight")
            decides = (*architecture, *losses, "foreground_iou", "background_iou")
        document = {
            "detector": {name: detector[name] for name in decides},
            "pretraining": asdict(self._pretraining),
        }
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain


def ranks_here(batch_size: int) -> int:
    """Processes that train together: one for each GPU, or else for each core.

    No more than share a batch evenly, with frames enough for each rank's batch norms.
    """
    most = torch.cuda.device_count() or os.cpu_count() or 1
    even = (ranks for ranks in range(2, most + 1) if batch_size % ranks == 0)
    return max((ranks for ranks in even if batch_size // ranks >= LEAST_FRAMES), default=1)


def _rank(
    rank: int,
    ranks: int,
    meeting: str,
    location: str,
    settings: StudySettings,
    pretraining: PretrainingSettings,
) -> None:
    # PyTorch ends a rank whose parent died by this signal, which a script's background jobs ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks))
    torch.distributed.init_process_group(
        "nccl" if gpu else "gloo", init_method=meeting, rank=rank, world_size=ranks
    )
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    try:
        PretrainingRun(location, settings, pretraining)._train(World(device, rank, ranks))
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


@torch.no_grad()
def judge(
    network: PretrainingNetwork | PatchPretraining,
    block: Block,
    precision: torch.dtype,
    device: torch.device,
) -> Metrics:
    """How good a network is on a block of examples."""
    network.eval()
    found, truth, right = {}, {}, []
    for step, (pixels, boxes) in enumerate(zip(block.pixels, block.boxes, strict=True)):
        images = normalise(pixels.to(device), precision)
        with forward_passes(device, precision):
            detections, logits = network.detect(images)
        if logits is not None:
            right.append((logits.argmax(dim=1).cpu() == block.arteries).double())
        each = zip(boxes, detections.boxes_xyxy.cpu(), detections.scores.cpu(), strict=True)
        for chest, (true, predicted, scores) in enumerate(each):
            image = step * len(pixels) + chest
            truth[image] = true[(true[:, 2:] > true[:, :2]).all(dim=1)].double().numpy()
            kept = scores >= 0
            found[image] = predicted[kept].double().numpy(), scores[kept].double().numpy()
    sequence = {image: str(image % block.pixels.shape[1]) for image in truth}
    measures = Matched.of(JudgedFrames(sequence=sequence, truth=truth), found).measures()
    metrics: Metrics = {name: value(measures[name], len(truth)) for name in MEASURES}
    if right:
        metrics["view_accuracy"] = float(np.mean(torch.cat(right).numpy()))
    return metrics
