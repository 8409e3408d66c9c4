"""Checkpoints: safetensors beside a JSON that says what they are, replaced atomically.

``state.json`` is the commit: it names the tensor files it belongs to, and is put into place once
they are whole. A crash at any moment leaves the previous checkpoint readable, and so it is in an
object store, where a file appears as a whole.

It has a checksum of each of these files and of itself, for nothing else would tell damaged weights
from sound ones. Checkpoints of schema version 1 have none; they are read without.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from preprocess.storage import Storage
from preprocess.storage.names import check_name

SCHEMA_VERSION = 2
WITHOUT_CHECKSUMS = 1
STATE = "state.json"
TRAIN_ANEW = (
    "Put a sound copy of that checkpoint's folder there. Or remove the run's folder: the same "
    "`python -m angioray.cv` command then trains the run anew."
)
DAMAGED = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading something else than was written can raise."""


def save_checkpoint(
    folder: Storage,
    model: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    *,
    step: int,
    state: dict[str, Any],
) -> None:
    """Replace the checkpoint in ``folder`` by this one.

    Args:
        folder: the run's ``checkpoint`` folder.
        model: its parameters and buffers are saved.
        optimiser: None once training is over.
        step: how many steps have been taken.
        state: whatever else a resume needs, as JSON.
    """
    parts = {"weights": _contiguous(model.state_dict())}
    groups: list[dict[str, Any]] = []
    if optimiser is not None:
        parts["optimiser"], groups = _flatten(optimiser.state_dict())
    files: dict[str, str] = {}
    checksums: dict[str, str] = {}
    for part, tensors in parts.items():
        content = save(tensors)
        files[part] = f"{part}-{step:06d}.safetensors"
        checksums[part] = hashlib.sha256(content).hexdigest()
        folder.write(files[part], content)
    document = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "files": files,
        "sha256": checksums,
        "optimiser_groups": groups,
        **state,
    }
    folder.write_json(STATE, {**document, "sha256_of_this": _checksum(document)})
    for old in folder.files().keys() - {STATE, *files.values()}:
        folder.delete(old)


def read_state(folder: Storage) -> dict[str, Any] | None:
    """The JSON of a checkpoint, or None where there is none yet.

    Raises:
        ValueError: it is damaged, or of another schema version.
    """
    try:
        if (state := folder.read_json(STATE)) is None:
            return None
        version = state["schema_version"]
        if version in (SCHEMA_VERSION, WITHOUT_CHECKSUMS):
            return _checked(state)
    except DAMAGED as problem:
        raise damaged(folder, STATE, problem) from problem
    raise ValueError(
        f"{folder / STATE} has schema version {ascii(version)[:80]}; this version reads "
        f"{SCHEMA_VERSION}. Continue with the version that began, or in a new runs folder."
    )


def _checked(state: dict[str, Any]) -> dict[str, Any]:
    checksum = state.pop("sha256_of_this", None)
    has_none = checksum is None and state["schema_version"] == WITHOUT_CHECKSUMS
    if not has_none and checksum != _checksum(state):
        raise ValueError("its checksum is wrong")
    files, groups = state["files"], state["optimiser_groups"]
    numbers = {"step": state["step"], "steps": state.get("steps", 0)}
    if wrong := [name for name, value in numbers.items() if type(value) is not int or value < 0]:
        raise TypeError(f"{wrong[0]} is {ascii(numbers[wrong[0]])[:80]}")
    if type(state.get("seconds", 0.0)) not in (int, float):
        raise TypeError(f"seconds is {ascii(state['seconds'])[:80]}")
    if not isinstance(groups, list) or not isinstance(state.get("plateau", {}), dict):
        raise TypeError("the optimiser's groups or the plateau are something else")
    for part in {"weights", *files}:
        check_name(files[part], "a checkpoint's file")
    return state


def load_weights(folder: Storage, model: nn.Module) -> None:
    """Fill a model from the checkpoint in ``folder``; one that cannot be is left as it is.

    Raises:
        ValueError: there is no checkpoint, it is damaged, or it is of another network.
    """
    state = read_state(folder)
    if state is None:
        raise ValueError(f"{folder} holds no checkpoint: that run has not trained yet.")
    tensors = _tensors(folder, state, "weights")
    own = model.state_dict()
    wrong = sorted(
        name
        for name in {*own, *tensors}
        if name not in own
        or name not in tensors
        or (own[name].shape, own[name].dtype) != (tensors[name].shape, tensors[name].dtype)
    )
    if wrong:
        raise ValueError(
            f"The checkpoint in {folder} is of another network: {len(wrong)} tensors are missing, "
            f"not known, or of another size, the first of them {ascii(wrong[0])[:80]}. Was its "
            "settings.yaml or study.json changed?"
        )
    model.load_state_dict(tensors)


def load_optimiser(folder: Storage, optimiser: torch.optim.Optimizer) -> None:
    """Fill an optimiser from the checkpoint in ``folder``, which must hold one.

    Raises:
        ValueError: it is damaged, or of another optimiser.
    """
    state = read_state(folder)
    assert state is not None and "optimiser" in state["files"]
    tensors = _tensors(folder, state, "optimiser")
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    by_parameter: dict[int, dict[str, Tensor]] = {}
    try:
        for key, tensor in tensors.items():
            index, _, name = key.partition(".")
            like = parameters[int(index)]
            if tensor.shape == like.shape:
                # Fused optimisers walk memory: a moment must lie there as its parameter does.
                moment = torch.empty_like(like, dtype=tensor.dtype, requires_grad=False)
                tensor = moment.copy_(tensor)
            elif tensor.numel() != 1:
                raise ValueError(f"{key} is of the shape {tuple(tensor.shape)}")
            by_parameter.setdefault(int(index), {})[name] = tensor
        groups = state["optimiser_groups"]
        optimiser.load_state_dict({"state": by_parameter, "param_groups": groups})
    except (*DAMAGED, IndexError) as problem:
        raise damaged(folder, state["files"]["optimiser"], problem) from problem


def _tensors(folder: Storage, state: dict[str, Any], part: str) -> dict[str, Tensor]:
    name = state["files"][part]
    content = folder.read(name)
    if content is None:
        raise ValueError(f"The checkpoint in {folder} is not whole: {name} is gone. {TRAIN_ANEW}")
    try:
        with_checksums = state["schema_version"] != WITHOUT_CHECKSUMS
        if with_checksums and state["sha256"][part] != hashlib.sha256(content).hexdigest():
            raise ValueError("its checksum is wrong")
        tensors: dict[str, Tensor] = load(content)
    except (*DAMAGED, RuntimeError, SafetensorError) as problem:
        raise damaged(folder, name, problem) from problem
    return tensors


def _checksum(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def damaged(folder: Storage, name: str, problem: Exception) -> ValueError:
    """The error about a checkpoint's file that holds something else than was written."""
    said = " ".join(str(problem).split())[:200]
    return ValueError(f"{folder / name} is damaged ({said}). {TRAIN_ANEW}")


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as tensors named ``parameter.slot`` and groups as JSON."""
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, slots in state["state"].items()
        for name, value in slots.items()
        if value is not None
    }
    return _contiguous(tensors), state["param_groups"]


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors keeps rows in C order; channels-last weights are permuted on the way out.
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
