"""Backbones for grey images: ResNets, timm's models, and those of other packages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import ResNet, get_model, get_model_weights
from torchvision.ops import FrozenBatchNorm2d

from angioray.extensions import part
from angioray.models.convolution import conv2d, with_fast_gradients
from angioray.models.settings import RESNETS, TIMM, VGG
from angioray.models.weights_file import read_state_dict

PHANTOM_WEIGHTS = Path(__file__).parent / "weights" / "phantom.safetensors"
"""What `phantom` stands for: the demo's detector, pretrained by `make weights`."""

BACKBONE_PREFIX = "backbone."
"""Of the ResNet's tensors in a file that `angioray.pretrain` wrote."""

STRIDES = (4, 8, 16, 32)
"""Of the feature maps under a pyramid."""

GREY_MEAN = 0.449
GREY_STD = 0.226
"""ImageNet's mean and standard deviation over its three channels, for pixels from 0 to 1."""


def grey_resnet(
    name: str,
    weights: str,
    norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    *,
    stages: int = 4,
) -> ResNet:
    """Build a torchvision ResNet that takes float[N, 1, H, W], normalised by grey mean and std.

    A grey image is three equal channels, so the stem's three kernels can be summed into one: the
    same numbers at a third of the stem's cost, exact because mean and std are one number each.

    Args:
        name: which ResNet.
        weights: ``imagenet``, ``phantom``, ``none``, or the path of a state dict (``.pth`` or
            ``.safetensors``): torchvision's, or what ``angioray.pretrain`` writes.
        norm_layer: builds the normalisation of a given number of channels.
        stages: how many of its four are used; the weights may lack the others.

    Raises:
        ValueError: the weights cannot be had, or do not fit the network.
    """
    model = get_model(name, weights=None, norm_layer=norm_layer)
    assert isinstance(model, ResNet)
    state = None if weights == "none" else backbone_state(name, weights)
    stem = model.conv1
    model.conv1 = nn.Conv2d(1, stem.out_channels, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    if state is not None:
        _load(model, state, weights, stages)
    with_fast_gradients(model)
    return model


class FeatureBackbone(nn.Module, ABC):
    """A backbone other than the ResNets: one call gives the feature maps of all its stages.

    A package of its own registers a function ``(weights, norm_layer) -> FeatureBackbone`` under the
    entry point group ``angioray.backbones``. ``weights`` and ``norm_layer`` are as in
    :func:`grey_resnet`; a file of weights is what the function makes of it.

    Attributes:
        channels: of each feature map.
    """

    channels: Sequence[int]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps at strides 4, 8, 16 and 32 of float[B, 1, S, S]: float[B, C, S / 4, S / 4]
        and on."""


class TimmBackbone(FeatureBackbone):
    """A model of timm, which must give features at strides 4, 8, 16 and 32."""

    def __init__(self, name: str, weights: str, norm_layer: Callable[[int], nn.Module]) -> None:
        """Build it for grey images: timm sums the first layer's kernels as we do.

        Raises:
            ValueError: timm is not installed, has no such model, or the weights do not fit.
        """
        super().__init__()
        try:
            import timm
        except ImportError as problem:
            raise ValueError(
                f"The backbone {TIMM}{name} needs timm: pip install 'angioray[timm]'."
            ) from problem
        try:
            self.model = timm.create_model(
                name, pretrained=weights == "imagenet", in_chans=1, features_only=True
            )
        except (RuntimeError, OSError) as problem:
            raise ValueError(f"timm cannot make {name}: {problem}") from problem
        info: Any = self.model.feature_info
        reductions = info.reduction()
        if missing := [stride for stride in STRIDES if stride not in reductions]:
            raise ValueError(
                f"{name} gives features at strides {reductions}, but none at {missing[0]}; take "
                "another model of timm."
            )
        self._which = [reductions.index(stride) for stride in STRIDES]
        self.channels = [info.channels()[i] for i in self._which]
        if weights not in ("imagenet", "none"):
            state = read_state_dict(_path(weights))
            try:
                missing = self.model.load_state_dict(state, strict=False).missing_keys
            except RuntimeError as problem:
                raise ValueError(
                    f"The weights in {weights} do not fit {name}: {problem}"
                ) from problem
            if missing := [key for key in missing if not key.endswith("num_batches_tracked")]:
                raise ValueError(
                    f"The weights in {weights} do not fit {name}: {len(missing)} of its tensors "
                    f"are missing, the first of them {missing[0]}."
                )
        if norm_layer is FrozenBatchNorm2d:
            freeze_norms(self.model)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps at strides 4, 8, 16 and 32."""
        maps = self.model(images)
        return [maps[i] for i in self._which]


def feature_backbone(
    name: str, weights: str, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d
) -> FeatureBackbone:
    """A backbone of timm or of an installed package.

    Raises:
        ValueError: there is none of that name, or its weights cannot be had.
    """
    if name.startswith(TIMM):
        return TimmBackbone(name.removeprefix(TIMM), weights, norm_layer)
    backbone: FeatureBackbone = part("backbones", name)(weights, norm_layer)
    return backbone


def freeze_norms(model: nn.Module) -> None:
    """Replace every batch norm by one that keeps its statistics, in place."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm) is nn.BatchNorm2d:
                frozen = FrozenBatchNorm2d(norm.num_features, norm.eps)
                frozen.load_state_dict(norm.state_dict(), strict=False)
                setattr(parent, name, frozen)


class FrozenNormConv2d(nn.Conv2d):
    """A convolution and the frozen batch norm behind it, in one operation.

    ``weight`` stays the convolution's own and is scaled anew in each forward pass: it gets the
    gradients, weight decay and learning rate that it would get with the norm apart from it. Were
    the scale absorbed once and for all, training would take another course. Under autocast the
    norm apart would also turn each activation into float32 and back.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> None:
        """Take over the convolution's weight and the norm's statistics."""
        assert conv.bias is None and conv.padding_mode == "zeros"
        assert conv.groups == 1 and conv.dilation == (1, 1)
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            bias=False,
        )
        self.weight = conv.weight
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", norm.bias - norm.running_mean * scale)

    def forward(self, input: Tensor) -> Tensor:
        """The normalised convolution of float[N, C, H, W]."""
        weight = self.weight * self.scale[:, None, None, None]
        return conv2d(input, weight, self.shift, self.stride, self.padding)  # type: ignore[arg-type]

    @torch.no_grad()
    def absorbed(self) -> nn.Conv2d:
        """A plain convolution with the same answers."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
        )
        plain.weight.copy_(self.weight * self.scale[:, None, None, None])
        assert plain.bias is not None
        plain.bias.copy_(self.shift)
        return plain


def fold_frozen_norms(model: nn.Module) -> None:
    """Join every convolution with the frozen batch norm that follows it, in place."""
    for parent in list(model.modules()):
        for (name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                setattr(parent, name, FrozenNormConv2d(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def absorb_frozen_norms(model: nn.Module) -> None:
    """Make plain convolutions of those with a frozen norm, in place; not to be trained on."""
    for parent in list(model.modules()):
        for name, joined in list(parent.named_children()):
            if isinstance(joined, FrozenNormConv2d):
                setattr(parent, name, joined.absorbed())


def backbone_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The ResNet of a state dict, under torchvision's names."""
    part = {
        key.removeprefix(BACKBONE_PREFIX): value
        for key, value in state.items()
        if key.startswith(BACKBONE_PREFIX)
    }
    return part or state


