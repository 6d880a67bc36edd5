"""A transformer computed by OpenVINO instead of torch: faster on a CPU, the same vectors to a cosine of 0.999.

The only door to openvino, extra `openvino`. The model is converted from torch's when it is loaded, which takes seconds;
nothing is exported or kept. Tokenizer, pooling and normalisation stay sentence-transformers'.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

Tensors = Mapping[str, NDArray[np.int64]]


class CompiledTransformer:
    """Token vectors from tokens. One request at a time: two at once on two cores are no faster."""

    def __init__(self, request: Any, names: frozenset[str]) -> None:  # noqa: ANN401  untyped there
        self._request = request
        self._names = names
        self._lock = Lock()

    def run(self, tensors: Tensors) -> NDArray[np.float32]:
        with self._lock:
            found = self._request.infer({name: tensors[name] for name in self._names})
            return np.array(found[0], dtype=np.float32)


def compile_transformer(traceable: Any, example: Mapping[str, Any], dtype: str) -> CompiledTransformer:  # noqa: ANN401
    """`traceable` is a torch module that takes the tensors of `example`, or of any other size, and gives token vectors.

    Raises ImportError where openvino is not installed, RuntimeError for what it cannot convert.
    """
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing names each branch of the model's code that it takes for fixed
        converted = openvino.convert_model(traceable, example_input=dict(example))
    hints = {"INFERENCE_PRECISION_HINT": PRECISIONS[dtype], "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(converted, "CPU", hints)
    names = frozenset(port.get_any_name() for port in compiled.inputs)
    return CompiledTransformer(compiled.create_infer_request(), names)
