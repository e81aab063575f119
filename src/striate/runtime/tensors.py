"""Every tensor of a network as ONNX Runtime computes it: what a proof compares layer by layer."""

from __future__ import annotations

from collections.abc import Callable

from striate.graph import INPUT, Network
from striate.graph.to_onnx import tensor_names, to_bytes, to_onnx
from striate.ops import Array
from striate.runtime.engines.onnx_runtime import open_session


def every_tensor(network: Network, threads: int) -> Callable[[Array], dict[str, Array]]:
    """A function from a float32 batch (N, C, H, W) to all tensors of `network`, by layer name.

    Since every result must be given out, the engine fuses fewer layers than when it serves; each layer's arithmetic
    is the same.
    """
    session = open_session(to_bytes(to_onnx(network, every_tensor=True)), threads, spinning=False)
    tensors = {name: tensor for name, tensor in tensor_names(network).items() if name != INPUT}

    def run(x: Array) -> dict[str, Array]:
        return dict(zip(tensors, session.run(list(tensors.values()), {INPUT: x}), strict=True))

    return run
