"""What the contracts of every kind of layer are tried on, and the same layers in torch as the second opinion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from striate.geometry import Transposed, Window
from striate.ops import (
    CURVES,
    OPS,
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    BlurPool,
    ChannelReduce,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Div,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalReduce,
    GroupNorm,
    Identity,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Mul,
    Op,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Power,
    PReLU,
    Reshape,
    Resize,
    Scale,
    Shape,
    Shift,
    Slice,
    Softmax,
    Sub,
)

BATCH = 2
W = Window
T = Transposed
MAPS: Shape = (6, 13, 10)

# kind -> layers with the shapes of one image that they read
EXAMPLES: Mapping[str, list[tuple[Op, list[Shape]]]] = {
    "conv": [
        (Conv(6, 4, (W(3, pad_lo=1, pad_hi=1), W(5, pad_lo=2, pad_hi=2))), [MAPS]),
        (Conv(6, 9, (W(3, 2, 1, 1, 0), W(2, 3, 1, 0, 1)), groups=3), [MAPS]),
        (Conv(6, 12, (W(2, 1, 3, 2, 4), W(3, 2, 2, 0, 3)), groups=6, bias=False), [MAPS]),
        (Conv(6, 5, (W(1, 2), W(1, 3)), bias=False), [MAPS]),
        (Conv(6, 2, (W(13), W(10))), [MAPS]),
        (Conv(6, 4, (W(2, 1, 1, -2, -1), W(3, 2, 1, 1, -3)), groups=2), [MAPS]),
        (Conv(3, 4, (W(3, 2, 2, 1, 3),)), [(3, 11)]),
        (Conv(2, 4, (W(2, pad_lo=1), W(3, 2, pad_hi=1), W(1, 3)), groups=2), [(2, 3, 5, 7)]),
    ],
    "conv_transpose": [
        (ConvTranspose(6, 4, (T(3, 2), T(2, 3))), [(6, 5, 4)]),
        (ConvTranspose(6, 9, (T(3, 2, 1, 1, 0, 1), T(4, 3, 2, 2, 1)), groups=3), [(6, 5, 4)]),
        (ConvTranspose(6, 6, (T(2, 1, 3, 0, 2), T(3, 2, 2, 1, 1, 1)), groups=6, bias=False), [(6, 5, 4)]),
        (ConvTranspose(3, 2, (T(3, 2, pad_lo=1, pad_hi=1),)), [(3, 7)]),
        (ConvTranspose(2, 3, (T(2), T(3, 2, 1, 1), T(1, 3))), [(2, 3, 5, 2)]),
    ],
    "linear": [
        (Linear(7, 5), [(7,)]),
        (Linear(11, 1, bias=False), [(11,)]),
    ],
    "batch_norm": [
        (BatchNorm(6), [MAPS]),
        (BatchNorm(7, eps=1e-3, momentum=0.3), [(7,)]),
        (BatchNorm(3, affine=False), [(3, 11)]),
        (BatchNorm(2, eps=0.1, momentum=1.0), [(2, 3, 5, 7)]),
    ],
    "activation": [
        *[(Activation(curve), [shape]) for curve in CURVES for shape in (MAPS, (7,))],
        *[
            (Activation(curve, values), [MAPS])
            for curve, values in (("leaky_relu", (0.3,)), ("elu", (1.7,)), ("hard_tanh", (-0.5, 2.0)))
        ],
    ],
    "prelu": [(PReLU(), [MAPS]), (PReLU(6), [MAPS]), (PReLU(7), [(7,)])],
    "group_norm": [
        (GroupNorm(6, groups=3), [MAPS]),
        (GroupNorm(6, 1e-3, affine=False), [MAPS]),
        (GroupNorm(3, groups=3), [(3, 11)]),
    ],
    "layer_norm": [
        (LayerNorm(6, 1e-6), [MAPS]),
        (LayerNorm(7), [(7,)]),
        (LayerNorm(3, affine=False), [(3, 11)]),
    ],
    "local_response_norm": [
        (LocalResponseNorm(5, 0.3, 0.75, 2.0), [MAPS]),
        (LocalResponseNorm(4, 0.5, 0.6), [(6, 3, 5)]),
    ],
    "log_softmax": [(LogSoftmax(), [(7,)]), (LogSoftmax(), [MAPS])],
    "softmax": [(Softmax(), [(7,)]), (Softmax(), [MAPS]), (Softmax(2, 3), [(12, 3, 5)])],
    "max_pool": [
        (MaxPool((W(2, 2), W(3, 3))), [MAPS]),
        (MaxPool((W(3, 2, 1, 1, 1), W(5, 3, 1, 2, 2))), [MAPS]),
        (MaxPool((W(3, 2, 1, 0, 1), W(2, 1, 3, 1, 0))), [MAPS]),
        (MaxPool((W(2, 2, 1, 0, 0, True), W(4, 4, 1, 1, 1, True))), [MAPS]),
        (MaxPool((W(3, 4, 2, 1, 1, True), W(3, 2, 3, 1, 1, True))), [MAPS]),
        (MaxPool((W(2, 2, 1, 0, 0, True), W(3, 2, 2, 1, 1, True))), [MAPS]),
        (MaxPool((W(3, 2, pad_lo=1, pad_hi=1),)), [(3, 11)]),
        (MaxPool((W(2, 2), W(3, 2, ceil_mode=True), W(2, 3))), [(2, 6, 8, 11)]),
    ],
    "avg_pool": [
        (AvgPool((W(2, 2), W(3, 3))), [MAPS]),
        (AvgPool((W(3, 2, 1, 1, 1), W(5, 3, 1, 2, 2))), [MAPS]),
        (AvgPool((W(3, 2, 1, 1, 1), W(5, 3, 1, 2, 2)), count_include_pad=False), [MAPS]),
        (AvgPool((W(3, 2, 1, 0, 2), W(2, 1, 1, 1, 0))), [MAPS]),
        (AvgPool((W(3, 2, 1, 0, 2), W(2, 1, 1, 1, 0)), count_include_pad=False), [MAPS]),
        (AvgPool((W(2, 2, 1, 0, 0, True), W(4, 4, 1, 0, 0, True))), [MAPS]),
        (AvgPool((W(4, 4, 1, 1, 1, True), W(2, 2, 1, 1, 1, True)), count_include_pad=False), [MAPS]),
        (AvgPool((W(4, 4, 1, 1, 1, True), W(2, 2, 1, 1, 1, True))), [MAPS]),
        (AvgPool((W(2, 2, 1, 1, 1, True), W(4, 4, 1, 1, 1, True))), [MAPS]),
        (AvgPool((W(3, 2, 2, 1, 2), W(2, 3, 3))), [MAPS]),
        (AvgPool((W(3, 2, 2, 1, 2), W(2, 3, 3)), count_include_pad=False), [MAPS]),
        (AvgPool((W(3, 2, pad_lo=1, pad_hi=1),)), [(3, 11)]),
        (AvgPool((W(2, 2), W(3, 2, ceil_mode=True), W(2, 3))), [(2, 6, 8, 11)]),
    ],
    "blur_pool": [
        (BlurPool((W(3, 2, pad_lo=1, pad_hi=1), W(5, 3, pad_lo=2, pad_hi=2))), [MAPS]),
        (BlurPool((W(4, 2, pad_lo=1, pad_hi=2), W(2, 1, pad_hi=1))), [MAPS]),
        (BlurPool((W(1, 2), W(3, 1, 1, -1, -2))), [MAPS]),
        (BlurPool((W(3, 2, pad_lo=2),)), [(3, 11)]),
        (BlurPool((W(2, 2), W(3, 1, pad_lo=1, pad_hi=1), W(1, 3))), [(2, 3, 5, 7)]),
    ],
    "global_avg_pool": [
        (GlobalAvgPool(), [MAPS]),
        (GlobalAvgPool(keep_axes=True), [MAPS]),
        (GlobalAvgPool(), [(3, 11)]),
        (GlobalAvgPool(), [(2, 3, 5, 7)]),
    ],
    "adaptive_avg_pool": [
        (AdaptiveAvgPool((1, 1)), [MAPS]),
        (AdaptiveAvgPool((3, 2)), [(6, 12, 10)]),
        (AdaptiveAvgPool((5, 7)), [MAPS]),
        (AdaptiveAvgPool((4,)), [(3, 11)]),
        (AdaptiveAvgPool((5, 2)), [(3, 3, 7)]),  # more units than pixels on one axis
        (AdaptiveAvgPool((7, 3)), [(2, 2, 3)]),  # one axis as it is
        (AdaptiveAvgPool((4, 2, 4)), [(2, 4, 5, 7)]),
        (AdaptiveAvgPool((3, 2, 4)), [(2, 4, 5, 7)]),
    ],
    "adaptive_max_pool": [
        (AdaptiveMaxPool((1, 1)), [MAPS]),
        (AdaptiveMaxPool((3, 2)), [(6, 12, 10)]),
        (AdaptiveMaxPool((5, 7)), [MAPS]),
        (AdaptiveMaxPool((4,)), [(3, 11)]),
        (AdaptiveMaxPool((3, 5, 2)), [(2, 4, 3, 7)]),
    ],
    "global_reduce": [(GlobalReduce(how, keep), [MAPS]) for how in ("max", "sum", "l2") for keep in (False, True)],
    "channel_reduce": [
        *[(ChannelReduce(how), [MAPS]) for how in ("mean", "max", "sum", "l2")],
        (ChannelReduce("sum", 1, 2), [MAPS]),
        (ChannelReduce("mean", 2, 3), [(12, 3, 5)]),
        (ChannelReduce("max", 2, 3), [(12,)]),
    ],
    "resize": [
        (Resize(factor=(2, 3)), [(2, 5, 4)]),
        (Resize((7, 3)), [(2, 5, 4)]),
        (Resize(factor=(2, 3), linear=True), [(2, 5, 4)]),
        (Resize((3, 9), linear=True), [(2, 5, 4)]),
        (Resize((7, 3), linear=True, align_corners=True), [(2, 5, 4)]),
        (Resize((4, 5), linear=True, align_corners=True), [(2, 1, 3)]),
        (Resize((11,)), [(2, 5)]),
    ],
    "pad": [
        (Pad((0, 1, 2), (0, 3, 0)), [MAPS]),
        (Pad((2, 0, 0), (1, 0, 0)), [MAPS]),
        (Pad((0, -1, 2), (0, 1, -3), value=1.5), [MAPS]),
        (Pad((0, 1, 3), (0, 2, 0), "reflect"), [MAPS]),
        (Pad((0, 1, 3), (0, 2, 12), "replicate"), [MAPS]),
        (Pad((0, 1, 3), (0, 2, 4), "circular"), [MAPS]),
    ],
    "slice": [
        (Slice(((2, 5, 1), (None, None, 1), (None, None, 1))), [MAPS]),
        (Slice(((None, None, 2), (1, None, 3), (None, -1, 2))), [MAPS]),
        (Slice(((3, None, 1),)), [(7,)]),
    ],
    "reshape": [
        (Reshape((7, 1, 1)), [(7,)]),
        (Reshape((1, 6)), [(6, 1, 1)]),
        (Reshape((6, -1)), [MAPS]),
        (Reshape((3, 26, 10)), [MAPS]),
    ],
    "permute": [(Permute((1, 2, 0)), [MAPS]), (Permute((0, 2, 1)), [MAPS]), (Permute((1, 0)), [(3, 11)])],
    "channel_shuffle": [(ChannelShuffle(2), [MAPS]), (ChannelShuffle(3), [(6, 5)])],
    "pixel_shuffle": [(PixelShuffle(2), [(12, 3, 5)]), (PixelShuffle(3), [(9, 2, 4)])],
    "pixel_unshuffle": [(PixelUnshuffle(2), [(3, 6, 10)]), (PixelUnshuffle(3), [(2, 6, 9)])],
    "flatten": [(Flatten(), [MAPS]), (Flatten(), [(7,)]), (Flatten(), [(2, 3, 5, 7)])],
    "dropout": [(Dropout(0.3), [MAPS]), (Dropout(0.5, whole_channels=True), [MAPS])],
    "identity": [(Identity(), [MAPS]), (Identity(), [(7,)])],
    "add": [(Add(), [MAPS, MAPS]), (Add(), [(7,), (7,), (7,)]), (Add(), [MAPS, (6, 1, 1)])],
    "sub": [(Sub(), [MAPS, MAPS]), (Sub(), [(6, 1, 1), MAPS])],
    "div": [(Div(), [MAPS, MAPS]), (Div(), [MAPS, (1, 13, 10)]), (Div(), [(7,), (1,)])],
    "scale": [(Scale((6, 1, 1)), [MAPS]), (Scale((1, 13, 10)), [MAPS]), (Scale((7,)), [(7,)])],
    "shift": [(Shift((6, 1, 1)), [MAPS]), (Shift((1, 13, 10)), [MAPS]), (Shift((7,)), [(7,)])],
    "affine": [(Affine(0.5, -1.0), [MAPS]), (Affine(3.0), [(7,)])],
    "power": [(Power(-0.5), [MAPS]), (Power(0.5), [(3, 11)]), (Power(-1.0), [(7,)]), (Power(3.0), [MAPS])],
    "mul": [
        (Mul(), [MAPS, MAPS]),
        (Mul(), [MAPS, (6, 1, 1)]),
        (Mul(), [(6, 1, 1), MAPS]),
        (Mul(), [MAPS, (1, 13, 10)]),
        (Mul(), [(6, 1, 1), (1, 13, 10)]),
        (Mul(), [(7,), (7,)]),
    ],
    "concat": [
        (Concat(), [MAPS, (1, 13, 10)]),
        (Concat(), [(2, 3, 5), (4, 3, 5), (1, 3, 5)]),
        (Concat(), [(7,), (4,)]),
    ],
}

# What has no single ONNX node, and the whole message that says so.
NO_ONNX: Mapping[Op, str] = {
    BatchNorm(3, affine=False): "batch_norm without gamma and beta has no ONNX node; make them explicit first",
    MaxPool((W(3, 4, 2, 1, 1, True), W(3, 2, 3, 1, 1, True))): (
        "max_pool padded by 3 px with a kernel of 3 has no ONNX node; pad less than the kernel, or set ceil_mode=False"
    ),
    AvgPool((W(4, 4, 1, 1, 1, True), W(2, 2, 1, 1, 1, True))): (
        "avg_pool with ceil_mode, padding and count_include_pad has no ONNX node; set count_include_pad=False"
    ),
    LocalResponseNorm(4, 0.5, 0.6): (
        "local_response_norm over 4 channels has no ONNX node, whose middle is elsewhere; use an odd size"
    ),
    AdaptiveAvgPool((3, 2, 4)): (
        "adaptive_avg_pool from (4, 5, 7) to (3, 2, 4) has uneven cells, and ONNX takes these on the last two axes "
        "alone; use an input whose size is a multiple, or a global pool"
    ),
}


@dataclass(frozen=True)
class Example:
    """One layer, the shapes it reads, and a name for the test's title."""

    op: Op
    shapes: tuple[Shape, ...]
    title: str

    def inputs(self, seed: int = 0, dtype: type = np.float64) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        drawn = [rng.standard_normal((BATCH, *shape)).astype(dtype) for shape in self.shapes]
        if self.op.kind == "div":  # a divisor that rounding cannot take to zero
            drawn[1] = np.sign(drawn[1]) * (np.abs(drawn[1]) + dtype(1))
        if self.op.kind == "power":  # roots of positive numbers, away from zero
            drawn[0] = np.abs(drawn[0]) + dtype(0.5)
        return drawn

    def weights(self, seed: int = 1, dtype: type = np.float64) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        drawn = {spec.role: rng.standard_normal(spec.shape) for spec in self.op.weight_specs()}
        if "running_var" in drawn:
            drawn["running_var"] = np.exp(drawn["running_var"])
        return {role: values.astype(dtype) for role, values in drawn.items()}


