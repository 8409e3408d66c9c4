"""A classifier of small patches, "lesion or none", slid over the frame.

After Antczak and Liberadzki 2018 (doi:10.1051/matecconf/201821004001), who pretrained on generated
patches. The network pads nowhere, so that its answer on a frame is that on each patch by itself.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from angioray.models.convolution import with_fast_gradients
from angioray.models.detector import DetectionBatch, Detector, norm_layer
from angioray.models.peaks import peak_boxes
from angioray.models.settings import RetinaNetSettings
from angioray.models.weights_file import read_state_dict

PATCH = 32
"""Side of a patch in pixels."""
FRAME = 256
"""Side of a frame in the same pixels, whatever the input's: a patch is an eighth of it, 64 of 512
pixels, so that most lesions fill one."""
STRIDE = 4
"""Pixels from a patch to the next, which the two poolings make."""
NEAR = 6
"""A patch shows a lesion if their centres are so many pixels apart at most, along x and y, as those
of 9 to 16 patches are. If the lesion's centre is outside, it shows none; others are ignored."""


class PatchDetector(Detector):
    """The patches of a frame, each with the probability of a lesion in its middle."""

    def __init__(self, settings: RetinaNetSettings, *, pretrained: bool = True) -> None:
        """Build the network.

        Args:
            settings: weights, size and norms; the network has no backbone.
            pretrained: False leaves the settings' weights alone.

        Raises:
            ValueError: the weights cannot be had, or are of another network.
        """
        super().__init__()
        self.settings = settings
        norm = norm_layer(settings)

        def layer(inputs: int, outputs: int, side: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, side, bias=False)
            return [convolution, norm(outputs), nn.ReLU(inplace=True)]

        self.network = nn.Sequential(
            *layer(1, 16, 3),
            *layer(16, 16, 3),
            nn.MaxPool2d(2),
            *layer(16, 32, 3),
            *layer(32, 32, 3),
            nn.MaxPool2d(2),
            *layer(32, 64, 5),
            nn.Conv2d(64, 1, 1),
        )
        with_fast_gradients(self.network)
        if pretrained and settings.weights != "none":
            self._load(settings.weights)

    def _load(self, weights: str) -> None:
        state, own = read_state_dict(Path(weights)), self.state_dict()
        own = {name: value for name, value in own.items() if "num_batches" not in name}
        unlike = [n for n in own if n not in state or state[n].shape != own[n].shape]
        if unlike:
            raise ValueError(
                f"{weights} holds no weights of the architecture patches ({unlike[0]} is missing "
                "or of another size). Make them with `python -m angioray.pretrain OUT "
                "--detector.architecture patches`, or set weights to `none`."
            )
        self.load_state_dict({name: state[name] for name in own}, strict=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the patches (float[B, P, P]), row by row, of float[B, 1, S, S]."""
        frames = F.interpolate(
            images.float(), FRAME, mode="bilinear", antialias=images.shape[-1] > FRAME
        )
        logits: Tensor = self.network(frames)
        return logits[:, 0]

    def loss(self, images: Tensor, boxes: Tensor, tiles: int | None = None) -> dict[str, Tensor]:
        """The binary cross entropy over all patches of the batch; both classes weigh alike.

        One pass over a frame has the answers on all of its patches, so that none are drawn.
        """
        logits = self(images).float()
        lesion, none = self.labels(boxes, logits.shape[-1])
        each = F.binary_cross_entropy_with_logits(logits, lesion.to(logits.dtype), reduction="none")
        means = [(each * chosen).sum() / chosen.sum().clamp(min=1) for chosen in (lesion, none)]
        return {"classification_loss": torch.stack(means).mean()}

    def labels(self, boxes: Tensor, patches: int) -> tuple[Tensor, Tensor]:
        """Which patches show a lesion, and which show none (both bool[B, P, P]).

        Args:
            boxes: float[B, G, 4] xyxy in network pixels, padded with boxes of no area.
            patches: P, of a row.
        """
        scale = FRAME / self.settings.size
        centre = (boxes[..., :2] + boxes[..., 2:]) * (scale / 2)
        own = PATCH / 2 + STRIDE * torch.arange(patches, device=boxes.device)
        x, y = ((own - c[..., None]).abs() for c in centre.unbind(dim=-1))  # [B, G, P] each
        apart = torch.maximum(x[:, :, None, :], y[:, :, :, None])
        real = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)[..., None, None]
        nearest = torch.where(real, apart, torch.inf).amin(dim=1)
        return nearest <= NEAR, nearest > PATCH / 2

    @torch.no_grad()
    def detect(self, images: Tensor) -> DetectionBatch:
        """Boxes of the size of a patch, around the peaks of the patches' probabilities."""
        # bfloat16 has eight bits: half of all scores would equal another and could not be ranked.
        with torch.autocast(images.device.type, enabled=False):
            scores = self(images).sigmoid()
        pixel = self.settings.size / FRAME
        return peak_boxes(
            scores,
            first=PATCH / 2 * pixel,
            stride=STRIDE * pixel,
            side=PATCH * pixel,
            settings=self.settings,
        )
