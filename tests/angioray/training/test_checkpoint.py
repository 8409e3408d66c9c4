"""A checkpoint that is replaced: at every moment there is a whole one, on a disk and in a store."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from angioray.training.checkpoint import load_optimiser, load_weights, read_state, save_checkpoint
from preprocess.storage import Storage, open_storage
from preprocess.storage.folder import FolderStorage
from preprocess.storage.objects import ObjectStorage
from tests.s3_server import S3


class CrashError(Exception):
    """The process ends here."""


def trained(steps: int) -> tuple[nn.Linear, torch.optim.Optimizer]:
    """A network after some steps, and its optimiser."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimiser.step()
    return model, optimiser


@pytest.fixture(params=["folder", "s3"])
def folder(request: pytest.FixtureRequest, s3: S3, tmp_path: Path) -> Storage:
    """A checkpoint's folder of either kind."""
    return open_storage(s3.uri("checkpoint") if request.param == "s3" else tmp_path / "checkpoint")


def test_a_crash_at_any_moment_leaves_the_old_or_the_new(
    folder: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for moment in range(6):
        folder.clear()
        save_checkpoint(folder, *trained(2), step=2, state={"steps": 5})
        with monkeypatch.context() as patched:
            _crash_at(moment, patched)
            try:
                save_checkpoint(folder, *trained(3), step=3, state={"steps": 5})
            except CrashError:
                pass
            else:
                assert moment == 5, "two files of tensors, a state, and two that are removed"
        elsewhere = open_storage(str(folder))
        state = read_state(elsewhere)
        assert state is not None
        model, optimiser = trained(0)
        load_weights(elsewhere, model)
        load_optimiser(elsewhere, optimiser)
        expected, its_optimiser = trained(state["step"])
        assert torch.equal(model.weight, expected.weight)
        for mine, theirs in zip(model.parameters(), expected.parameters(), strict=True):
            kept, wanted = optimiser.state[mine], its_optimiser.state[theirs]
            assert torch.equal(kept["momentum_buffer"], wanted["momentum_buffer"])
        seen.add(state["step"])
    assert seen == {2, 3}
    assert len(folder.files()) == 3, "a whole save leaves nothing older"


def test_a_checkpoint_whose_tensors_are_gone_is_no_checkpoint(folder: Storage) -> None:
    folder.clear()
    save_checkpoint(folder, *trained(1), step=1, state={})
    folder.delete("weights-000001.safetensors")
    with pytest.raises(ValueError, match=r"is not whole: weights-000001.safetensors is gone"):
        load_weights(folder, trained(0)[0])


WRONG: tuple[Any, ...] = (None, -1, 1.5, "x", "../../x", [], {}, [[]], {"weights": 3}, True)
"""Values of other types than the keys of ``state.json`` have."""


def _damage(folder: Path, dice: random.Random) -> None:
    """Do to one file of a checkpoint what disks, copies and people do."""
    path = dice.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    at = dice.randrange(len(content))
    kind = dice.randrange(9)
    if kind == 0:  # a flip
        content = content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]
    elif kind == 1:
        content = content[:at]
    elif kind == 2:
        content = content[:at] + bytes(len(content) - at)  # never written
    elif kind == 3:
        content += content[at:] or b"\0"
    elif kind == 4:
        content = dice.randbytes(len(content))
    elif kind == 5:
        content = dice.choice(sorted(folder.iterdir())).read_bytes()  # another of them
    if kind <= 5:
        path.write_bytes(content)
        return
    path.unlink()
    if kind == 6:
        path.mkdir()
    elif kind == 7 and path.name == "state.json":
        state = json.loads(content)
        key = dice.choice(sorted(state))
        state[key] = dice.choice(WRONG)
        path.write_text(json.dumps(state))
    elif kind == 8 and path.name == "state.json":
        state = json.loads(content)
        del state[dice.choice(sorted(state))]
        if dice.random() < 0.5:  # as a version without checksums wrote it
            state = {k: v for k, v in state.items() if not k.startswith("sha256")}
            state["schema_version"] = 1
        path.write_text(json.dumps(state))


@pytest.mark.parametrize("seed", range(300))
def test_damage_of_any_kind_is_a_sentence(tmp_path: Path, seed: int) -> None:
    folder = open_storage(tmp_path)
    save_checkpoint(folder, *trained(2), step=2, state={"steps": 5, "seconds": 1.5})
    _damage(tmp_path, random.Random(seed))
    model, optimiser = trained(0)
    untouched = model.weight.clone()
    try:
        state = read_state(folder)
        if state is None:
            assert not (tmp_path / "state.json").exists()
            return
        load_weights(folder, model)
        if "optimiser" in state["files"]:
            load_optimiser(folder, optimiser)
    except ValueError as problem:
        said = str(problem)
        assert str(tmp_path) in said and said.endswith((".", "?"))
        assert torch.equal(model.weight, untouched) or "optimiser" in said or "state" in said
        return
    expected, its_optimiser = trained(2)
    assert state["step"] == 2 or state["schema_version"] == 1
    assert torch.equal(model.weight, expected.weight)
    if "optimiser" in state["files"]:
        for mine, theirs in zip(model.parameters(), expected.parameters(), strict=True):
            kept, wanted = optimiser.state[mine], its_optimiser.state[theirs]
            assert torch.equal(kept["momentum_buffer"], wanted["momentum_buffer"])


def test_tensors_of_another_run_are_refused(tmp_path: Path) -> None:
    folders = [open_storage(tmp_path / name) for name in ("one", "other")]
    for steps, folder in enumerate(folders, start=1):
        save_checkpoint(folder, *trained(steps), step=1, state={})
    weights = "weights-000001.safetensors"
    content = folders[1].read(weights)
    assert content is not None
    folders[0].write(weights, content)
    with pytest.raises(ValueError, match=r"is damaged \(its checksum is wrong"):
        load_weights(folders[0], trained(0)[0])


@pytest.mark.parametrize(
    "model",
    [nn.Linear(3, 4), nn.Linear(3, 2, bias=False), nn.Sequential(nn.Linear(3, 2)).double()],
)
def test_a_checkpoint_of_another_network_leaves_the_network_alone(
    tmp_path: Path, model: nn.Module
) -> None:
    folder = open_storage(tmp_path)
    save_checkpoint(folder, *trained(1), step=1, state={})
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=r"is of another network: \d tensors are missing"):
        load_weights(folder, model)
    assert all(map(torch.equal, before, model.parameters()))


def test_weights_are_named_within_their_folder(tmp_path: Path) -> None:
    folder = open_storage(tmp_path / "run" / "checkpoint")
    save_checkpoint(folder, *trained(1), step=1, state={})
    (tmp_path / "elsewhere").write_bytes(folder.read("weights-000001.safetensors") or b"")
    state = folder.read_json("state.json")
    state = {k: v for k, v in state.items() if not k.startswith("sha256")}
    state |= {"schema_version": 1, "files": {"weights": "../../elsewhere"}}
    folder.write_json("state.json", state)
    with pytest.raises(ValueError, match="is no name of a checkpoint's file: it holds a slash"):
        load_weights(folder, trained(0)[0])


def _crash_at(moment: int, patched: pytest.MonkeyPatch) -> None:
    """End before the write or removal of that number."""
    left = [moment]

    def counted(change: Any) -> Any:
        def crashing(*arguments: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise CrashError
            change(*arguments)

        return crashing

    for kind in (FolderStorage, ObjectStorage):
        for name in ("write", "delete"):
            patched.setattr(kind, name, counted(getattr(kind, name)))
