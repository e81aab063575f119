"""ONNX's dense layers."""

from __future__ import annotations

import numpy as np
import onnx

from striate.geometry import Window
from striate.graph.onnx.adaptive import is_adaptive_average
from striate.graph.onnx.reading import Reading
from striate.ops import Array, Conv, Linear


def gemm(r: Reading, node: onnx.NodeProto) -> None:
    """A dense layer on vectors; alpha and beta are multiplied into its weights."""
    weight, name = r.demand(node, 1, "weight"), r.weight_name(node.input[1])
    if r.attribute(node, "transA", 0):
        raise r.refusal(node, "transA=1 puts features before images; export it with transA=0")
    if not r.attribute(node, "transB", 0):
        weight, name = weight.T, flipped(name)
    weights = {"weight": (name, _scaled(weight, r.attribute(node, "alpha", 1.0)))}
    if len(node.input) > 2 and node.input[2]:
        bias = np.broadcast_to(r.demand(node, 2, "bias"), (1, len(weight)))[0]
        weights["bias"] = (r.weight_name(node.input[2]), _scaled(bias, r.attribute(node, "beta", 1.0)))
    r.emit(node, Linear(weight.shape[1], weight.shape[0], "bias" in weights), [r.layer(node)], weights)


def flipped(name: str) -> str:
    """The name of a matrix whose axes are exchanged."""
    return name.removesuffix(".T") if name.endswith(".T") else f"{name}.T"


def _scaled(values: Array, factor: float) -> Array:
    return values if factor == 1 else (values * np.float64(factor)).astype(values.dtype)


def matmul(r: Reading, node: onnx.NodeProto) -> None:
    """A dense layer, with the Add behind it as its bias where that adds one number a feature.

    On maps it is the same wherever the last axis stands: a 1 x 1 convolution, with that axis as channels. Matrices that
    average pixels are an adaptive pool.
    """
    if is_adaptive_average(r, node):
        return
    weight = r.demand(node, 1, "weight")
    if weight.ndim != 2:
        raise r.refusal(node, f"its weight has {weight.ndim} axes; a dense layer has 2")
    features, out = weight.shape
    weights = {"weight": (flipped(r.weight_name(node.input[1])), weight.T)}
    add = r.sole_reader(node, "Add")
    last = node
    if add is not None:
        at = 1 if add.input[0] == node.output[0] else 0
        bias = r.constant(add, at)
        if bias is not None and bias.ndim <= 2 and bias.size == out == bias.shape[-1]:
            weights["bias"] = (r.weight_name(add.input[at]), bias.reshape(-1))
            r.absorb([add.output[0]])
            last = add
    value = r.moved(node)
    if len(value.shape) == 1:
        r.emit(last, Linear(features, out, "bias" in weights), [r.layer(node)], weights)
        return
    positions = len(value.shape) - 1
    layer, back = r.in_front(value, positions, last.output[0])
    op = Conv(features, out, tuple(Window(1) for _ in range(positions)), bias="bias" in weights)
    weights["weight"] = weights["weight"][0], weight.T.reshape(out, features, *(1,) * positions)
    r.emit(last, op, [layer], weights, moves=back)
