"""ONNX operators as layers: one reader an operator, listed in `LAYERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isclose, prod
from types import MappingProxyType

import numpy as np
import onnx

from striate.geometry import Window
from striate.graph.onnx_constants import axes_of, slices
from striate.graph.onnx_reading import BATCH, Reading
from striate.graph.onnx_weighted import batch_norm, conv, decimal, gemm, matmul, windows
from striate.ops import (
    Activation,
    Add,
    Array,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    MaxPool,
    Mul,
    Softmax,
)


def _curve(curve: str) -> Callable[[Reading, onnx.NodeProto], None]:
    def read(r: Reading, node: onnx.NodeProto) -> None:
        r.emit(node, Activation(curve), [r.layer(node)])

    return read


def _fixed(curve: str, **wanted: float) -> Callable[[Reading, onnx.NodeProto], None]:
    """An activation whose attributes must be those of the curve. `wanted` is name=(ONNX's default, needed)."""

    def read(r: Reading, node: onnx.NodeProto) -> None:
        for name, value in wanted.items():
            got = r.attribute(node, name, DEFAULTS[node.op_type, name])
            if not isclose(got, value, rel_tol=1e-6):
                raise r.refusal(node, f"{name}={got:g}; supported is {curve} with {name}={value:g}")
        r.emit(node, Activation(curve), [r.layer(node)])

    return read


DEFAULTS: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("LeakyRelu", "alpha"): 0.01,
        ("Elu", "alpha"): 1.0,
        ("HardSigmoid", "alpha"): 0.2,
        ("HardSigmoid", "beta"): 0.5,
    }
)
"""ONNX's values for attributes that a node leaves out."""


def _sigmoid(r: Reading, node: onnx.NodeProto) -> None:
    """A sigmoid, or silu where it only multiplies its own input."""
    mul = r.sole_reader(node, "Mul")
    if mul is not None and set(mul.input) == {node.input[0], node.output[0]}:
        r.absorb(mul)
        r.emit(mul, Activation("silu"), [r.layer(node)])
    else:
        _curve("sigmoid")(r, node)


def _clip(r: Reading, node: onnx.NodeProto) -> None:
    low, high = (
        float(r.demand(node, i, name)) if i < len(node.input) and node.input[i] else r.attribute(node, name, None)
        for i, name in ((1, "min"), (2, "max"))
    )
    curve = {(0.0, 6.0): "relu6", (0.0, None): "relu"}.get((low, high))
    if curve is None:
        raise r.refusal(node, f"min={low}, max={high}; supported are 0 to 6 (relu6) and 0 without a maximum (relu)")
    r.emit(node, Activation(curve), [r.layer(node)])


def _softmax(r: Reading, node: onnx.NodeProto) -> None:
    """Over the channels. Before opset 13 the axes from `axis` on were taken together."""
    shape = r.shape(node)
    axis = r.attribute(node, "axis", -1 if r.opset >= 13 else 1) % (len(shape) + 1)
    if axis != 1 or (r.opset < 13 and prod(shape[1:]) != 1):
        raise r.refusal(
            node, f"runs over axis {axis} of (N, {', '.join(map(str, shape))}); supported is axis 1, the channels"
        )
    r.emit(node, Softmax(), [r.layer(node)])


def _max_pool(r: Reading, node: onnx.NodeProto) -> None:
    if len([name for name in node.output if name]) > 1:
        raise r.refusal(node, "also returns where the maxima are; export it without indices")
    r.emit(node, MaxPool(_pool_windows(r, node)), [r.layer(node)])


def _average_pool(r: Reading, node: onnx.NodeProto) -> None:
    counts = bool(r.attribute(node, "count_include_pad", 0))
    r.emit(node, AvgPool(_pool_windows(r, node), counts), [r.layer(node)])


def _pool_windows(r: Reading, node: onnx.NodeProto) -> tuple[Window, ...]:
    kernel = tuple(r.attribute(node, "kernel_shape", []))
    none = [0] * len(kernel)
    return windows(r, node, r.shape(node)[1:], kernel, none, none)


def _global_pool(r: Reading, node: onnx.NodeProto, keep_axes: bool = True) -> None:
    """A global average, as a vector where the next node flattens it."""
    x = r.layer(node)
    flattening = r.sole_reader(node, "Flatten") if keep_axes else None
    if flattening is not None and r.attribute(flattening, "axis", 1) == 1:
        r.absorb(flattening)
        r.emit(flattening, GlobalAvgPool(), [x])
    else:
        r.emit(node, GlobalAvgPool(keep_axes), [x])


def _reduce_mean(r: Reading, node: onnx.NodeProto) -> None:
    ndim = len(r.shape(node)) + 1
    axes = sorted(a % ndim for a in axes_of(r, node))
    if ndim < 3 or axes != list(range(2, ndim)):
        raise r.refusal(node, f"averages over axes {axes}; supported is the mean over all positions, axes 2 and up")
    _global_pool(r, node, keep_axes=bool(r.attribute(node, "keepdims", 1)))


