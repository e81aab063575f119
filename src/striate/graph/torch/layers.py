"""Torch layers without windows: activations, norms, moves, reductions, arithmetic; by the kind of the layer here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate import ops
from striate.errors import NetworkError
from striate.ops import Shape

Make = Callable[[Any, Shape], nn.Module]


class Function(nn.Module):
    """A function in the place of a layer, so that it has a name and hooks see it."""

    def __init__(self, function: Callable[..., Tensor], what: str) -> None:
        super().__init__()
        self.function, self.what = function, what

    def forward(self, *inputs: Tensor) -> Tensor:
        """The function."""
        return self.function(*inputs)

    def extra_repr(self) -> str:
        """What the function does."""
        return self.what


class Scaled(nn.Module):
    """x times a learnt tensor, spread over it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        """x w."""
        return x * self.weight


class Shifted(nn.Module):
    """x plus a learnt tensor, spread over it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        """x + b."""
        return x + self.bias


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of maps (N, C, ...) at each position."""

    def forward(self, input: Tensor) -> Tensor:
        """Channels last, torch's layer, and back."""
        normal: Tensor = super().forward(input.movedim(1, -1)).movedim(-1, 1)
        return normal


def _activation(op: ops.Activation, _: Shape) -> nn.Module:
    if op.curve == "hard_sigmoid" and op.parameters:
        alpha, beta = op.parameters
        return Function(lambda x: torch.clamp(x * alpha + beta, 0, 1), op.describe())
    return CURVES[op.curve](*op.parameters)