def detector_part(weights: str) -> dict[str, Tensor]:
    """The pyramid and sub-networks in a file of weights; empty if it holds a ResNet alone.

    Raises:
        ValueError: the file cannot be read.
    """
    if weights in ("imagenet", "none"):
        return {}
    state = read_state_dict(_path(weights))
    if not any(key.startswith(BACKBONE_PREFIX) for key in state):
        return {}
    return {key: value for key, value in state.items() if not key.startswith(BACKBONE_PREFIX)}


def backbone_state(name: str, weights: str) -> dict[str, Tensor]:
    """The tensors of a backbone under torchvision's names: published ones, or those of a file.

    Raises:
        ValueError: they cannot be had.
    """
    if weights == "imagenet":
        published = get_model_weights(name)["IMAGENET1K_V1"]
        try:
            return dict(published.get_state_dict(progress=False, check_hash=True))
        except OSError as problem:
            raise ValueError(
                f"The ImageNet weights of {name} could not be downloaded from {published.url} "
                f"({problem}). Download that file where there is a network and give its path as "
                "`weights`, or start from random weights with `weights: none`."
            ) from problem
    return backbone_part(read_state_dict(_path(weights)))


def to_download(name: str, weights: str) -> str | None:
    """Where a backbone's weights would be downloaded from first; None if nothing has to be."""
    if weights != "imagenet":
        return None
    if name not in (*RESNETS, VGG):
        return "whoever publishes them"  # timm and other packages keep them in their own way
    url = str(get_model_weights(name)["IMAGENET1K_V1"].url)
    kept = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    return None if kept.is_file() else url


def _path(weights: str) -> Path:
    return PHANTOM_WEIGHTS if weights == "phantom" else Path(weights)


def _load(model: ResNet, state: dict[str, Tensor], source: str, stages: int) -> None:
    if (stem := state.get("conv1.weight")) is not None and stem.shape[1:2] == (3,):
        state["conv1.weight"] = stem.sum(dim=1, keepdim=True)
    # The last layer is replaced by the task's own, whatever the file holds for it.
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    try:
        outcome = model.load_state_dict(state, strict=False)
    except RuntimeError as problem:
        raise ValueError(f"The weights in {source} do not fit the network: {problem}") from problem
    missing = [key for key in outcome.missing_keys if not key.startswith("fc.")]
    unused = tuple(f"layer{number}." for number in range(stages + 1, 5))
    missing = [key for key in missing if not key.startswith(unused)]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or outcome.unexpected_keys:
        raise ValueError(
            f"The weights in {source} do not fit the network: {len(missing)} tensors are missing "
            f"and {len(outcome.unexpected_keys)} are not known (torchvision "
            f"{torchvision.__version__} names them)."
        )
