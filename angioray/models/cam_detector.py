"""A detector that learns without boxes: lesion or none, and boxes from activation maps.

After Cong et al. 2019 (IEEE BIBM, "Automated stenosis detection and classification in X-ray
angiography using deep neural network"): a classifier of whole frames, and Grad-CAM of its answer.
Theirs is an InceptionV3; here it is the study's backbone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from angioray.models.classifier import last_stage, view_classifier
from angioray.models.detector import DetectionBatch, Detector, norm_layer
from angioray.models.gradcam import grad_cam
from angioray.models.peaks import peak_boxes
from angioray.models.settings import RetinaNetSettings

BOX = 35 / 512
"""Side of a box, in sides of a frame: 35 px of 512, as in the published evaluation."""


class CamDetector(Detector):
    """A classifier of frames, and boxes around the peaks of its activation maps."""

    def __init__(self, settings: RetinaNetSettings, *, pretrained: bool = True) -> None:
        """Build the network.

        Args:
            settings: backbone and weights; the last of its ``levels`` is the stage whose map is
                looked at (5, the last stage of a ResNet, or less).
            pretrained: False leaves the settings' weights alone.

        Raises:
            ValueError: there is no such backbone, or its weights cannot be had.
        """
        super().__init__()
        self.settings = settings
        self.classifier = view_classifier(
            settings.backbone,
            settings.weights if pretrained else "none",
            classes=1,
            norm_layer=norm_layer(settings),
            stages=min(settings.levels[1], 5) - 1,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a lesion anywhere in each image (float[B, 1])."""
        logits: Tensor = self.classifier(images)
        return logits

    def lesion_tiles(self, boxes: Tensor) -> NDArray[np.int64]:
        """No part of a frame is looked at more closely.

        Raises:
            ValueError: all frames have a box, so that there is nothing to tell them from.
        """
        if _with_box(boxes).all():
            raise ValueError(
                "The architecture gradcam learns to tell frames with a lesion from those without, "
                "and all training frames of this run have one. Choose the variant NL or BGNL, and "
                "a cohort in which some sequences are labelled as free of lesions (`no_lesion`)."
            )
        return super().lesion_tiles(boxes)

    def loss(self, images: Tensor, boxes: Tensor, tiles: int | None = None) -> dict[str, Tensor]:
        """The binary cross entropy of "lesion or none"; where the boxes are enters nowhere."""
        logits = self(images)[:, 0].float()
        truth = _with_box(boxes).to(logits.dtype)
        return {"classification_loss": F.binary_cross_entropy_with_logits(logits, truth)}

    @torch.no_grad()
    def detect(self, images: Tensor) -> DetectionBatch:
        """Boxes around the peaks of the activation map.

        A score is the probability of a lesion times the peak's height over that of the highest.
        """
        # bfloat16 has eight bits: half of all scores would equal another and could not be ranked.
        with torch.autocast(images.device.type, enabled=False):
            layer = last_stage(self.classifier)
            maps, logits = grad_cam(self.classifier, images.float(), 0, layer)
        scores = maps * logits.sigmoid()[..., None]
        side = BOX * self.settings.size
        return peak_boxes(scores, first=0.5, stride=1, side=side, settings=self.settings)


def _with_box(boxes: Tensor) -> Tensor:
    """Which frames have a box (bool[B]) among float[B, G, 4], padded with boxes of no area."""
    return (boxes[..., 2:] > boxes[..., :2]).all(dim=-1).any(dim=-1)
