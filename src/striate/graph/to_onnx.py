"""The network as one plain ONNX file: no external data, no functions, every name unique, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from striate.errors import NetworkError, ShapeError
from striate.graph.check import infer_shapes
from striate.graph.network import INPUT, Network, Node, fresh
from striate.ops import Array, BatchNorm, OnnxNode

OPSET = 19  # HardSwish needs 14, dilated AveragePool 19; ONNX Runtime reads it since 1.15 (2023)
IR_VERSION = 9  # the one that appeared with opset 19
LOGITS = "logits"
BATCH = "N"


def to_onnx(
    network: Network, *, every_tensor: bool = False, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Write `network` as an ONNX model that computes the same in float32.

    Input "input" (N, C, H, W) and output "logits" are float32 with a free batch size N. Weights are rounded to
    float32 and keep their names where those are free. Each layer keeps its name as the node's.
    every_tensor: every layer's result is a graph output too, under `tensor_names`, in the order of the layers.
    metadata: key -> value, stored in this order.
    Raises: NetworkError without weights or with a weight that float32 cannot hold; ShapeError on a layer that
    ONNX has no node for.
    """
    shapes = infer_shapes(network)
    tensors = tensor_names(network)
    writer = _Writer({INPUT, LOGITS, *tensors.values()})
    for node in network:
        writer.layer(network, node, tensors, shapes)
    outputs = [n for n in (node.name for node in network) if every_tensor or n == network.output]
    graph = helper.make_graph(
        writer.nodes,
        name=network.name,
        inputs=[_value(INPUT, shapes[INPUT])],
        outputs=[_value(tensors[name], shapes[name]) for name in outputs],
        initializer=writer.initializers,
    )
    model = helper.make_model(
        graph, producer_name="striate", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return model


def tensor_names(network: Network) -> dict[str, str]:
    """The ONNX tensor of every layer: its name, but "logits" for the result."""
    names = {INPUT: INPUT, network.output: LOGITS}
    taken = {INPUT, LOGITS, *(node.name for node in network)} - {network.output}
    for node in network:
        if node.name not in names:
            names[node.name] = fresh(node.name, taken, "_") if node.name == LOGITS else node.name
    return names


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The file's bytes: fields in the order of their numbers, so equal models give equal bytes."""
    return bytes(model.SerializeToString(deterministic=True))


class _Writer:
    """Collects nodes and initialisers and hands out names that nothing else has."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._taken = set(taken)
        self._stored: dict[str, str] = {}

    def layer(
        self, network: Network, node: Node, tensors: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Append the ONNX nodes of one layer, and its weights unless another layer brought them already."""
        op, arrays = node.op, network.weights_of(node)
        weights = {role: self._weight(node.weights[role], array) for role, array in arrays.items()}
        if isinstance(op, BatchNorm) and not op.affine:
            op = replace(op, affine=True)
            weights["gamma"] = self._store(f"{node.name}.gamma", np.ones(op.channels))
            weights["beta"] = self._store(f"{node.name}.beta", np.zeros(op.channels))
        inputs, output = [tensors[name] for name in node.inputs], tensors[node.name]
        try:
            pieces = op.to_onnx(inputs, output, weights, [shapes[name] for name in node.inputs])
        except ShapeError as fault:
            raise ShapeError(f"{node.name}: {fault}") from None
        self._append(pieces, node.name, output)

    def _append(self, pieces: list[OnnxNode], layer: str, output: str) -> None:
        """Make the tensors between the pieces of one layer unique; the last piece alone has a name, the layer's."""
        inner = {name: self._name(name) for piece in pieces for name in piece.outputs if name != output}
        for piece in pieces:
            inputs = [inner.get(name, name) for name in piece.inputs]
            outputs = [inner.get(name, name) for name in piece.outputs]
            attributes = dict(piece.attributes)
            if piece.op_type == "Clip":  # its bounds are inputs since opset 11
                bounds = [(f"{layer}.{side}", np.array(attributes.pop(side))) for side in ("min", "max")]
                inputs += [self._store(bound, value) if np.isfinite(value) else "" for bound, value in bounds]
            name = layer if output in outputs else ""
            self.nodes.append(helper.make_node(piece.op_type, inputs, outputs, name=name, **attributes))

    def _weight(self, name: str, array: Array) -> str:
        if name not in self._stored:
            self._stored[name] = self._store(name, array)
        return self._stored[name]

    def _store(self, wanted: str, array: Array) -> str:
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(array, "<f4").reshape(array.shape)
        if not np.isfinite(rounded).all():
            raise NetworkError(f"weight {wanted!r} has values that float32 cannot hold (NaN or beyond 3.4e38); mend it")
        name = self._name(wanted)
        self.initializers.append(
            helper.make_tensor(name, TensorProto.FLOAT, rounded.shape, rounded.tobytes(), raw=True)
        )
        return name

    def _name(self, wanted: str) -> str:
        name = fresh(wanted, self._taken, "_")
        self._taken.add(name)
        return name


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape])
