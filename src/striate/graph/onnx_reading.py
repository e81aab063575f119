"""What is known halfway through an ONNX graph: the layers so far, the constants, and who reads what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from striate.errors import CaptureError, NetworkError
from striate.graph.build import Builder
from striate.graph.network import INPUT, Network
from striate.ops import Array, Op, Shape

BATCH = -(2**40)  # stands for the free batch size in shape arithmetic; no size of a tensor is negative


class Reading:
    """A half-read graph. Readers of nodes ask it for attributes, constants and shapes, and add layers to it.

    opset: version of the operators
    batch: the batch size that the file states, or BATCH
    constants: values of tensors that do not depend on the image, by tensor name
    pads: zero padding before a tensor's spatial axes, and after them, that the next convolution has to add
    """

    def __init__(
        self, graph: onnx.GraphProto, opset: int, constants: dict[str, Array], entry: onnx.ValueInfoProto, shape: Shape
    ) -> None:
        self.opset = opset
        dims = entry.type.tensor_type.shape.dim
        self.batch = dims[0].dim_value if dims and dims[0].dim_value > 0 else BATCH
        self.constants = constants
        self.pads: dict[str, tuple[list[int], list[int]]] = {}
        self._builder = Builder(graph.name or "onnx", shape)
        self._layer_of = {entry.name: INPUT}
        self._names = {INPUT}
        self._weights: dict[str, Array] = {}
        self._done: set[str] = set()
        self._results = {o.name for o in graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def refusal(self, node: onnx.NodeProto, reason: str) -> CaptureError:
        """The error that names `node`."""
        name = node.name or (node.output[0] if node.output else "?")
        return CaptureError(f"onnx node {name!r} ({node.op_type}): {reason}")

    def attribute(self, node: onnx.NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 - ONNX's own variety
        """An attribute's value, of the default's type; of any type where that is None.

        Raises: CaptureError on another type.
        """
        for one in node.attribute:
            if one.name != name:
                continue
            value = helper.get_attribute_value(one)
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            if isinstance(default, list):
                value = list(value) if one.type == onnx.AttributeProto.INTS else value
            if default is not None and type(value) is not type(default):
                raise self.refusal(node, f"attribute {name} is {type(value).__name__}, not {type(default).__name__}")
            return value
        return default

    def constant(self, node: onnx.NodeProto, position: int) -> Array | None:
        """The value of an input that is there and constant."""
        return self.constants.get(node.input[position]) if position < len(node.input) else None

    def demand(self, node: onnx.NodeProto, position: int, what: str) -> Array:
        """The value of an input that must be constant.  Raises: CaptureError."""
        value = self.constant(node, position)
        if value is None:
            raise self.refusal(
                node, f"its {what} is computed or missing; a network's {what} must be stored in the file"
            )
        return value

    def is_constant(self, node: onnx.NodeProto) -> bool:
        """Whether nothing of `node` depends on the image's values: all inputs constant, or only a shape asked."""
        return node.op_type == "Shape" or all(name in self.constants for name in node.input if name)

    def layer(self, node: onnx.NodeProto, position: int = 0) -> str:
        """The layer that writes an input of `node`.  Raises: CaptureError where that is a constant or nothing."""
        name = node.input[position] if position < len(node.input) else ""
        if name not in self._layer_of:
            raise self.refusal(node, f"input {position} ({name!r}) is not the result of a layer before it")
        if name in self.pads:
            raise self.refusal(node, "reads padded maps; only a Conv takes the padding of a Pad upon itself")
        return self._layer_of[name]

    def padded(self, node: onnx.NodeProto, axes: int) -> tuple[str, list[int], list[int]]:
        """The layer behind a convolution's input, and the padding that a Pad before it left to do."""
        lo, hi = self.pads.pop(node.input[0], ([0] * axes, [0] * axes))
        name = self.layer(node)
        if any(lo) or any(hi):
            self.pads[node.input[0]] = lo, hi
        return name, lo, hi

    def shape(self, node: onnx.NodeProto, position: int = 0) -> Shape:
        """Shape of an input for one image."""
        return self.shape_of(self.layer(node, position))

    def shape_of(self, layer: str) -> Shape:
        """Shape of a layer's result for one image."""
        return self._builder.shape(layer)

    def emit(
        self,
        node: onnx.NodeProto,
        op: Op,
        inputs: Sequence[str],
        weights: Mapping[str, tuple[str, Array]] | None = None,
        suffix: str = "",
    ) -> str:
        """Add the layer that `node` is; weights: role -> name and values. A suffix makes an inner layer of it."""
        tensor = node.output[0]
        named = tensor in self._results and node.name and not suffix
        name = self._unique(readable(node.name if named else tensor) + suffix)
        roles = {role: self._weight(*pair) for role, pair in (weights or {}).items()}
        self._layer_of[tensor] = self._builder.add(op, *inputs, name=name, weights=roles, path=module_path(roles))
        return name

    def alias(self, node: onnx.NodeProto, layer: str) -> None:
        """The output of `node` is what `layer` already wrote."""
        self._layer_of[node.output[0]] = layer

    def sole_reader(self, node: onnx.NodeProto, *op_types: str) -> onnx.NodeProto | None:
        """The one node that reads the output of `node`, if it is of these types and nothing else sees that output."""
        name = node.output[0]
        readers = self._readers.get(name, [])
        seen_once = len(readers) == 1 and name not in self._results
        return readers[0] if seen_once and readers[0].op_type in op_types else None

    def absorb(self, node: onnx.NodeProto) -> None:
        """Mark `node` as part of a layer added before its turn."""
        self._done.add(node.output[0])

    def is_done(self, node: onnx.NodeProto) -> bool:
        """Whether `node` is part of a layer already."""
        return bool(node.output) and node.output[0] in self._done

    def network(self, result: str) -> Network:
        """The finished network, whose result is the tensor `result`.  Raises: CaptureError."""
        if self._layer_of.get(result, INPUT) == INPUT or result in self.pads:
            raise CaptureError(f"onnx: output {result!r} is not the result of a layer; export the whole network")
        try:
            return self._builder.build(self._layer_of[result]).with_weights(self._weights)
        except NetworkError as fault:
            raise CaptureError(f"onnx: {fault}") from None

    def _unique(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def _weight(self, wanted: str, values: Array) -> str:
        """Store a weight; the same values under the same name are shared."""
        name, count = wanted, 1
        while name in self._weights and not _same(self._weights[name], values):
            count += 1
            name = f"{wanted}_{count}"
        self._weights[name] = values
        return name


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


def readable(tensor: str) -> str:
    """A tensor's name as a layer's: `/layer1/conv/Conv_output_0` -> `layer1.conv`."""
    name = re.sub(r"/[A-Za-z]+(_\d+)?_output_0$", "", tensor) or tensor.removesuffix("_output_0")
    return name.strip("/").replace("/", ".") or tensor


def module_path(weights: Mapping[str, str]) -> str:
    """The module that a layer's weights name: `layer1.0.conv1` for `layer1.0.conv1.weight`."""
    paths = {name.rpartition(".")[0] for name in weights.values()}
    return paths.pop() if len(paths) == 1 else ""
