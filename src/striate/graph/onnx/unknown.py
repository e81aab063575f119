"""What is left of an ONNX graph of which some is not known: unknown layers of the right shape, and nothing guessed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_tensor_type_proto

from striate.errors import CaptureError, ShapeError
from striate.graph.network import INPUT, Network
from striate.graph.onnx.constants import array, stand_in
from striate.graph.onnx.reading import Reading, check_size
from striate.ops import Array, Shape, Unknown

KEPT_VALUES = 64  # of a constant that shapes may depend on
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

    def __init__(self, model: onnx.ModelProto, reading: Reading) -> None:
        self._graph, self._reading = model.graph, reading
        self._opsets = list(model.opset_import)
        self._stated = _stated(model.graph)
        self._shapeless: list[str] = []
        self._lost: set[str] = set()
        self._skipped = 0
        self._first_fault = ""

    def network(self, read: Callable[[Reading, onnx.NodeProto], None]) -> Network:
        """The network, read node by node by `read`."""
        reading = self._reading
        for node in self._graph.node:
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
        holds_graph = any(attribute.type in SUBGRAPHS for attribute in node.attribute)
        if holds_graph:
            where = why.partition(": ")[0]
            why = f"{where}: runs a graph of its own inside; striate reads graphs without branches and loops"
        inputs = [reading.layer(node, i) for i in range(len(node.input)) if reading.is_value(node, i)]
        if not inputs and not holds_graph:
            self._first_fault = self._first_fault or why
            self._skip(node)  # a constant that is not computed here, or nothing: who needs it is not known either
            return
        inputs = list(dict.fromkeys(inputs)) or [INPUT]
        shapes = {} if holds_graph else self._shapes_of(node)
        for tensor in filter(None, node.output):
            shape = shapes.get(tensor, ())
            if not shape:
                self._lost.add(tensor)
            layer = reading.add_unknown(tensor, Unknown(node.op_type, shape, len(inputs), why), inputs)
            if not shape:
                self._shapeless.append(layer)

    def _shapes_of(self, node: onnx.NodeProto) -> dict[str, Shape]:
        """The shapes of a node's results for one image, as the file states them or ONNX infers them."""
        found = {name: self._stated[name] for name in node.output if name in self._stated}
        return found or _inferred(self._reading, node, self._opsets)

    def _result(self) -> str:
        """The tensor that stands for the result; where that is not one known tensor, an unknown layer that says why."""
        reading, outputs = self._reading, [o.name for o in self._graph.output]
        if len(outputs) == 1 and reading.has(outputs[0]):
            return str(outputs[0])
        if self._skipped:
            ends = self._shapeless or [INPUT]
            what = f"{self._skipped} more node{'s' * (self._skipped > 1)}"
            fault = self._first_fault or (
                f"onnx: what {', '.join(ends)} give has no known shape; state it in the file's value_info"
            )
            why = f"{fault}; so {what} cannot be shown"
        else:
            ends = list(dict.fromkeys(reading.layer_of(name) for name in outputs))
            what, why = (
                f"{len(outputs)} outputs",
                f"onnx: the model has {len(outputs)} outputs ({', '.join(outputs)}); export it with one",
            )
        reading.add_unknown(END, Unknown(what, (), len(ends), why), ends)
        return END


END = "end"
"""Name of the layer that stands for a result which is not one known tensor."""


def _stated(graph: onnx.GraphProto) -> dict[str, Shape]:
    """The shapes for one image that the file states, by tensor."""
    values = (*graph.value_info, *graph.output)
    return {value.name: shape for value in values if (shape := _shape(value.type)) is not None}


def _shape(of: onnx.TypeProto) -> Shape | None:
    """A tensor's shape for one image; None where it is not known, or is none to describe."""
    dims = tuple(dim.dim_value for dim in of.tensor_type.shape.dim)[1:]
    try:
        check_size(dims)
    except ShapeError:
        return None
    return dims if dims and min(dims) > 0 else None


def _inferred(r: Reading, node: onnx.NodeProto, opsets: list[onnx.OperatorSetIdProto]) -> dict[str, Shape]:
    """What ONNX's own rules say of one node whose inputs' shapes are known and sound; {} for another's operator."""
    types, data = {}, {}
    for i, name in enumerate(node.input):
        constant = r.constant(node, i)
        if r.is_value(node, i):
            types[name] = make_tensor_type_proto(onnx.TensorProto.FLOAT, ["N", *r.shape(node, i)])
        elif constant is not None:
            tensor = numpy_helper.from_array(np.ascontiguousarray(constant.reshape(-1)[:KEPT_VALUES]), name)
            types[name] = make_tensor_type_proto(tensor.data_type, constant.shape)
            if constant.size <= KEPT_VALUES:
                data[name] = numpy_helper.from_array(np.ascontiguousarray(constant), name)
    with suppress(Exception):  # whatever ONNX raises: then the shape is not known
        schema = onnx.defs.get_schema(node.op_type, r.opset, node.domain)
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=opsets)
        return {name: shape for name, of in found.items() if (shape := _shape(of)) is not None}
    return {}
