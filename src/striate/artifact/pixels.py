"""An artifact that takes pixels as they are stored: uint8 at its door, and one Cast before the first layer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import onnx
from onnx import TensorProto, helper

from striate.artifact.int8 import Ranges, add_quantization
from striate.errors import ArtifactError
from striate.graph import INPUT, Network
from striate.graph.to_onnx import to_onnx

Dtype = Literal["float32", "uint8"]
DTYPES: Mapping[int, Dtype] = MappingProxyType({TensorProto.FLOAT: "float32", TensorProto.UINT8: "uint8"})


def model_of(network: Network, dtype: Dtype, ranges: Ranges | None = None) -> onnx.ModelProto:
    """The ONNX model of a network; "uint8" where it reads pixels of 0 to 255, which are then cast.

    ranges: of its tensors, where it is to compute with 8-bit integers.
    """
    model = to_onnx(network)
    if ranges is not None:
        add_quantization(model, ranges)
    if dtype == "uint8":
        add_cast(model)
    return model


def add_cast(model: onnx.ModelProto) -> None:
    """Give the model a uint8 input, cast to float32 for all that read it."""
    graph = model.graph
    taken = {INPUT, *(name for node in graph.node for name in node.output), *(t.name for t in graph.initializer)}
    pixels = next(name for i in range(len(taken) + 1) if (name := f"{INPUT}.float{i or ''}") not in taken)
    nodes = [_cast(pixels), *graph.node]
    _set(graph, nodes, {INPUT: pixels}, TensorProto.UINT8)
    graph.node[0].input[:] = [INPUT]


def remove_cast(model: onnx.ModelProto) -> Dtype:
    """Undo `add_cast`, if it was done, and return the type of the file's input.

    Raises: ArtifactError where the input is of another type, or is uint8 and read by anything but that one Cast.
    """
    graph = model.graph
    dtype = DTYPES.get(graph.input[0].type.tensor_type.elem_type)
    if dtype is None:
        raise ArtifactError("the input is neither float32 nor uint8; ship the network again")
    if dtype == "float32":
        return dtype
    readers = [node for node in graph.node if INPUT in node.input]
    if len(readers) != 1 or len(readers[0].output) != 1 or readers[0] != _cast(readers[0].output[0]):
        raise ArtifactError("the uint8 input is not read by one Cast to float32 alone; ship the network again")
    _set(graph, [node for node in graph.node if node != readers[0]], {readers[0].output[0]: INPUT}, TensorProto.FLOAT)
    return dtype


def _cast(pixels: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [INPUT], [pixels], name=pixels, to=TensorProto.FLOAT)


def _set(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], renamed: Mapping[str, str], dtype: int) -> None:
    """Replace the nodes, the tensors they read, and the type of the input."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for node in copies:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(copies)
    graph.input[0].type.tensor_type.elem_type = dtype