def _softmax(op: ops.Softmax, shape: Shape) -> nn.Module:
    if (op.before, op.count) == (1, 0):
        return nn.Softmax(dim=1)
    split = (op.before, op.count or shape[0] // op.before, -1)
    return Function(lambda x: x.unflatten(1, split).softmax(2).flatten(1, 3), op.describe())


def _conv_transpose(op: ops.ConvTranspose, _: Shape) -> nn.Module:
    kinds: tuple[Any, ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if any(w.pad_lo != w.pad_hi for w in op.windows):
        raise NetworkError("conv_transpose that crops unevenly has no torch layer; it cannot be trained")
    layer: nn.Module = kinds[len(op.windows) - 1](
        op.in_channels,
        op.out_channels,
        op.kernel,
        stride=tuple(w.stride for w in op.windows),
        padding=tuple(w.pad_lo for w in op.windows),
        output_padding=tuple(w.extra for w in op.windows),
        groups=op.groups,
        bias=op.bias,
        dilation=tuple(w.dilation for w in op.windows),
    )
    return layer


REDUCE: Mapping[str, Callable[..., Tensor]] = {
    "sum": torch.sum,
    "mean": torch.mean,
    "max": torch.amax,
    "l2": torch.linalg.vector_norm,
}


def _global_reduce(op: ops.GlobalReduce, shape: Shape) -> nn.Module:
    axes = tuple(range(2, len(shape) + 1))
    return Function(partial(REDUCE[op.how], dim=axes, keepdim=op.keep_axes), f"{op.how} over axes {axes}")


def _channel_reduce(op: ops.ChannelReduce, shape: Shape) -> nn.Module:
    split = (op.before, op.count or shape[0] // op.before, -1)
    run = REDUCE[op.how]
    return Function(lambda x: run(x.unflatten(1, split), dim=2).flatten(1, 2), op.describe())


def _adaptive_max_pool(op: ops.AdaptiveMaxPool, _: Shape) -> nn.Module:
    kinds: tuple[Any, ...] = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
    layer: nn.Module = kinds[len(op.out) - 1](op.out)
    return layer


def _resize(op: ops.Resize, _: Shape) -> nn.Module:
    axes = len(op.out or op.factor)
    mode = ("linear", "bilinear", "trilinear")[axes - 1] if op.linear else "nearest"
    corners: dict[str, Any] = {"align_corners": op.align_corners} if op.linear else {}
    where: dict[str, Any] = {"size": op.out} if op.out else {"scale_factor": tuple(map(float, op.factor))}
    return Function(partial(F.interpolate, mode=mode, **where, **corners), op.describe())


def _pad(op: ops.Pad, _: Shape) -> nn.Module:
    widths = [side for both in zip(reversed(op.before), reversed(op.after), strict=True) for side in both]
    if op.mode == "constant":
        return Function(partial(F.pad, pad=widths, value=op.value), op.describe())
    return Function(partial(F.pad, pad=widths[:-2], mode=op.mode), op.describe())


def _slice(op: ops.Slice, _: Shape) -> nn.Module:
    index = (slice(None), *(slice(*part) for part in op.parts))
    return Function(lambda x: x[index], op.describe())


def _reshape(op: ops.Reshape, _: Shape) -> nn.Module:
    return Function(lambda x: x.reshape(x.shape[0], *op.shape), op.describe())


def _permute(op: ops.Permute, _: Shape) -> nn.Module:
    return Function(lambda x: x.permute(0, *(axis + 1 for axis in op.order)), op.describe())


def _channel_shuffle(op: ops.ChannelShuffle, _: Shape) -> nn.Module:
    return Function(lambda x: x.unflatten(1, (op.groups, -1)).transpose(1, 2).flatten(1, 2), op.describe())


CURVES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "hard_tanh": nn.Hardtanh,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "sigmoid": nn.Sigmoid,
        "log_sigmoid": nn.LogSigmoid,
        "tanh": nn.Tanh,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "gelu_tanh": partial(nn.GELU, approximate="tanh"),
        "mish": nn.Mish,
        "softplus": nn.Softplus,
        "softsign": nn.Softsign,
        "abs": partial(Function, torch.abs, "abs"),
        "hard_sigmoid": nn.Hardsigmoid,
        "hard_swish": nn.Hardswish,
    }
)
"""The torch layer of each curve, made from its parameters."""

PLAIN: Mapping[type[ops.Op], Make] = MappingProxyType(
    {
        ops.Activation: _activation,
        ops.PReLU: lambda op, _: nn.PReLU(op.slopes),
        ops.Softmax: _softmax,
        ops.LogSoftmax: lambda _op, _: nn.LogSoftmax(dim=1),
        ops.ConvTranspose: _conv_transpose,
        ops.GroupNorm: lambda op, _: nn.GroupNorm(op.groups, op.channels, eps=op.eps, affine=op.affine),
        ops.LayerNorm: lambda op, _: ChannelNorm(op.channels, eps=op.eps, elementwise_affine=op.affine),
        ops.LocalResponseNorm: lambda op, _: nn.LocalResponseNorm(op.size, op.alpha, op.beta, op.k),
        ops.AdaptiveMaxPool: _adaptive_max_pool,
        ops.GlobalReduce: _global_reduce,
        ops.ChannelReduce: _channel_reduce,
        ops.Resize: _resize,
        ops.Pad: _pad,
        ops.Slice: _slice,
        ops.Reshape: _reshape,
        ops.Permute: _permute,
        ops.ChannelShuffle: _channel_shuffle,
        ops.PixelShuffle: lambda op, _: nn.PixelShuffle(op.factor),
        ops.PixelUnshuffle: lambda op, _: nn.PixelUnshuffle(op.factor),
        ops.Flatten: lambda _op, _: nn.Flatten(1),
        ops.Identity: lambda _op, _: nn.Identity(),
        ops.Add: lambda _op, _: Function(lambda *xs: reduce(torch.add, xs), "sum"),
        ops.Mul: lambda _op, _: Function(torch.mul, "product"),
        ops.Sub: lambda _op, _: Function(torch.sub, "difference"),
        ops.Div: lambda _op, _: Function(torch.div, "quotient"),
        ops.Scale: lambda op, _: Scaled(op.shape),
        ops.Shift: lambda op, _: Shifted(op.shape),
        ops.Affine: lambda op, _: Function(lambda x: x * op.scale + op.shift, op.describe()),
        ops.Power: lambda op, _: Function(lambda x: x**op.exponent, op.describe()),
        ops.Concat: lambda _op, _: Function(lambda *xs: torch.cat(xs, dim=1), "concatenation over channels"),
    }
)
"""What makes the torch layer of each kind, for an input of a shape."""
