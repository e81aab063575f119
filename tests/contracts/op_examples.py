"""What the contracts of every kind of layer are tried on, and the same layers in torch as the second opinion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from striate.geometry import Window
from striate.ops import (
    CURVES,
    OPS,
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Mul,
    Op,
    Shape,
    Softmax,
)

BATCH = 2
W = Window
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
    "activation": [(Activation(curve), [shape]) for curve in CURVES for shape in (MAPS, (7,))],
    "softmax": [(Softmax(), [(7,)]), (Softmax(), [MAPS])],
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
    ],
    "flatten": [(Flatten(), [MAPS]), (Flatten(), [(7,)]), (Flatten(), [(2, 3, 5, 7)])],
    "dropout": [(Dropout(0.3), [MAPS]), (Dropout(0.5, whole_channels=True), [MAPS])],
    "identity": [(Identity(), [MAPS]), (Identity(), [(7,)])],
    "add": [(Add(), [MAPS, MAPS]), (Add(), [(7,), (7,), (7,)])],
    "mul": [
        (Mul(), [MAPS, MAPS]),
        (Mul(), [MAPS, (6, 1, 1)]),
        (Mul(), [(6, 1, 1), MAPS]),
        (Mul(), [MAPS, (1, 13, 10)]),
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
    AdaptiveAvgPool((5, 7)): (
        "adaptive_avg_pool from (13, 10) to (5, 7) has uneven cells and no ONNX node; "
        "use an input whose size is a multiple, or a global pool"
    ),
    AdaptiveAvgPool((4,)): (
        "adaptive_avg_pool from (11,) to (4,) has uneven cells and no ONNX node; "
        "use an input whose size is a multiple, or a global pool"
    ),
    AdaptiveAvgPool((5, 2)): (
        "adaptive_avg_pool from (3, 7) to (5, 2) has uneven cells and no ONNX node; "
        "use an input whose size is a multiple, or a global pool"
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
        return [rng.standard_normal((BATCH, *shape)).astype(dtype) for shape in self.shapes]

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
    run = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(op.out) - 1]
    return run(inputs[0], op.out)


CURVES_IN_TORCH = {
    "relu": F.relu,
    "relu6": F.relu6,
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
    Activation: lambda op, inputs, weights: CURVES_IN_TORCH[op.curve](inputs[0]),
    Softmax: lambda op, inputs, weights: F.softmax(inputs[0], dim=1),
    MaxPool: _max_pool,
    AvgPool: _avg_pool,
    GlobalAvgPool: lambda op, inputs, weights: inputs[0].mean(
        dim=tuple(range(2, inputs[0].ndim)), keepdim=op.keep_axes
    ),
    AdaptiveAvgPool: _adaptive,
    Flatten: lambda op, inputs, weights: torch.flatten(inputs[0], 1),
    Dropout: lambda op, inputs, weights: F.dropout(inputs[0], op.p, training=False),
    Identity: lambda op, inputs, weights: inputs[0] * 1,
    Add: lambda op, inputs, weights: torch.stack(inputs).sum(dim=0),
    Mul: lambda op, inputs, weights: torch.mul(*inputs),
    Concat: lambda op, inputs, weights: torch.cat(inputs, dim=1),
}


def unlisted() -> set[str]:
    """Kinds of layer without an example or a torch counterpart."""
    return set(OPS) - {kind for kind, rows in EXAMPLES.items() if rows} | {k for k in OPS if OPS[k] not in TORCH}
