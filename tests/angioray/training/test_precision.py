"""Which arithmetic a device gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from angioray.training.precision import able_here, dtype_here, forward_dtype

FLAGS = Path("/proc/cpuinfo")


def test_automatic_is_bfloat16_only_where_it_is_computed_in() -> None:
    assert forward_dtype("auto", "cpu", {"cpu"}) == torch.bfloat16
    assert forward_dtype("auto", "cpu", {"cuda"}) == torch.float32
    assert forward_dtype("bf16", "cpu", set()) == torch.bfloat16
    assert forward_dtype("fp32", "cpu", {"cpu"}) == torch.float32


@pytest.mark.skipif(not FLAGS.exists(), reason="this system does not list its processor's flags")
def test_a_processor_is_able_if_its_flags_say_so() -> None:
    flags = set(FLAGS.read_text().split())
    has = bool({"avx512_bf16", "amx_bf16"} & flags)
    assert ("cpu" in able_here()) == has
    expected = torch.bfloat16 if has else torch.float32
    assert dtype_here("auto", torch.device("cpu")) == expected