ALL = [
    Example(op, tuple(shapes), f"{kind}-{i}") for kind, rows in EXAMPLES.items() for i, (op, shapes) in enumerate(rows)
]


def as_torch(op: Op, inputs: list[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The layer at test time by torch's own functions."""
    return TORCH[type(op)](op, inputs, weights)


def _pads(windows) -> list[int]:
    return [side for w in reversed(windows) for side in (w.pad_lo, w.pad_hi)]


def _conv(op, inputs, weights):
    run = (F.conv1d, F.conv2d, F.conv3d)[len(op.windows) - 1]
    strides, dilations = [w.stride for w in op.windows], [w.dilation for w in op.windows]
    x = F.pad(inputs[0], _pads(op.windows))
    return run(x, weights["weight"], weights.get("bias"), stride=strides, dilation=dilations, groups=op.groups)


def _batch_norm(op, inputs, weights):
    mean, var = weights["running_mean"], weights["running_var"]
    return F.batch_norm(inputs[0], mean, var, weights.get("gamma"), weights.get("beta"), eps=op.eps)


def _blur_pool(op, inputs, weights):
    """A convolution by kernels made of torch's own average of two, repeated."""
    kernel = torch.ones(1, 1, *(1 for _ in op.windows), dtype=inputs[0].dtype)
    for axis, w in enumerate(op.windows, start=2):
        for _ in range(w.kernel - 1):
            widths = [0, 0] * (kernel.ndim - 1 - axis) + [1, 1]
            wide = F.pad(kernel, widths)
            size = wide.shape[axis] - 1
            kernel = (wide.narrow(axis, 0, size) + wide.narrow(axis, 1, size)) / 2
    channels = inputs[0].shape[1]
    kernels = {"weight": kernel.expand(channels, *kernel.shape[1:])}
    return _conv(Conv(channels, channels, op.windows, groups=channels, bias=False), inputs, kernels)


def _torch_can_pad(windows) -> bool:
    return all(w.pad_lo == w.pad_hi for w in windows)


def _max_pool(op, inputs, weights):
    run = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(op.windows) - 1]
    x, padding = inputs[0], [w.pad_lo for w in op.windows]
    if not _torch_can_pad(op.windows):
        x, padding = F.pad(x, _pads(op.windows), value=-torch.inf), 0
    kernels, strides = [w.kernel for w in op.windows], [w.stride for w in op.windows]
    dilations, ceil_mode = [w.dilation for w in op.windows], any(w.ceil_mode for w in op.windows)
    return run(x, kernels, strides, padding, dilations, ceil_mode=ceil_mode)


def _avg_pool(op, inputs, weights):
    (x,), windows = inputs, op.windows
    if _torch_can_pad(windows) and all(w.dilation == 1 for w in windows):
        run = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(windows) - 1]
        kernels, strides = [w.kernel for w in windows], [w.stride for w in windows]
        padding, ceil_mode = [w.pad_lo for w in windows], any(w.ceil_mode for w in windows)
        return run(x, kernels, strides, padding, ceil_mode=ceil_mode, count_include_pad=op.count_include_pad)
    # Torch has no such pool: sums and counts are convolutions with ones.
    sums = Conv(x.shape[1], x.shape[1], windows, groups=x.shape[1], bias=False)
    ones = {"weight": torch.ones(x.shape[1], 1, *sums.kernel, dtype=x.dtype)}
    counted = F.pad(torch.ones_like(x), _pads(windows), value=float(op.count_include_pad))
    bare = tuple(W(w.kernel, w.stride, w.dilation) for w in windows)
    counts = _conv(Conv(x.shape[1], x.shape[1], bare, groups=x.shape[1], bias=False), [counted], ones)
    return _conv(sums, inputs, ones) / counts


