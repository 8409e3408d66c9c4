"""A checkpoint that is replaced: at every moment there is a whole one, on a disk and in a store."""

from __future__ import annotations

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
