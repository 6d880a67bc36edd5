"""Which device and precision a model gets, from what is told about the machine: no GPU is needed to hold it."""

from __future__ import annotations

import pytest

from kb.processor import Hardware, choose_budget, choose_device, choose_dtype


@pytest.mark.parametrize(
    ("hardware", "device", "dtype"),
    [
        (Hardware(gpu=True, gpu_bfloat16=True, cpu_bfloat16=False), "cuda", "bfloat16"),
        (Hardware(gpu=True, gpu_bfloat16=False, cpu_bfloat16=True), "cuda", "float16"),  # Turing and older
        (Hardware(gpu=False, gpu_bfloat16=False, cpu_bfloat16=True), "cpu", "bfloat16"),
        (Hardware(gpu=False, gpu_bfloat16=False, cpu_bfloat16=False), "cpu", "float32"),
    ],
)
def test_the_gpu_comes_first_and_bfloat16_only_where_it_is_computed_in(
    hardware: Hardware, device: str, dtype: str
) -> None:
    assert choose_device("auto", hardware) == device
    assert choose_dtype(device, hardware) == dtype


def test_a_cpu_that_was_asked_for_gets_its_own_precision() -> None:
    hardware = Hardware(gpu=True, gpu_bfloat16=True, cpu_bfloat16=False)
    assert choose_dtype("cpu", hardware) == "float32"
    assert choose_dtype("cuda:1", hardware) == "bfloat16"


def test_a_gpu_gets_larger_batches() -> None:
    assert choose_budget("cpu") < choose_budget("cuda") == choose_budget("cuda:1")
