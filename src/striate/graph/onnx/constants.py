"""Shape arithmetic and other constants in ONNX graphs, computed while reading.

Exporters spell a flattening as Shape, Slice, Concat, Reshape. The sizes of an image are known here, and the batch
size stands as a symbol that these operators only copy. What stands for one number everywhere stays one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from striate.errors import CaptureError
from striate.graph.onnx.reading import BATCH, Reading
from striate.ops import Array

DTYPES = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
LARGEST_RANK = 8
MAX_COMPUTED = 2**26  # values of a constant that is computed, not stored
Fold = Callable[[Reading, onnx.NodeProto], Array]


def array(tensor: onnx.TensorProto) -> Array:
    """The values of a tensor.  Raises: CaptureError on another type, on data outside the file or that do not fit."""
    if is_outside(tensor):
        raise CaptureError(f"onnx: tensor {tensor.name!r} lies outside the file; export with external_data=False")
    if tensor.data_type not in DTYPES:
        kind = TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in DTYPE_NUMBERS else tensor.data_type
        raise CaptureError(f"onnx: tensor {tensor.name!r} is {kind}; export the model in float32 or float64")
    if len(tensor.dims) > LARGEST_RANK or min(tensor.dims, default=0) < 0:
        raise CaptureError(f"onnx: tensor {tensor.name!r} has dims {list(tensor.dims)}; export the model again")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as fault:
        raise CaptureError(f"onnx: tensor {tensor.name!r} is damaged ({fault}); export the model again") from None


DTYPE_NUMBERS = frozenset(TensorProto.DataType.values())


def is_outside(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def stand_in(tensor: onnx.TensorProto) -> Array:
    """An array of the shape of a tensor whose values are not read: NaN, so that nothing can be computed from it."""
    dims = tuple(tensor.dims)
    if len(dims) > LARGEST_RANK or min(dims, default=0) < 0:
        raise CaptureError(f"onnx: tensor {tensor.name!r} has dims {list(dims)}; export the model again")
    return np.broadcast_to(np.float32(np.nan), dims)


def fold(reading: Reading, node: onnx.NodeProto) -> None:
    """Compute the constant that `node` is: its inputs are constants (or, for Shape, its input's shape is known).

    Raises: CaptureError where the values do not fit the operator.
    """
    try:
        with np.errstate(all="ignore"):
            value = FOLDS[node.op_type](reading, node)
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError, MemoryError) as fault:
        raise reading.refusal(node, f"its constants do not fit ({' '.join(str(fault).split())})") from None
    reading.constants[node.output[0]] = value
    if node.op_type == "Identity" and node.input[0] in reading.stored:
        reading.stored.add(node.output[0])  # so exporters store equal weights once; it is a weight of its own
    if node.op_type in RENAMED:
        name = reading.weight_name(node.input[0])
        if node.op_type == "Transpose" and value.ndim == 2:
            name = name.removesuffix(".T") if name.endswith(".T") else f"{name}.T"
        reading.origin[node.output[0]] = name


RENAMED = ("CastLike", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Flatten")
"""What leaves the values of a weight as they are, so that the result keeps its name."""


def is_one_number(value: Array) -> bool:
    """Whether an array is one number spread over a shape, without memory of its own."""
    return value.size > 1 and not any(value.strides)


def _each(function: Callable[[Array], Any]) -> Fold:
    """A fold of one input that treats every value alike."""
    return lambda reading, node: mapped(function, _first(reading, node))


def mapped(function: Callable[[Array], Any], value: Array) -> Array:
    """`function` of every value; of one number once."""
    if is_one_number(value):
        return np.broadcast_to(np.asarray(function(value.reshape(-1)[:1])).reshape(()), value.shape)
    return np.asarray(function(value))


def _every(function: Callable[..., Any]) -> Fold:
    """A fold of all inputs, spread over each other."""

    def folded(reading: Reading, node: onnx.NodeProto) -> Array:
        values = [reading.demand(node, i, "input") for i in range(len(node.input))]
        shape = np.broadcast_shapes(*(v.shape for v in values))
        if prod(shape) > MAX_COMPUTED and not all(v.size == 1 or is_one_number(v) for v in values):
            raise ValueError(f"{prod(shape):,} values")
        if prod(shape) > MAX_COMPUTED:
            first = [v.reshape(-1)[:1] for v in values]
            return np.broadcast_to(np.asarray(function(*first)).reshape(()), shape)
        return np.asarray(function(*values))

    return folded


def _divided(a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer):
        return np.trunc(a / b).astype(a.dtype) if (b != 0).all() else np.zeros(1)[[1]]  # IndexError: no quotient
    quotient: Array = a / b
    return quotient


def _constant(reading: Reading, node: onnx.NodeProto) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if (value := reading.attribute(node, name, None)) is not None:
            return np.array(value, dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if (value := reading.attribute(node, name, [])) != []:
            return np.array(value, dtype)
    value = reading.attribute(node, "value", None)
    if not isinstance(value, TensorProto):
        raise reading.refusal(node, "holds neither a tensor nor numbers; sparse tensors and strings are not read")
    return array(value)


def _constant_of_shape(reading: Reading, node: onnx.NodeProto) -> Array:
    """One value everywhere, without the memory of an array."""
    value = reading.attribute(node, "value", None)
    one = np.zeros((), np.float32) if value is None else array(value).reshape(())
    return _spread(one, tuple(int(n) for n in _first(reading, node)))


def _spread(one: Array, shape: tuple[int, ...]) -> Array:
    if len(shape) > LARGEST_RANK or min(shape, default=1) < 0:
        raise ValueError(f"shape {shape}")
    return np.broadcast_to(one, shape)


def _expand(reading: Reading, node: onnx.NodeProto) -> Array:
    value, wanted = _first(reading, node), tuple(int(n) for n in reading.demand(node, 1, "shape"))
    return _spread(value, np.broadcast_shapes(value.shape, wanted))


def _shape(reading: Reading, node: onnx.NodeProto) -> Array:
    known = reading.constant(node, 0)
    sizes = (BATCH, *reading.shape(node)) if known is None else known.shape
    end = reading.attribute(node, "end", len(sizes))
    return np.array(sizes[reading.attribute(node, "start", 0) : end], np.int64)


def _size(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.array(reading.demand(node, 0, "input").size, np.int64)


def _cast(reading: Reading, node: onnx.NodeProto) -> Array:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(reading.attribute(node, "to", 0))
    return mapped(lambda value: value.astype(dtype), _first(reading, node))


def _cast_like(reading: Reading, node: onnx.NodeProto) -> Array:
    """To the type of a constant, or of the maps, which are float32."""
    like = reading.constant(node, 1)
    dtype = np.dtype(np.float32) if like is None else like.dtype
    return mapped(lambda value: value.astype(dtype), _first(reading, node))


def _slice(reading: Reading, node: onnx.NodeProto) -> Array:
    value = _first(reading, node)
    return value[slices(reading, node, value.ndim)]


def slices(reading: Reading, node: onnx.NodeProto, ndim: int) -> tuple[slice, ...]:
    """The index that a Slice node takes, one slice an axis.  Raises: ValueError, IndexError, CaptureError."""
    if reading.opset < 10:
        starts, ends = reading.attribute(node, "starts", []), reading.attribute(node, "ends", [])
        axes, steps = reading.attribute(node, "axes", []), []
    else:
        starts, ends = (reading.demand(node, i, what).reshape(-1).tolist() for i, what in ((1, "starts"), (2, "ends")))
        axes, steps = (v.reshape(-1).tolist() if (v := reading.constant(node, i)) is not None else [] for i in (3, 4))
    taken = [slice(None)] * ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[i] if steps else 1
        # Exporters write "to the end" as a huge number, and for negative steps as a hugely negative one.
        taken[axes[i] if axes else i] = slice(start, None if end <= -(2**31) + 1 else end, step)
    return tuple(taken)


def _concat(reading: Reading, node: onnx.NodeProto) -> Array:
    parts = [reading.constants[name] for name in node.input]
    if sum(part.size for part in parts) > MAX_COMPUTED:
        raise ValueError(f"{sum(part.size for part in parts):,} values")
    return np.concatenate(parts, axis=reading.attribute(node, "axis", 0))


def _gather(reading: Reading, node: onnx.NodeProto) -> Array:
    indices, value = reading.demand(node, 1, "indices"), _first(reading, node)
    if indices.size * value.size > MAX_COMPUTED:
        raise ValueError(f"{indices.size:,} of {value.size:,} values")
    return np.take(value, indices, axis=reading.attribute(node, "axis", 0))


def _range(reading: Reading, node: onnx.NodeProto) -> Array:
    start, limit, delta = (reading.demand(node, i, "limits").item() for i in range(3))
    if (limit - start) / delta > MAX_COMPUTED:
        raise ValueError(f"from {start} to {limit}")
    return np.asarray(np.arange(start, limit, delta))


def _reshape(reading: Reading, node: onnx.NodeProto) -> Array:
    value = _first(reading, node)
    target = [int(n) for n in reading.attribute(node, "shape", []) or reading.demand(node, 1, "shape")]
    if not reading.attribute(node, "allowzero", 0):
        target = [value.shape[i] if n == 0 else n for i, n in enumerate(target)]
    return reshaped(value, target)


def reshaped(value: Array, target: list[int]) -> Array:
    """`value` in another shape; one number stays one number."""
    if not is_one_number(value):
        return value.reshape(target)
    rest = prod(n for n in target if n != -1)
    shape = [value.size // rest if n == -1 and rest else n for n in target]
    if prod(shape) != value.size:
        raise ValueError(f"{value.shape} to {target}")
    return _spread(value.reshape(-1)[:1].reshape(()), tuple(shape))


def _flatten(reading: Reading, node: onnx.NodeProto) -> Array:
    value, axis = _first(reading, node), reading.attribute(node, "axis", 1)
    return reshaped(value, [prod(value.shape[:axis]), -1])


def _unsqueeze(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.expand_dims(_first(reading, node), tuple(axes_of(reading, node)))


def _squeeze(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.squeeze(_first(reading, node), tuple(axes_of(reading, node)) or None)


def _transpose(reading: Reading, node: onnx.NodeProto) -> Array:
    return np.transpose(_first(reading, node), reading.attribute(node, "perm", []) or None)


def _reduced(function: Callable[..., Any]) -> Fold:
    """A fold of one input that reduces some of its axes, or all."""

    def folded(reading: Reading, node: onnx.NodeProto) -> Array:
        value, axes = _first(reading, node), tuple(axes_of(reading, node)) or None
        if value.size > MAX_COMPUTED:
            raise ValueError(f"{value.size:,} values")
        return np.asarray(function(value, axis=axes, keepdims=bool(reading.attribute(node, "keepdims", 1))))

    return folded


def _clip(reading: Reading, node: onnx.NodeProto) -> Array:
    low, high = (reading.constant(node, i) for i in (1, 2))
    return np.asarray(np.clip(_first(reading, node), low, high))


def _batch_norm(reading: Reading, node: onnx.NodeProto) -> Array:
    """Of weights, by their own statistics or by computed ones: so exporters spell standardised weights."""
    value, *vectors = (reading.demand(node, i, "input") for i in range(5))
    if value.size > MAX_COMPUTED:
        raise ValueError(f"{value.size:,} values")
    scale, shift, mean, var = (vector.reshape(-1, *(1,) * (value.ndim - 2)) for vector in vectors)
    if reading.attribute(node, "training_mode", 0):
        axes = (0, *range(2, value.ndim))
        mean, var = value.mean(axis=axes, keepdims=True), value.var(axis=axes, keepdims=True)
    normal = (value - mean) / np.sqrt(var + reading.attribute(node, "epsilon", 1e-5))
    return np.asarray(normal * scale + shift, value.dtype)


def _first(reading: Reading, node: onnx.NodeProto) -> Array:
    return reading.demand(node, 0, "input")


def axes_of(reading: Reading, node: onnx.NodeProto) -> list[int]:
    """Axes as an attribute (before opset 13 or 18) or as the second input."""
    given = reading.constant(node, 1)
    return reading.attribute(node, "axes", []) if given is None else [int(a) for a in given.reshape(-1)]


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {
        "Abs": _each(np.abs),
        "Add": _every(np.add),
        "BatchNormalization": _batch_norm,
        "Cast": _cast,
        "CastLike": _cast_like,
        "Ceil": _each(np.ceil),
        "Clip": _clip,
        "Concat": _concat,
        "Constant": _constant,
        "ConstantOfShape": _constant_of_shape,
        "Div": _every(_divided),
        "Dropout": _first,
        "Equal": _every(np.equal),
        "Greater": _every(np.greater),
        "Exp": _each(np.exp),
        "Expand": _expand,
        "Flatten": _flatten,
        "Floor": _each(np.floor),
        "Gather": _gather,
        "Identity": _first,
        "Less": _every(np.less),
        "Max": _every(np.maximum),
        "Min": _every(np.minimum),
        "Mul": _every(np.multiply),
        "Neg": _each(np.negative),
        "Pow": _every(np.power),
        "Range": _range,
        "Reciprocal": _each(np.reciprocal),
        "ReduceMax": _reduced(np.max),
        "ReduceMean": _reduced(np.mean),
        "ReduceMin": _reduced(np.min),
        "ReduceProd": _reduced(np.prod),
        "ReduceSum": _reduced(np.sum),
        "Reshape": _reshape,
        "Shape": _shape,
        "Size": _size,
        "Slice": _slice,
        "Sqrt": _each(np.sqrt),
        "Squeeze": _squeeze,
        "Sub": _every(np.subtract),
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
        "Where": _every(np.where),
    }
)
"""op_type -> what it computes from constants."""
