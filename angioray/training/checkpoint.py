"""Checkpoints: safetensors beside a JSON that says what they are, replaced atomically.

``state.json`` is the commit: it names the tensor files it belongs to, and is put into place once
they are whole. A crash at any moment leaves the previous checkpoint readable, and so it is in an
object store, where a file appears as a whole.
"""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from preprocess.storage import Storage

SCHEMA_VERSION = 1
STATE = "state.json"


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
    weights = f"weights-{step:06d}.safetensors"
    folder.write(weights, save(_contiguous(model.state_dict())))
    files = {"weights": weights}
    groups: list[dict[str, Any]] = []
    if optimiser is not None:
        tensors, groups = _flatten(optimiser.state_dict())
        files["optimiser"] = f"optimiser-{step:06d}.safetensors"
        folder.write(files["optimiser"], save(tensors))
    folder.write_json(
        STATE,
        {
            "schema_version": SCHEMA_VERSION,
            "step": step,
            "files": files,
            "optimiser_groups": groups,
            **state,
        },
    )
    for old in folder.files().keys() - {STATE, *files.values()}:
        folder.delete(old)


def read_state(folder: Storage) -> dict[str, Any] | None:
    """The JSON of a checkpoint, or None where there is none yet."""
    state: dict[str, Any] | None = folder.read_json(STATE)
    if state is not None and state["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{folder / STATE} has schema version {state['schema_version']}; this version reads "
            f"{SCHEMA_VERSION}. Continue with the version that began, or in a new runs folder."
        )
    return state


def load_weights(folder: Storage, model: nn.Module) -> None:
    """Fill a model from the checkpoint in ``folder``.

    Raises:
        ValueError: there is no checkpoint, or it is of another network.
    """
    state = read_state(folder)
    if state is None:
        raise ValueError(f"{folder} holds no checkpoint: that run has not trained yet.")
    try:
        model.load_state_dict(_tensors(folder, state["files"]["weights"]))
    except RuntimeError as problem:
        raise ValueError(
            f"The checkpoint in {folder} is of another network: {problem}"
        ) from problem


def load_optimiser(folder: Storage, optimiser: torch.optim.Optimizer) -> None:
    """Fill an optimiser from the checkpoint in ``folder``, which must hold one."""
    state = read_state(folder)
    assert state is not None and "optimiser" in state["files"]
    tensors = _tensors(folder, state["files"]["optimiser"])
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    by_parameter: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        like = parameters[int(index)]
        if tensor.shape == like.shape:
            # Fused optimisers walk memory: a moment must lie there as its parameter does.
            tensor = torch.empty_like(like, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
        by_parameter.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": by_parameter, "param_groups": state["optimiser_groups"]})


def _tensors(folder: Storage, name: str) -> dict[str, Tensor]:
    content = folder.read(name)
    if content is None:
        raise ValueError(
            f"The checkpoint in {folder} is not whole: {name} is gone. Remove that folder, and the "
            "same `python -m angioray.cv` command trains the run anew."
        )
    tensors: dict[str, Tensor] = load(content)
    return tensors


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