def _flatten(r: Reading, node: onnx.NodeProto) -> None:
    axis = r.attribute(node, "axis", 1) % (len(r.shape(node)) + 1)
    if axis != 1:
        raise r.refusal(node, f"axis={axis}; supported is axis=1, one vector an image")
    r.emit(node, Flatten(), [r.layer(node)])


def _reshape(r: Reading, node: onnx.NodeProto) -> None:
    """Only what leaves the batch and makes one vector an image."""
    shape = r.shape(node)
    target = r.attribute(node, "shape", []) or [int(n) for n in r.demand(node, 1, "shape")]
    sizes = (BATCH, *shape)
    target = [sizes[i] if n == 0 and i < len(sizes) else n for i, n in enumerate(target)]
    is_vector = len(target) == 2 and target[1] in (-1, prod(shape)) and (target[0] in (BATCH, -1, r.batch))
    if not is_vector or target == [-1, -1]:
        raise r.refusal(
            node, f"from (N, {', '.join(map(str, shape))}) to {target}; supported is a flattening to (N, -1)"
        )
    r.emit(node, Flatten() if len(shape) > 1 else Identity(), [r.layer(node)])


def _squeeze(r: Reading, node: onnx.NodeProto) -> None:
    shape = r.shape(node)
    axes = sorted(a % (len(shape) + 1) for a in axes_of(r, node))
    if axes != list(range(2, len(shape) + 1)) or prod(shape[1:]) != 1:
        raise r.refusal(
            node, f"axes={axes} of (N, {', '.join(map(str, shape))}); supported is all positions, each of size 1"
        )
    r.emit(node, Flatten(), [r.layer(node)])


def _dropout(r: Reading, node: onnx.NodeProto) -> None:
    if (mode := r.constant(node, 2)) is not None and mode.any():
        raise r.refusal(node, "is in training mode; export the model in evaluation mode")
    ratio = r.constant(node, 1)
    p = r.attribute(node, "ratio", 0.5) if ratio is None else float(ratio)
    r.emit(node, Dropout(decimal(p)), [r.layer(node)])


def _identity(r: Reading, node: onnx.NodeProto) -> None:
    r.emit(node, Identity(), [r.layer(node)])


def _sum(r: Reading, node: onnx.NodeProto) -> None:
    """A sum of branches; with a constant, a shift of each channel; the start of a spelt-out hard_swish."""
    constant = _constant_operand(r, node)
    if constant is None:
        layers = [r.layer(node, i) for i in range(len(node.input))]
        r.emit(node, Add() if len(layers) > 1 else Identity(), layers)
        return
    x, values = constant
    if values.size == 1 and values == 3 and _hard_swish(r, node, x):
        return
    _affine(r, node, x, shift=values)


def _product(r: Reading, node: onnx.NodeProto) -> None:
    constant = _constant_operand(r, node)
    if constant is None:
        r.emit(node, Mul(), [r.layer(node, 0), r.layer(node, 1)])
    else:
        _affine(r, node, constant[0], scale=constant[1])


def _quotient(r: Reading, node: onnx.NodeProto) -> None:
    divisor = r.demand(node, 1, "divisor")
    _affine(r, node, 0, scale=(1 / divisor.astype(np.float64)).astype(divisor.dtype))


def _difference(r: Reading, node: onnx.NodeProto) -> None:
    _affine(r, node, 0, shift=-r.demand(node, 1, "subtrahend"))


def _constant_operand(r: Reading, node: onnx.NodeProto) -> tuple[int, Array] | None:
    """Where the computed operand of a sum or product of two stands, and the value of the constant one."""
    values = [r.constant(node, i) for i in range(len(node.input))]
    if len(values) != 2 or all(v is None for v in values):
        return None
    first, second = values
    return (1, first) if first is not None else (0, second) if second is not None else None


def _affine(
    r: Reading, node: onnx.NodeProto, position: int, scale: Array | None = None, shift: Array | None = None
) -> None:
    """scale x + shift for each channel, as a batch normalisation of mean 0 and variance 1."""
    shape = r.shape(node, position)
    given = scale if scale is not None else shift
    vector = np.zeros(1, np.float32) if given is None else given
    aligned = (1,) * (len(shape) + 1 - vector.ndim) + vector.shape
    if len(aligned) != len(shape) + 1 or aligned[1] not in (1, shape[0]) or prod(aligned) != aligned[1]:
        raise r.refusal(
            node, f"a constant of shape {vector.shape} on {shape}; supported is one number, or one a channel"
        )
    per_channel = np.broadcast_to(vector.reshape(-1), shape[:1])
    ones, zeros = np.ones(shape[0], vector.dtype), np.zeros(shape[0], vector.dtype)
    values = {
        "gamma": ones if scale is None else per_channel,
        "beta": zeros if shift is None else per_channel,
        "running_mean": zeros,
        "running_var": ones,
    }
    weights = {role: (f"{node.output[0]}.{role}", v) for role, v in values.items()}
    r.emit(node, BatchNorm(shape[0], eps=0.0), [r.layer(node, position)], weights)


