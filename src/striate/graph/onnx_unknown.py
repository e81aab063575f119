"""What is left of an ONNX graph of which some is not known: unknown layers of the right shape, and nothing guessed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import prod

import onnx

from striate.errors import CaptureError
from striate.graph.network import INPUT, Network
from striate.graph.onnx_constants import array, is_outside, stand_in
from striate.graph.onnx_reading import Reading
from striate.ops import Array, Shape, Unknown

MAX_SHAPE_NODES = 20_000  # ONNX's shape inference is asked up to here
KEPT_VALUES = 64  # of an initializer that shapes may depend on
SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def readable_weights(graph: onnx.GraphProto) -> dict[str, Array]:
    """The initializers; of those that cannot be read here (outside the file, of another type), the shape alone."""
    found = {}
    for tensor in graph.initializer:
        try:
            found[tensor.name] = array(tensor)
        except CaptureError:
            found[tensor.name] = stand_in(tensor)
    return found


class Unread:
    """A reading that goes on past nodes which it cannot read.

    Such a node becomes an `Unknown` layer where ONNX's own shape inference, or the file, knows its result's shape.
    Where nobody does, the nodes behind it cannot be described: they are counted, and the count stands at the end.
    """

    def __init__(self, model: onnx.ModelProto, reading: Reading, entry: onnx.ValueInfoProto, shape: Shape) -> None:
        self._model, self._reading = model, reading
        self._entry, self._shape = entry, shape
        self._known: dict[str, Shape] | None = None
        self._shapeless: list[str] = []
        self._lost: set[str] = set()
        self._skipped = 0

    def network(self, read: Callable[[Reading, onnx.NodeProto], None]) -> Network:
        """The network, read node by node by `read`."""
        graph, reading = self._model.graph, self._reading
        for node in graph.node:
            try:
                if not self._lost.isdisjoint(node.input) and not reading.is_done(node):
                    self._skip(node)
                else:
                    read(reading, node)
            except CaptureError as fault:
                self._unknown(node, str(fault))
        return reading.network(self._result(), with_weights=False)

    def _skip(self, node: onnx.NodeProto) -> None:
        self._skipped += 1
        self._lost |= set(node.output)

    def _unknown(self, node: onnx.NodeProto, why: str) -> None:
        reading = self._reading
        if any(attribute.type in SUBGRAPHS for attribute in node.attribute):
            where = why.partition(": ")[0]
            why = f"{where}: runs a graph of its own inside; striate reads graphs without branches and loops"
        inputs = [reading.layer(node, i) for i in range(len(node.input)) if reading.is_value(node, i)]
        if not inputs and all(name in reading.constants for name in node.input if name):
            self._lost |= set(node.output)  # a constant that is not computed here; who needs it says so
            self._skipped += 1
            return
        inputs = list(dict.fromkeys(inputs)) or [INPUT]
        for tensor in filter(None, node.output):
            shape = self._shape_of(tensor)
            if shape is None:
                self._lost.add(tensor)
                shape = ()
            layer = reading.add_unknown(tensor, Unknown(node.op_type, shape, len(inputs), why), inputs)
            if not shape:
                self._shapeless.append(layer)

    def _shape_of(self, tensor: str) -> Shape | None:
        if self._known is None:
            self._known = _shapes(self._model, self._entry, self._shape)
        return self._known.get(tensor)

    def _result(self) -> str:
        """The tensor that stands for the result; where that is not one known tensor, an unknown layer that says why."""
        reading, outputs = self._reading, [o.name for o in self._model.graph.output]
        if len(outputs) == 1 and reading.has(outputs[0]):
            return str(outputs[0])
        if self._skipped:
            ends = self._shapeless
            what = f"{self._skipped} more nodes"
            why = (
                f"onnx: {self._skipped} nodes behind {', '.join(ends)} are not shown, since the shapes that they read "
                "are not known; state those in the file's value_info, or export without that operator"
            )
        else:
            ends = list(dict.fromkeys(reading.layer_of(name) for name in outputs))
            what, why = f"{len(outputs)} outputs", f"onnx: the model has {len(outputs)} outputs ({', '.join(outputs)})"
        reading.add_unknown(END, Unknown(what, (), len(ends), why), ends)
        return END


END = "end"
"""Name of the layer that stands for a result which is not one known tensor."""


def _shapes(model: onnx.ModelProto, entry: onnx.ValueInfoProto, shape: Shape) -> dict[str, Shape]:
    """The shapes for one image that the file or ONNX's shape inference states, by tensor."""
    lean = _without_weights(model)
    for value in lean.graph.input:
        if value.name == entry.name:
            for dim, size in zip(value.type.tensor_type.shape.dim[1:], shape, strict=False):
                dim.dim_value = size
    if len(lean.graph.node) <= MAX_SHAPE_NODES:
        with suppress(Exception):  # whatever is wrong with the graph, the shapes that the file states remain
            lean = onnx.shape_inference.infer_shapes(lean, data_prop=True)
    found = {}
    for value in (*lean.graph.value_info, *lean.graph.output):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if len(dims) > 1 and min(dims[1:]) > 0:
            found[value.name] = tuple(dims[1:])
    return found


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large initializers as inputs of their shape, which is all that shape inference needs."""
    lean = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = model.graph
    lean.graph.name = graph.name
    lean.graph.node.extend(graph.node)
    lean.graph.input.extend(graph.input)
    lean.graph.output.extend(graph.output)
    lean.graph.value_info.extend(graph.value_info)
    stated = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if prod(tensor.dims) <= KEPT_VALUES and not is_outside(tensor):
            lean.graph.initializer.append(tensor)
        elif tensor.name not in stated:
            lean.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return lean
