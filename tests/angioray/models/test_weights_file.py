"""Weights that somebody gives: sound ones are read, and all else is one sentence."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from angioray.models.backbone import grey_resnet
from angioray.models.weights_file import packed, read_state_dict

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.tensor(0.5)}


def _as_zip(path: Path) -> Path:
    torch.save(TENSORS, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def _packed(path: Path) -> Path:
    path.with_suffix(".safetensors").write_bytes(packed(TENSORS))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("write", [_as_zip, _packed])
@pytest.mark.parametrize("seed", range(60))
def test_damage_is_a_sentence_and_never_other_weights(
    tmp_path: Path, write: Callable[[Path], Path], seed: int
) -> None:
    path = write(tmp_path / "weights")
    content, dice = path.read_bytes(), random.Random(seed)
    at = dice.randrange(len(content))
    damaged = (
        content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :],
        content[:at],
        content[:at] + bytes(len(content) - at),
        dice.randbytes(len(content)),
    )[seed % 4]
    path.write_bytes(damaged)
    try:
        read = read_state_dict(path)
    except ValueError as problem:
        assert "is no state dict of tensors, or is damaged" in str(problem)
        return
    # A flip in what has no bearing on them, such as a time.
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)


def test_sound_ones_are_read_whatever_their_form(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "plain.safetensors")
    for path in (
        *(tmp_path / "old.pth", tmp_path / "plain.safetensors"),
        *(_as_zip(tmp_path / "new"), _packed(tmp_path / "packed")),
    ):
        read = read_state_dict(path)
        assert read.keys() == TENSORS.keys()
        assert all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "it holds a list"),
        (torch.zeros(3), "it holds a Tensor"),
        ({"epoch": 3, "state_dict": TENSORS}, "holds 'epoch', 'state_dict'; save the state dict"),
        ({1: torch.zeros(3)}, "it holds 1; save the state dict alone"),
        (OrderedDict(w=torch.tensor([1.0, float("nan")])), "no finite numbers"),
        ({"w": torch.zeros(2, dtype=torch.int64)}, "'w' is of torch.int64"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "'w' is of torch.complex64"),
        ({"w": torch.eye(2).to_sparse()}, "'w' is no plain tensor"),
        (nn.Linear(1, 1), "UnpicklingError"),
    ],
)
def test_what_is_no_state_dict_is_said(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match="is no state dict of tensors") as caught:
        read_state_dict(tmp_path / "odd.pth")
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\0", b"hello", b"PK\x03\x04", b"\x80\x02K\x07."])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_any_bytes_are_a_sentence(tmp_path: Path, content: bytes, ending: str) -> None:
    path = (tmp_path / "odd").with_suffix(ending)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no state dict of tensors"):
        read_state_dict(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="There are no weights at"):
        read_state_dict(path)


@pytest.mark.parametrize("stem", [torch.tensor(1.0), torch.zeros(3), torch.zeros(64, 3, 5, 5)])
def test_a_stem_of_another_shape_does_not_fit(tmp_path: Path, stem: torch.Tensor) -> None:
    state = {**grey_resnet("resnet18", "none").state_dict(), "conv1.weight": stem}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match="do not fit the network"):
        grey_resnet("resnet18", str(tmp_path / "odd.pth"))