def _adaptive(op, inputs, weights):
    how = "max" if isinstance(op, AdaptiveMaxPool) else "avg"
    return getattr(F, f"adaptive_{how}_pool{len(op.out)}d")(inputs[0], op.out)


def _conv_transpose(op, inputs, weights):
    """With the same padding on both sides and `extra`, torch's own; what one side crops more is cropped after it."""
    run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(op.windows) - 1]
    x, weight, bias = inputs[0], weights["weight"], weights.get("bias")
    strides, dilations = [w.stride for w in op.windows], [w.dilation for w in op.windows]
    if all(w.pad_lo == w.pad_hi for w in op.windows):
        pads, extra = [w.pad_lo for w in op.windows], [w.extra for w in op.windows]
        return run(x, weight, bias, strides, pads, extra, op.groups, dilations)
    y = run(x, weight, bias, strides, 0, [w.extra for w in op.windows], op.groups, dilations)
    return F.pad(y, [-side for side in _pads(op.windows)])


def _layer_norm(op, inputs, weights):
    x = inputs[0].movedim(1, -1)
    return F.layer_norm(x, (op.channels,), weights.get("gamma"), weights.get("beta"), op.eps).movedim(-1, 1)


def _pad(op, inputs, weights):
    widths = [side for pair in zip(reversed(op.before), reversed(op.after), strict=True) for side in pair]
    if op.mode == "constant":
        return F.pad(inputs[0], widths, value=op.value)
    return F.pad(inputs[0], widths[:-2], mode=op.mode)


