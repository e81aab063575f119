"""Shape arithmetic and other constants in ONNX graphs, computed while reading.

Exporters spell a flattening as Shape, Slice, Concat, Reshape. The sizes of an image are known here, and the batch
size stands as a symbol that these operators only copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from striate.errors import CaptureError
from striate.graph.onnx_reading import BATCH, Reading
from striate.ops import Array

DTYPES = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
LARGEST_RANK = 8


def array(tensor: onnx.TensorProto) -> Array:
    """The values of a tensor.  Raises: CaptureError on another type, on data outside the file or that do not fit."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise CaptureError(f"onnx: tensor {tensor.name!r} lies outside the file; export with external_data=False")
    if tensor.data_type not in DTYPES:
        kind = TensorProto.DataType.Name(tensor.data_type)
        raise CaptureError(f"onnx: tensor {tensor.name!r} is {kind}; export the model in float32 or float64")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as fault:
        raise CaptureError(f"onnx: tensor {tensor.name!r} is damaged ({fault}); export the model again") from None


def fold(reading: Reading, node: onnx.NodeProto) -> Array:
    """The value of a node whose inputs are constants (or, for Shape, whose input's shape is known).

    Raises: CaptureError where the values do not fit the operator.
    """
    try:
        return FOLDS[node.op_type](reading, node)
    except (ValueError, TypeError, IndexError, KeyError) as fault:
        raise reading.refusal(node, f"its constants do not fit ({fault})") from None


def _constant(reading: Reading, node: onnx.NodeProto) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if (value := reading.attribute(node, name, None)) is not None:
            return np.array(value, dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if (value := reading.attribute(node, name, [])) != []:
            return np.array(value, dtype)
    value = reading.attribute(node, "value", None)
    if value is None:
        raise reading.refusal(node, "holds neither a tensor nor numbers; sparse tensors and strings are not read")
    return array(value)


def _constant_of_shape(reading: Reading, node: onnx.NodeProto) -> Array:
    """One value everywhere, without the memory of an array."""
    value = reading.attribute(node, "value", None)
    one = np.zeros((), np.float32) if value is None else array(value).reshape(())
    shape = tuple(int(n) for n in _first(reading, node))
    if len(shape) > LARGEST_RANK or min(shape, default=1) < 0:
        raise ValueError(f"shape {shape}")
    return np.broadcast_to(one, shape)


def _shape(reading: Reading, node: onnx.NodeProto) -> Array:
    known = reading.constant(node, 0)
    sizes = (BATCH, *reading.shape(node)) if known is None else known.shape
    end = reading.attribute(node, "end", len(sizes))
    return np.array(sizes[reading.attribute(node, "start", 0) : end], np.int64)


def _cast(reading: Reading, node: onnx.NodeProto) -> Array:
    return _first(reading, node).astype(onnx.helper.tensor_dtype_to_np_dtype(reading.attribute(node, "to", 0)))


def _slice(reading: Reading, node: onnx.NodeProto) -> Array:
    value = _first(reading, node)
    return value[slices(reading, node, value.ndim)]


def slices(reading: Reading, node: onnx.NodeProto, ndim: int) -> tuple[slice, ...]:
    """The index that a Slice node takes, one slice an axis."""
    if reading.opset < 10:
        starts, ends = reading.attribute(node, "starts", []), reading.attribute(node, "ends", [])
        axes, steps = reading.attribute(node, "axes", []), []
    else:
        starts, ends = (reading.demand(node, i, what).tolist() for i, what in ((1, "starts"), (2, "ends")))
        axes, steps = (v.tolist() if (v := reading.constant(node, i)) is not None else [] for i in (3, 4))
    taken = [slice(None)] * ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[i] if steps else 1
        # Exporters write "to the end" as a huge number, and for negative steps as a hugely negative one.
        taken[axes[i] if axes else i] = slice(start, None if end <= -(2**31) + 1 else end, step)
    return tuple(taken)


def _concat(reading: Reading, node: onnx.NodeProto) -> Array:
    parts = [reading.constants[name] for name in node.input]
    return np.concatenate(parts, axis=reading.attribute(node, "axis", 0))


def _gather(reading: Reading, node: onnx.NodeProto) -> Array:
    indices = reading.demand(node, 1, "indices")
    return np.take(_first(reading, node), indices, axis=reading.attribute(node, "axis", 0))


def _reshape(reading: Reading, node: onnx.NodeProto) -> Array:
    value = _first(reading, node)
    target = [int(n) for n in reading.demand(node, 1, "shape")]
    if not reading.attribute(node, "allowzero", 0):
        target = [value.shape[i] if n == 0 else n for i, n in enumerate(target)]
    return value.reshape(target)


def _unsqueeze(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.expand_dims(_first(reading, node), tuple(axes_of(reading, node)))


def _squeeze(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.squeeze(_first(reading, node), tuple(axes_of(reading, node)) or None)


def _transpose(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.transpose(_first(reading, node), reading.attribute(node, "perm", []) or None)


def _identity(reading: Reading, node: onnx.NodeProto) -> Array:
    return _first(reading, node)


def _first(reading: Reading, node: onnx.NodeProto) -> Array:
    return reading.demand(node, 0, "input")


def axes_of(reading: Reading, node: onnx.NodeProto) -> list[int]:
    """Axes as an attribute (before opset 13) or as the second input."""
    given = reading.constant(node, 1)
    return reading.attribute(node, "axes", []) if given is None else [int(a) for a in given.reshape(-1)]


FOLDS: Mapping[str, Callable[[Reading, onnx.NodeProto], Array]] = MappingProxyType(
    {
        "Cast": _cast,
        "Concat": _concat,
        "Constant": _constant,
        "ConstantOfShape": _constant_of_shape,
        "Gather": _gather,
        "Identity": _identity,
        "Reshape": _reshape,
        "Shape": _shape,
        "Slice": _slice,
        "Squeeze": _squeeze,
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }
)
"""op_type -> what it computes from constants."""
