"""A network in ncnn's two files: its layers as text, and its weights as bytes in the order of the layers.

ncnn reads no ONNX; its own converter is a program of its own. The text has a line a layer: kind, name, how many
tensors it reads and writes, their names, and numbered parameters. A tensor that two layers read must pass a Split.
Source: Tencent/ncnn, docs/developer-guide/operators.md and param-and-model-file-structure.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from striate import ops
from striate.errors import UsageError
from striate.graph import INPUT, Network, Node, infer_shapes
from striate.ops import Array, Shape

MAGIC = "7767517"
RAW_FLOAT32 = bytes(4)  # the tag before a layer's first weight: stored as it is
Layer = tuple[str, str, bytes]  # kind, parameters, weights

CURVES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "relu": ("ReLU", "", "9=1"),
        "relu6": ("Clip", "0=0.0 1=6.0", "9=3 -23310=2,0.0,6.0"),
        "sigmoid": ("Sigmoid", "", "9=4"),
        "silu": ("Swish", "", ""),
        "tanh": ("TanH", "", ""),
        "hard_sigmoid": ("HardSigmoid", "0=0.16666667 1=0.5", ""),
        "hard_swish": ("HardSwish", "0=0.16666667 1=0.5", "9=6 -23310=2,0.16666667,0.5"),
    }
)
"""Curve -> kind of layer, its parameters, and the parameters that join it to a convolution; empty where none do."""


def to_ncnn(network: Network, output: str) -> tuple[str, bytes]:
    """The text and the weights; the input is called `INPUT`, the result `output`.

    Raises: UsageError on a layer that has no form there.
    """
    shapes = infer_shapes(network)
    if len(network.input_shape) != 3:
        raise _no_form(network.nodes[0], "only images of two dimensions are written")
    joined = _joined(network)
    writer = _Writer(network, joined, output)
    for node in network:
        if node.name not in joined.values():
            after = joined.get(node.name)
            writer.layer(node, shapes[node.inputs[0]], network.node(after) if after else None)
    return writer.text(), b"".join(writer.weights)


def _joined(network: Network) -> dict[str, str]:
    """Convolution or dense layer -> the activation that alone reads it and is computed with it."""
    readers = network.consumers()
    found = {}
    for node in network:
        after = readers[node.name]
        if isinstance(node.op, ops.Conv | ops.Linear) and len(after) == 1 and node.name != network.output:
            op = after[0].op
            if isinstance(op, ops.Activation) and not op.parameters and CURVES.get(op.curve, ("",) * 3)[2]:
                found[node.name] = after[0].name
    return found


class _Writer:
    """Collects lines and weights; hands each reader of a tensor a name of its own."""

    def __init__(self, network: Network, joined: Mapping[str, str], output: str) -> None:
        self.lines = [f"Input {INPUT} 0 1 {INPUT}"]
        self.weights: list[bytes] = []
        self._network, self._output = network, output
        self._tensors, self._waiting = {INPUT}, dict[str, list[str]]()
        self._readers = {name: len(nodes) for name, nodes in network.consumers().items()}
        self._readers[network.output] += 1
        self._numbers = {node.name: f"t{i}" for i, node in enumerate(network)} | {INPUT: INPUT}
        self._split(INPUT)
        self._joined = joined

    def layer(self, node: Node, shape: Shape, after: Node | None) -> None:
        """Append one layer, with the activation that is computed with it."""
        kind, parameters, weights = FORMS.get(type(node.op), _unknown)(node, self._network.weights_of(node), shape)
        if after is not None:
            parameters += f" {CURVES[after.op.curve][2]}"  # type: ignore[attr-defined]
        written = after.name if after else node.name
        reads = [self._waiting[name].pop() for name in node.inputs]
        name = self._numbers[written]
        self._line(kind, name, reads, [name], parameters)
        self.weights.append(weights)
        self._split(written)

    def text(self) -> str:
        """The whole text."""
        last = self._waiting[self._network.output].pop()
        self._line("Noop", self._output, [last], [self._output], "")
        return "\n".join([MAGIC, f"{len(self.lines)} {len(self._tensors)}", *self.lines, ""])

    def _split(self, written: str) -> None:
        name, count = self._numbers[written], self._readers[written]
        self._waiting[written] = [name]
        if count > 1:
            self._waiting[written] = [f"{name}_{i}" for i in range(count)]
            self._line("Split", f"{name}_split", [name], self._waiting[written], "")

    def _line(self, kind: str, name: str, reads: list[str], writes: list[str], parameters: str) -> None:
        self._tensors |= set(writes)
        self.lines.append(
            " ".join([kind, name, str(len(reads)), str(len(writes)), *reads, *writes, *parameters.split()])
        )


def _bytes(*arrays: Array) -> bytes:
    return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)


def _conv(node: Node, weights: Mapping[str, Array], _: Shape) -> Layer:
    op: ops.Conv = node.op  # type: ignore[assignment]
    if any(min(w.pad_lo, w.pad_hi) < 0 for w in op.windows):
        raise _no_form(node, "padding that crops")
    weight, (y, x) = weights["weight"], op.windows
    parameters = (
        f"0={op.out_channels} 1={x.kernel} 11={y.kernel} 2={x.dilation} 12={y.dilation} 3={x.stride} 13={y.stride} "
        f"4={x.pad_lo} 15={x.pad_hi} 14={y.pad_lo} 16={y.pad_hi} 5={int(op.bias)} 6={weight.size}"
    )
    data = RAW_FLOAT32 + _bytes(weight, *([weights["bias"]] if op.bias else []))
    if op.groups == 1:
        return "Convolution", parameters, data
    return "ConvolutionDepthWise", f"{parameters} 7={op.groups}", data


def _linear(node: Node, weights: Mapping[str, Array], shape: Shape) -> Layer:
    op: ops.Linear = node.op  # type: ignore[assignment]
    if len(shape) != 1:
        raise _no_form(node, "a dense layer over more than one axis")
    data = RAW_FLOAT32 + _bytes(weights["weight"], *([weights["bias"]] if op.bias else []))
    return "InnerProduct", f"0={op.out_features} 1={int(op.bias)} 2={weights['weight'].size}", data


def _pool(node: Node, _: Mapping[str, Array], shape: Shape) -> Layer:
    op: ops.MaxPool | ops.AvgPool = node.op  # type: ignore[assignment]
    y, x = op.windows
    for window, size in zip(op.windows, shape[1:], strict=True):
        overhangs = window.first(window.out_size(size) - 1) + window.extent > size + window.pad_hi
        if window.dilation != 1 or min(window.pad_lo, window.pad_hi) < 0 or overhangs:
            raise _no_form(node, "dilation, padding that crops, or a window that overhangs")
    average = isinstance(op, ops.AvgPool)
    parameters = (
        f"0={int(average)} 1={x.kernel} 11={y.kernel} 2={x.stride} 12={y.stride} 3={x.pad_lo} 14={x.pad_hi} "
        f"13={y.pad_lo} 15={y.pad_hi} 5=1"
    )
    return "Pooling", parameters + (f" 6={int(op.count_include_pad)}" if isinstance(op, ops.AvgPool) else ""), b""


def _global_pool(node: Node, _: Mapping[str, Array], __: Shape) -> Layer:
    op: ops.GlobalAvgPool = node.op  # type: ignore[assignment]
    if op.keep_axes:
        return "Reduction", "0=3 1=0 -23303=2,1,2 4=1 5=1", b""  # the mean over height and width
    return "Pooling", "0=1 4=1", b""


def _batch_norm(node: Node, weights: Mapping[str, Array], _: Shape) -> Layer:
    op: ops.BatchNorm = node.op  # type: ignore[assignment]
    gamma = weights.get("gamma", np.ones(op.channels))
    beta = weights.get("beta", np.zeros(op.channels))
    data = _bytes(gamma, weights["running_mean"], weights["running_var"], beta)
    return "BatchNorm", f"0={op.channels} 1={np.format_float_scientific(np.float32(op.eps))}", data


def _activation(node: Node, _: Mapping[str, Array], __: Shape) -> Layer:
    op: ops.Activation = node.op  # type: ignore[assignment]
    if op.curve not in CURVES or op.parameters:
        raise _no_form(node, f"the curve {op.describe()}")
    kind, parameters, _joined = CURVES[op.curve]
    return kind, parameters, b""


def _merge(kind: str, parameters: str) -> Callable[[Node, Any, Shape], Layer]:
    def form(node: Node, _: object, __: Shape) -> Layer:
        if kind == "BinaryOp" and len(node.inputs) != 2:
            raise _no_form(node, f"{len(node.inputs)} inputs")
        return kind, parameters, b""

    return form


def _unknown(node: Node, _: object, __: Shape) -> Layer:
    raise _no_form(node, node.op.describe() or node.op.kind)


def _no_form(node: Node, what: str) -> UsageError:
    return UsageError(f"ncnn: {node.name}: {what} is not written for ncnn; use the engine onnxruntime or openvino")


FORMS: Mapping[type[ops.Op], Callable[[Node, Mapping[str, Array], Shape], Layer]] = MappingProxyType(
    {
        ops.Conv: _conv,
        ops.Linear: _linear,
        ops.MaxPool: _pool,
        ops.AvgPool: _pool,
        ops.GlobalAvgPool: _global_pool,
        ops.BatchNorm: _batch_norm,
        ops.Activation: _activation,
        ops.Add: _merge("BinaryOp", "0=0"),
        ops.Mul: _merge("BinaryOp", "0=2"),
        ops.Concat: _merge("Concat", "0=0"),
        ops.Flatten: _merge("Flatten", ""),
        ops.Identity: _merge("Noop", ""),
        ops.Dropout: _merge("Noop", ""),
    }
)
"""The ncnn layer of each kind."""
