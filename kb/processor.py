"""How a model is run on this machine: device, number format, batches. For the encoder and the reranker alike.

torch is imported where it is first needed, and `quiet_openmp` has to come before that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")
# On a CPU small batches win, since what a layer gives stays in the cache: with 1,024 tokens embedding was 10 % faster
# than with 2,048, with fewer no faster. A GPU needs enough to be busy.
CPU_TOKENS, GPU_TOKENS = 1 << 10, 1 << 14


def quiet_openmp() -> None:
    """Before torch is imported, which loads OpenMP: without it idle threads spin, which beside other work made
    embedding 2 to 3 times slower. What the user chose stands."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """What torch finds: a GPU that it can use, and which of the two computes in bfloat16 itself."""

    gpu: bool
    gpu_bfloat16: bool
    cpu_bfloat16: bool


def read_hardware() -> Hardware:
    import torch

    able = torch.cpu.get_capabilities()
    gpu = torch.cuda.is_available()
    return Hardware(
        gpu=gpu,
        gpu_bfloat16=gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        cpu_bfloat16=any(able.get(flag) for flag in BFLOAT16_FLAGS),
    )


def choose_device(wanted: str, hardware: Hardware | None = None) -> str:
    """`wanted`, unless it is `auto`: the GPU if there is one, else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if (hardware or read_hardware()).gpu else "cpu"


def choose_dtype(device: str, hardware: Hardware | None = None) -> str:
    """bfloat16 where the hardware computes in it; a CPU that only emulates it is slower than float32."""
    hardware = hardware or read_hardware()
    if device.startswith("cuda"):
        return "bfloat16" if hardware.gpu_bfloat16 else "float16"
    return "bfloat16" if hardware.cpu_bfloat16 else "float32"


def choose_budget(device: str) -> int:
    """Tokens a batch, padding included."""
    return CPU_TOKENS if device == "cpu" else GPU_TOKENS


def pad_rows(rows: Sequence[list[int]], value: int) -> list[list[int]]:
    longest = max(len(row) for row in rows)
    return [row + [value] * (longest - len(row)) for row in rows]


def batch_by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indexes in batches of like length, longest first, each within `budget` tokens with its padding, or alone."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