def _reduced(x, how, dim, *, keepdim):
    run = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "l2": torch.linalg.vector_norm}[how]
    return run(x, dim=dim, keepdim=keepdim)


def _channel_reduce(op, inputs, weights):
    (x,) = inputs
    count = op.count or x.shape[1] // op.before
    return _reduced(x.unflatten(1, (op.before, count, -1)), op.how, 2, keepdim=False).flatten(1, 2)


def _softmax(op, inputs, weights):
    (x,) = inputs
    return F.softmax(x.unflatten(1, (op.before, op.count or x.shape[1] // op.before, -1)), dim=2).view(x.shape)


def _resize(op, inputs, weights):
    mode = "nearest" if not op.linear else {1: "linear", 2: "bilinear"}[inputs[0].ndim - 2]
    corners = {"align_corners": op.align_corners} if op.linear else {}
    return F.interpolate(inputs[0], op.out or None, tuple(map(float, op.factor)) or None, mode, **corners)


def _channel_shuffle(op, inputs, weights):
    return inputs[0].unflatten(1, (op.groups, -1)).transpose(1, 2).flatten(1, 2)


CURVES_IN_TORCH = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hard_tanh": F.hardtanh,
    "selu": F.selu,
    "log_sigmoid": F.logsigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish,
    "softplus": lambda x: F.softplus(x, threshold=1e9),
    "softsign": F.softsign,
    "abs": torch.abs,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
}

TORCH: Mapping[type[Op], Callable[..., torch.Tensor]] = {
    Conv: _conv,
    Linear: lambda op, inputs, weights: F.linear(inputs[0], weights["weight"], weights.get("bias")),
    BatchNorm: _batch_norm,
    Activation: lambda op, inputs, weights: CURVES_IN_TORCH[op.curve](inputs[0], *op.parameters),
    Softmax: _softmax,
    LogSoftmax: lambda op, inputs, weights: F.log_softmax(inputs[0], dim=1),
    ConvTranspose: _conv_transpose,
    PReLU: lambda op, inputs, weights: F.prelu(inputs[0], weights["weight"]),
    GroupNorm: lambda op, inputs, weights: F.group_norm(
        inputs[0], op.groups, weights.get("gamma"), weights.get("beta"), op.eps
    ),
    LayerNorm: _layer_norm,
    LocalResponseNorm: lambda op, inputs, weights: F.local_response_norm(inputs[0], op.size, op.alpha, op.beta, op.k),
    AdaptiveMaxPool: _adaptive,
    GlobalReduce: lambda op, inputs, weights: _reduced(inputs[0], op.how, (2, 3), keepdim=op.keep_axes),
    ChannelReduce: _channel_reduce,
    Resize: _resize,
    Pad: _pad,
    Slice: lambda op, inputs, weights: inputs[0][(slice(None), *(slice(*part) for part in op.parts))],
    Reshape: lambda op, inputs, weights: inputs[0].reshape(len(inputs[0]), *op.shape),
    Permute: lambda op, inputs, weights: inputs[0].permute(0, *(axis + 1 for axis in op.order)),
    ChannelShuffle: _channel_shuffle,
    PixelShuffle: lambda op, inputs, weights: F.pixel_shuffle(inputs[0], op.factor),
    PixelUnshuffle: lambda op, inputs, weights: F.pixel_unshuffle(inputs[0], op.factor),
    Sub: lambda op, inputs, weights: torch.sub(*inputs),
    Div: lambda op, inputs, weights: torch.div(*inputs),
    Scale: lambda op, inputs, weights: inputs[0] * weights["weight"],
    Shift: lambda op, inputs, weights: inputs[0] + weights["bias"],
    Affine: lambda op, inputs, weights: inputs[0] * op.scale + op.shift,
    Power: lambda op, inputs, weights: inputs[0] ** op.exponent,
    MaxPool: _max_pool,
    AvgPool: _avg_pool,
    BlurPool: _blur_pool,
    GlobalAvgPool: lambda op, inputs, weights: inputs[0].mean(
        dim=tuple(range(2, inputs[0].ndim)), keepdim=op.keep_axes
    ),
    AdaptiveAvgPool: _adaptive,
    Flatten: lambda op, inputs, weights: torch.flatten(inputs[0], 1),
    Dropout: lambda op, inputs, weights: F.dropout(inputs[0], op.p, training=False),
    Identity: lambda op, inputs, weights: inputs[0] * 1,
    Add: lambda op, inputs, weights: torch.stack(torch.broadcast_tensors(*inputs)).sum(dim=0),
    Mul: lambda op, inputs, weights: torch.mul(*inputs),
    Concat: lambda op, inputs, weights: torch.cat(inputs, dim=1),
}


def unlisted() -> set[str]:
    """Kinds of layer without an example or a torch counterpart."""
    return set(OPS) - {kind for kind, rows in EXAMPLES.items() if rows} | {k for k in OPS if OPS[k] not in TORCH}
