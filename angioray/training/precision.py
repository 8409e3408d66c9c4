"""The precision of forward passes: bfloat16 where the hardware computes in it, else float32."""

from __future__ import annotations

from collections.abc import Collection

import torch

from angioray.training.settings import Precision

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
X86_UNITS = ("avx512_bf16", "amx_bf16")
"""Instructions on which oneDNN's bfloat16 kernels rest. Those of ARM have not been measured."""


def able_here() -> frozenset[str]:
    """The types of this machine's devices, ``cpu`` or ``cuda``, that compute in bfloat16.

    Others accept it and emulate it: convolutions on a CPU with AVX2 alone then take 8 to 14 times
    as long as in float32.
    """
    capabilities = torch.cpu.get_capabilities()
    able = {"cpu"} if any(capabilities.get(unit) for unit in X86_UNITS) else set()
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        able.add("cuda")
    return frozenset(able)


def forward_dtype(precision: Precision, device: str, able: Collection[str]) -> torch.dtype:
    """What forward passes compute in.

    Args:
        precision: as it is set.
        device: the type of the one that computes.
        able: the types that compute in bfloat16 there.
    """
    if precision == "auto":
        return torch.bfloat16 if device in able else torch.float32
    return DTYPES[precision]


def dtype_here(precision: Precision, device: torch.device) -> torch.dtype:
    """The same for a device of this machine."""
    return forward_dtype(precision, device.type, able_here())


def forward_passes(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context in which networks on a device compute in ``dtype``."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def precision_in_words(precision: Precision, device: str, able: Collection[str]) -> str:
    """The choice and its reason, as a sentence."""
    dtype = forward_dtype(precision, device, able)
    name = "bfloat16" if dtype == torch.bfloat16 else "float32"
    if device in able:
        why = "which this hardware computes in" if precision == "auto" else "as it is set"
    elif dtype == torch.bfloat16:
        why = (
            "as it is set, though this hardware only emulates it, many times slower than float32; "
            "`precision: auto` takes what is faster"
        )
    else:
        why = "as this hardware has no bfloat16" if precision == "auto" else "as it is set"
    return f"Forward passes in {name}, {why}."
