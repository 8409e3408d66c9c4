"""Files of weights that somebody gives: read without running anything, and checked."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

EXPECTED = (
    "Expected `imagenet`, `phantom`, `none`, or the path of a torchvision state dict (.pth or "
    ".safetensors) or of what `angioray.pretrain` wrote."
)
CHECKSUM = "sha256"
"""The key of the checksum in the header of a safetensors file."""


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as a safetensors file with a checksum of them."""
    from safetensors.torch import save

    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save(plain, metadata={CHECKSUM: _checksum(tensors)})


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` or ``.safetensors`` file.

    Damage is found where the file has checksums: a zip archive, as ``torch.save`` writes it, or
    what :func:`packed` made. In others only what the numbers themselves give away is found.

    Raises:
        ValueError: there is no such file, it is damaged, or it is no state dict.
    """
    if not path.is_file():
        raise ValueError(f"There are no weights at {path}. {EXPECTED}")
    try:
        if path.suffix == ".safetensors":
            state = _of_safetensors(path)
        else:
            if zipfile.is_zipfile(path):
                _check_archive(path)  # PyTorch itself reads past wrong checksums
            state = torch.load(path, map_location="cpu", weights_only=True)
        _check(state)
        return dict(state)
    except Exception as problem:  # what a damaged pickle raises can be anything
        said = str(problem) if isinstance(problem, _OddError) else type(problem).__name__
        raise ValueError(
            f"{path} is no state dict of tensors, or is damaged ({said}). {EXPECTED}"
        ) from problem


class _OddError(Exception):
    """It can be read, and is not what was expected; says why."""


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = (file.metadata() or {}).get(CHECKSUM)
    if checksum is not None and checksum != _checksum(tensors):
        raise _OddError("its checksum is wrong")
    return tensors


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise _OddError(f"the checksum of {ascii(damaged)[:80]} is wrong")


def _check(state: Any) -> None:
    if not isinstance(state, Mapping):
        raise _OddError(f"it holds a {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            inner = ", ".join(ascii(key)[:40] for key in list(state)[:5])
            raise _OddError(f"it holds {inner}; save the state dict alone")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise _OddError(f"{ascii(name)[:80]} is no plain tensor")
        if name.endswith("num_batches_tracked"):
            continue
        if not tensor.is_floating_point():
            raise _OddError(f"{ascii(name)[:80]} is of {tensor.dtype}")
        if not tensor.isfinite().all():
            raise _OddError(f"{ascii(name)[:80]} holds values that are no finite numbers")


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