def _hard_swish(r: Reading, add: onnx.NodeProto, position: int) -> bool:
    """x clip(x + 3, 0, 6) / 6 in four nodes, as exporters before opset 14 spell it."""
    clip = r.sole_reader(add, "Clip")
    mul = clip and r.sole_reader(clip, "Mul")
    last = mul and r.sole_reader(mul, "Div", "Mul")
    if clip is None or mul is None or last is None or set(mul.input) != {add.input[position], clip.output[0]}:
        return False
    factor = r.constant(last, 1)
    sixth = 6.0 if last.op_type == "Div" else 1 / 6
    bounds = [r.attribute(clip, name, None) for name in ("min", "max")]
    if len(clip.input) == 3:
        bounds = [None if (v := r.constant(clip, i)) is None else float(v) for i in (1, 2)]
    if factor is None or factor.size != 1 or not isclose(float(factor.item()), sixth, rel_tol=1e-6) or bounds != [0, 6]:
        return False
    for node in (clip, mul, last):
        r.absorb(node)
    r.emit(last, Activation("hard_swish"), [r.layer(add, position)])
    return True


def _concat(r: Reading, node: onnx.NodeProto) -> None:
    axis = r.attribute(node, "axis", 1)
    if axis not in (1, -len(r.shape(node))):
        raise r.refusal(node, f"axis={axis}; supported is axis=1, the channels")
    layers = [r.layer(node, i) for i in range(len(node.input))]
    r.emit(node, Concat() if len(layers) > 1 else Identity(), layers)


def _pad(r: Reading, node: onnx.NodeProto) -> None:
    """Zeros around maps, which the next convolution takes upon itself; zero channels, as a 1 x 1 convolution."""
    shape = r.shape(node)
    mode, value = r.attribute(node, "mode", "constant"), r.constant(node, 2)
    if mode != "constant" or (value is not None and value.any()) or r.attribute(node, "value", 0.0):
        raise r.refusal(node, "pads with something else than zeros, which no layer here does")
    pads = r.attribute(node, "pads", []) or [int(n) for n in r.demand(node, 1, "pads")]
    half = len(pads) // 2
    if half != len(shape) + 1 or r.constant(node, 3) is not None or pads[0] or pads[half] or min(pads) < 0:
        raise r.refusal(node, f"pads={pads}; supported are zeros around channels or positions")
    if not any(pads[1:2] + pads[half + 1 : half + 2]):
        r.alias(node, r.layer(node))
        r.pads[node.output[0]] = pads[2:half], pads[half + 2 :]
        return
    if any(pads[2:half] + pads[half + 2 :]):
        raise r.refusal(node, "pads channels and positions at once; pad them one after the other")
    before, after = pads[1], pads[half + 1]
    weight = np.pad(np.eye(shape[0], dtype=np.float32), ((before, after), (0, 0)))
    weight = weight.reshape(*weight.shape, *(1,) * (len(shape) - 1))  # (O, C, 1, 1): copies C channels
    op = Conv(shape[0], len(weight), tuple(Window(1) for _ in shape[1:]), bias=False)
    r.emit(node, op, [r.layer(node)], {"weight": (f"{node.output[0]}.copy", weight)})


def _slice(r: Reading, node: onnx.NodeProto) -> None:
    """Every s-th row and column, as a pooling of single pixels."""
    shape = r.shape(node)
    images, *parts = slices(r, node, len(shape) + 1)
    taken = [part.indices(n) for part, n in zip(parts, shape, strict=True)]
    steps = [step for _, _, step in taken]
    wholes = all(start == 0 and step > 0 and stop == n for (start, stop, step), n in zip(taken, shape, strict=True))
    if not wholes or steps[0] != 1 or images != slice(None):
        raise r.refusal(node, "takes a part of the maps; supported is every s-th row and column from the first")
    r.emit(node, MaxPool(tuple(Window(1, step) for step in steps[1:])), [r.layer(node)])


LAYERS: Mapping[str, Callable[[Reading, onnx.NodeProto], None]] = MappingProxyType(
    {
        "Add": _sum,
        "AveragePool": _average_pool,
        "BatchNormalization": batch_norm,
        "Clip": _clip,
        "Concat": _concat,
        "Conv": conv,
        "Div": _quotient,
        "Dropout": _dropout,
        "Elu": _fixed("elu", alpha=1.0),
        "Flatten": _flatten,
        "Gemm": gemm,
        "GlobalAveragePool": _global_pool,
        "HardSigmoid": _fixed("hard_sigmoid", alpha=1 / 6, beta=0.5),
        "HardSwish": _curve("hard_swish"),
        "Identity": _identity,
        "LeakyRelu": _fixed("leaky_relu", alpha=0.01),
        "MatMul": matmul,
        "MaxPool": _max_pool,
        "Mul": _product,
        "Pad": _pad,
        "ReduceMean": _reduce_mean,
        "Relu": _curve("relu"),
        "Reshape": _reshape,
        "Sigmoid": _sigmoid,
        "Slice": _slice,
        "Softmax": _softmax,
        "Squeeze": _squeeze,
        "Sub": _difference,
        "Sum": _sum,
        "Tanh": _curve("tanh"),
    }
)
"""op_type -> its reader."""
