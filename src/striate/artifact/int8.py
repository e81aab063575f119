"""An artifact whose convolutions and dense layers are computed with 8-bit integers: opt-in, measured, never exact.

Weights are stored as integers, one scale an output channel; what layers read is rounded to 256 levels between the
smallest and largest value that calibration images showed. Both are said in plain ONNX by QuantizeLinear and
DequantizeLinear beside the layers, which an engine fuses into integer layers.

q = round(x / scale) + zero point, clipped; x' = (q - zero point) scale

Weights use 7 of the 8 bits: without VNNI, x86 processors add two products of 8 bits in 16, which could overflow, so the
same file would answer differently on another machine. Source: onnxruntime.ai/docs/performance/model-optimizations/
quantization.html; Jacob et al. 2018, arXiv:1712.05877, sec. 2.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from striate.errors import ArtifactError

Ranges = Mapping[str, tuple[float, float]]  # of what each tensor holds, by its ONNX name
WEIGHT_LEVELS = 63  # 7 bits and a sign
LEVELS = 255
WEIGHTED = ("Conv", "Gemm")
READERS = (*WEIGHTED, "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten")
KEEPS_RANGE = ("MaxPool", "Flatten")  # so that an engine may compute them on the integers themselves
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
MAX_ELEMENTS = 2**28  # of all weights, which take four times their bytes once they are read


def add_quantization(model: onnx.ModelProto, ranges: Ranges) -> None:
    """Round what the layers read, and the weights of convolutions and dense layers, where the ranges are known."""
    graph = model.graph
    known = {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in ranges.items()}
    for node in graph.node:
        if node.op_type in KEEPS_RANGE and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    writer = _Writer(known)
    for node in graph.node:
        if node.op_type in READERS and all(name in known for name in node.input if name not in arrays):
            writer.layer(node, arrays)
        else:
            writer.nodes.append(node)
    read = {name for node in writer.nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in writer.nodes]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *writer.initializers])


class _Writer:
    """Collects the nodes, in order, with those that round."""

    def __init__(self, known: Ranges) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._known, self._rounded = known, dict[str, str]()

    def layer(self, node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """One layer, reading rounded tensors."""
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        copy.input[:] = [name if name in arrays else self._tensor(name) for name in node.input]
        if node.op_type in WEIGHTED:
            weight = arrays[node.input[1]]
            scales = np.abs(weight.astype(np.float64)).reshape(len(weight), -1).max(axis=1) / WEIGHT_LEVELS
            scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
            copy.input[1] = self._integers(f"{node.name}.weight", weight, scales, np.int8)
        if node.op_type in WEIGHTED and len(node.input) == 3:
            bias_scales = scales * _scale(self._known[node.input[0]])[0]
            copy.input[2] = self._integers(f"{node.name}.bias", arrays[node.input[2]], bias_scales, np.int32)
        self.nodes.append(copy)

    def _tensor(self, name: str) -> str:
        """The rounded tensor, made where it is first read."""
        if name not in self._rounded:
            scale, zero = _scale(self._known[name])
            levels, back = f"{name}.int8", f"{name}.int8.back"
            parameters = [self._store(f"{name}.scale", np.float32(scale)), self._store(f"{name}.zero", np.uint8(zero))]
            self.nodes.append(helper.make_node(QUANTIZE, [name, *parameters], [levels], name=levels))
            self.nodes.append(helper.make_node(DEQUANTIZE, [levels, *parameters], [back], name=back))
            self._rounded[name] = back
        return self._rounded[name]

    def _integers(
        self, name: str, values: NDArray[np.float32], scales: NDArray[np.float32], dtype: type[np.int8 | np.int32]
    ) -> str:
        """Values stored as integers, one scale an output channel."""
        per_channel = scales.astype(np.float64).reshape(-1, *(1,) * (values.ndim - 1))
        limits = np.iinfo(dtype)
        levels = np.clip(np.rint(values / per_channel), limits.min, limits.max).astype(dtype)
        parameters = [self._store(f"{name}.scale", scales), self._store(f"{name}.zero", np.zeros(len(scales), dtype))]
        back = f"{name}.back"
        inputs = [self._store(f"{name}.int", levels), *parameters]
        self.nodes.append(helper.make_node(DEQUANTIZE, inputs, [back], name=back, axis=0))
        return back

    def _store(self, name: str, array: NDArray[np.generic] | np.generic) -> str:
        stored = np.asarray(array)
        kind = helper.np_dtype_to_tensor_dtype(stored.dtype)
        little = stored.astype(stored.dtype.newbyteorder("<"))
        self.initializers.append(helper.make_tensor(name, kind, stored.shape, little.tobytes(), raw=True))
        return name


def _scale(known: tuple[float, float]) -> tuple[np.float32, int]:
    """Scale and zero point of 256 levels; zero itself is one of them."""
    low, high = known
    scale = np.float32((high - low) / LEVELS) if high > low else np.float32(1.0)
    return scale, round(float(-low / scale))


def remove_quantization(model: onnx.ModelProto) -> bool:
    """Undo `add_quantization`, if it was done: the weights come back as rounded; and tell whether it was.

    Raises: ArtifactError where it is not as we write it.
    """
    graph = model.graph
    if not any(node.op_type in (QUANTIZE, DEQUANTIZE) for node in graph.node):
        return False
    if sum(int(np.prod(tensor.dims, dtype=object)) for tensor in graph.initializer) > MAX_ELEMENTS:
        raise ArtifactError(f"the weights have more than {MAX_ELEMENTS:,} numbers; ship the network again")
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded = {node.output[0]: node for node in graph.node if node.op_type == QUANTIZE and len(node.output) == 1}
    renamed: dict[str, str] = {}
    weights: dict[str, NDArray[np.float32]] = {}
    kept = []
    for node in graph.node:
        if node.op_type == DEQUANTIZE:
            _check(node, arrays)
            pair = rounded.get(node.input[0])
            if pair is None:
                weights[node.output[0]] = _values(node, arrays)
            elif list(pair.input[1:]) == list(node.input[1:]):
                renamed[node.output[0]] = renamed.get(pair.input[0], pair.input[0])
            else:
                raise _not_ours(node)
        elif node.op_type != QUANTIZE:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    read = {name for node in kept for name in node.input}
    if foreign := sorted(read & rounded.keys()):
        raise ArtifactError(f"{foreign[0]!r}, 8-bit levels, is read by a layer; ship the network again")
    left = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend([*left, *(numpy_helper.from_array(array, name) for name, array in weights.items())])
    return True


def _check(node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Scale and zero point are there, finite and positive, and fit each other."""
    if len(node.input) != 3 or len(node.output) != 1 or not set(node.input[1:]) <= arrays.keys():
        raise _not_ours(node)
    scale, zero = arrays[node.input[1]], arrays[node.input[2]]
    if scale.dtype != np.float32 or scale.shape != zero.shape or scale.ndim > 1:
        raise _not_ours(node)
    if not (np.isfinite(scale) & (scale > 0)).all():  # type: ignore[operator]
        raise _not_ours(node)


def _values(node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """The weights that integers and scales say."""
    levels, scale, zero = (arrays.get(name) for name in node.input)
    if levels is None or scale is None or zero is None or levels.dtype not in (np.int8, np.int32):
        raise _not_ours(node)
    if levels.dtype != zero.dtype or scale.shape != levels.shape[:1] or zero.any():
        raise _not_ours(node)
    per_channel = scale.reshape(-1, *(1,) * (levels.ndim - 1)).astype(np.float32)
    return levels.astype(np.float32) * per_channel


def _not_ours(node: onnx.NodeProto) -> ArtifactError:
    return ArtifactError(f"{node.name}: the rounding to integers is not as striate writes it; quantize the model again")
