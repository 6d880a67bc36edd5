"""How a model is run on this machine: device, number format, batches. For the encoder and the reranker alike.

torch is imported where it is first needed, and `quiet_openmp` has to come before that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence


def quiet_openmp() -> None:
    """Before torch is imported, which loads OpenMP: without it idle threads spin, which beside other work made
    embedding 2 to 3 times slower. What the user chose stands."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def choose_device(wanted: str) -> str:
    """`wanted`, unless it is `auto`: the GPU if there is one, else the CPU."""
    import torch

    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(device: str) -> str:
    """bfloat16 where the hardware computes in it; a CPU that only emulates it is slower than float32."""
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if any(able.get(flag) for flag in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")) else "float32"


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
