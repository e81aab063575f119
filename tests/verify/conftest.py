"""Two engines for the float32 side of a proof, both giving every tensor by its layer's name."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from striate.graph import reference
from striate.graph.to_onnx import tensor_names, to_bytes, to_onnx


def run_by_numpy(network):
    rounded = network.astype(np.float32)
    return lambda x: reference.run(rounded, x)


def run_by_onnxruntime(network):
    """ONNX Runtime without graph optimisation, so that what runs is what was written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    model = to_bytes(to_onnx(network, every_tensor=True))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    layer = {tensor: name for name, tensor in tensor_names(network).items()}
    names = [output.name for output in session.get_outputs()]

    def run(x):
        return {layer[n]: y for n, y in zip(names, session.run(names, {"input": x}), strict=True)}

    return run


ENGINES = {"numpy": run_by_numpy, "onnxruntime": run_by_onnxruntime}


@pytest.fixture(params=ENGINES)
def engine(request):
    """Network -> callable, for each engine in turn."""
    return ENGINES[request.param]


@pytest.fixture
def numpy_engine():
    """Network -> callable, by the NumPy reference rounded to float32."""
    return run_by_numpy
