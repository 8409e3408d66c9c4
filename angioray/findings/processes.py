"""How many processes look at cines on this machine, each with all networks in its memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from angioray.inference.chosen import Chosen
from angioray.inference.two_step import FRAMES_AT_ONCE
from angioray.models.architectures import build_detector
from angioray.models.classifier import view_classifier
from angioray.study.study import Study
from angioray.training.host_memory import free
from preprocess.cohort import Sequence
from preprocess.console.workers import available_cores

BARE_PROCESS_BYTES = 700 << 20
"""Of Python with PyTorch, OpenCV and Zarr."""
FEATURE_BYTES_PER_PIXEL = 256
"""Of network input: what a ResNet and its pyramid hold of it at once, in float32."""
COPIES_OF_A_CINE = 3
"""As it is stored, as it is shown, and one in the making."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Attributes:
    number: of processes.
    device: of each: ``cpu`` or ``cuda``.
    threads: of each.
    """

    number: int
    device: str
    threads: int

    @classmethod
    def here(
        cls, wanted: int, study: Study, chosen: Chosen, cines: Iterable[Sequence]
    ) -> Processes:
        """As many as cores and memory bear, and as there are cines; one where there is a GPU.

        Args:
            wanted: if not 0, so many.
            study: whose networks look.
            chosen: which of them.
            cines: to look at.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        cores = available_cores()
        number = wanted
        if not number and device == "cuda":
            number = 1
        if not number:
            bytes_each = _bytes_each(study, chosen, kept := list(cines))
            number = max(1, min(cores, free() // bytes_each, len(kept)))
        return cls(number=number, device=device, threads=max(1, cores // number))


def _bytes_each(study: Study, chosen: Chosen, cines: Iterable[Sequence]) -> int:
    view, detector = study.settings.view, study.settings.detector
    with torch.device("meta"):  # they are counted, not made
        networks: list[tuple[nn.Module, int]] = [
            (view_classifier(view.backbone, "none", 2), len(chosen.classifiers)),
            (build_detector(detector, pretrained=False), sum(map(len, chosen.detectors.values()))),
        ]
    weights: int = sum(
        number * sum(each.nbytes for each in network.state_dict().values())
        for network, number in networks
    )
    features = FRAMES_AT_ONCE["cpu"] * detector.size**2 * FEATURE_BYTES_PER_PIXEL
    pixels = max((c.length * c.height * c.width * -(-c.bits_stored // 8) for c in cines), default=0)
    return BARE_PROCESS_BYTES + weights + features + COPIES_OF_A_CINE * pixels
