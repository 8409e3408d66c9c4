"""The architectures of detectors, by the name that ``detector.architecture`` gives them."""

from __future__ import annotations

from collections.abc import Callable

from angioray.extensions import part
from angioray.models.cam_detector import CamDetector
from angioray.models.detector import Detector
from angioray.models.patch_detector import PatchDetector
from angioray.models.retinanet import RetinaNet
from angioray.models.settings import GRADCAM, PATCHES, RETINANET, TORCHVISION, RetinaNetSettings
from angioray.models.torchvision_detectors import TorchvisionDetector

OWN: dict[str, Callable[..., Detector]] = {
    RETINANET: RetinaNet,
    GRADCAM: CamDetector,
    PATCHES: PatchDetector,
    **dict.fromkeys(TORCHVISION, TorchvisionDetector),
}
"""Built from the settings, with or without the weights that they name."""


def build_detector(settings: RetinaNetSettings, *, pretrained: bool = True) -> Detector:
    """The detector of some settings, or one of an installed package that has its methods.

    Such a package registers a function ``(settings, pretrained) -> nn.Module`` under the entry
    point group ``angioray.detectors``.

    Args:
        settings: its architecture and weights.
        pretrained: False leaves the settings' weights alone, as when a checkpoint is about to fill
            it.

    Raises:
        ValueError: there is none of that name, or its weights cannot be had.
    """
    if own := OWN.get(settings.architecture):
        return own(settings, pretrained=pretrained)
    detector: Detector = part("detectors", settings.architecture)(settings, pretrained)
    return detector
