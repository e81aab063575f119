"""Convolution over many channels, in any number of spatial dimensions, grouped or not.

What networks call convolution is cross-correlation: the kernel is not flipped.

    y[n, o, i, j] = b[o] + sum over c, u, v of W[o, c, u, v] x[n, c, s i + d u - pad, s j + d v - pad]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Window
from striate.ops.base import (
    Array,
    Gradients,
    OnnxNode,
    Op,
    Shape,
    Weights,
    WeightSpec,
    describe_pads,
    need_maps,
    onnx_pads,
    rounding_growth,
    span,
    spread,
)
from striate.ops.taps import Index, pad, slices, under_windows, unpad

COLUMN_VALUES = 2**21  # a matrix product runs at full speed from far fewer; 16 MB in float64


@dataclass(frozen=True, slots=True)
class Conv(Op):
    """Convolution: `out_channels` kernels, each spanning in_channels / groups channels, one window an axis.

    Weights: weight (O, C / groups, K...), bias (O,) where `bias`.
    """

    kind: ClassVar[str] = "conv"
    in_channels: int
    out_channels: int
    windows: tuple[Window, ...]
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        need_groups(self.kind, self.groups, in_channels=self.in_channels, out_channels=self.out_channels)
        if any(w.ceil_mode for w in self.windows):
            raise ShapeError("conv has no ceil_mode, which is for pools; pad the end of the axis instead")

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps on each axis."""
        return tuple(w.kernel for w in self.windows)

    def out_shape(self, *inputs: Shape) -> Shape:
        """(O, Ho, Wo)."""
        (shape,) = inputs
        need_maps(self.kind, shape, self.in_channels, len(self.windows))
        return (self.out_channels, *(w.out_size(n) for w, n in zip(self.windows, shape[1:], strict=True)))

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """weight (O, C / groups, K...), then bias (O,)."""
        weight = WeightSpec("weight", (self.out_channels, self.in_channels // self.groups, *self.kernel))
        return (weight, WeightSpec("bias", (self.out_channels,))) if self.bias else (weight,)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The windows themselves."""
        return self.windows

    def macs(self, *inputs: Shape) -> int:
        """Ho Wo O (C / groups) Kh Kw."""
        return prod(self.out_shape(*inputs)) * (self.in_channels // self.groups) * prod(self.kernel)

    def macs_on_pixels(self, *inputs: Shape) -> int:
        """O (C / groups) T_h T_w, with T the taps of all windows of an axis that meet a real pixel."""
        taps = (w.taps_inside(n) for w, n in zip(self.windows, inputs[0][1:], strict=True))
        return self.out_channels * (self.in_channels // self.groups) * prod(taps)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The kernels as a matrix (O, C K) times the pixels under all windows as columns (C K, Ho Wo); then the bias.

        A band of output rows at a time, so that the columns stay small.
        """
        (x,) = inputs
        kernels = weights["weight"].reshape(self.groups, self.out_channels // self.groups, -1)
        y = np.empty((len(x), *self.out_shape(x.shape[1:])), x.dtype)
        seen = under_windows(pad(x, self.windows), self.windows, y.shape[2:])  # (N, C, K..., Ho, Wo)
        rows = max(1, COLUMN_VALUES // (self.in_channels * prod(self.kernel) * prod(y.shape[3:])))
        for n, start in product(range(len(x)), range(0, y.shape[2], rows)):
            band = slice(start, start + rows)
            at: Index = (n, *(slice(None) for _ in range(1 + len(self.windows))), band)
            columns = seen[at]
            products = kernels @ columns.reshape(self.groups, kernels.shape[2], -1)
            y[n, :, band] = products.reshape(y[n, :, band].shape)
        return y + spread(weights["bias"], y.ndim) if self.bias else y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dx gathers W[:, :, tap]^T dy into the pixels of each tap; dW[:, :, tap] = sum of dy x^T there."""
        (x,) = inputs
        kernels = self._by_group(weights["weight"])
        dy = grad.reshape(len(x), self.groups, self.out_channels // self.groups, -1)
        padded = pad(x, self.windows)
        dx, dw = np.zeros_like(padded), np.zeros_like(kernels)
        for tap, at in slices(self.windows, x.shape[2:]):
            pixels = padded[at]
            dw[tap] = (dy @ self._columns(pixels).swapaxes(-1, -2)).sum(axis=0)
            dx[at] += (kernels[tap].swapaxes(-1, -2) @ dy).reshape(pixels.shape)
        grads = {"weight": dw.reshape(weights["weight"].shape)}
        if self.bias:
            grads["bias"] = grad.sum(axis=(0, *range(2, grad.ndim)))
        return (unpad(dx, self.windows, x.shape[2:]),), grads

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|W| (e + gamma (|x| + e)) + gamma |b|, with gamma for the K C / groups + 2 roundings on a path."""
        growth = rounding_growth(prod(weights["weight"].shape[1:]) + 2, unit)
        magnitude = {role: np.abs(w) for role, w in weights.items()}
        if self.bias:
            magnitude["bias"] = growth * magnitude["bias"]
        return self.forward([errors[0] + growth * (np.abs(inputs[0]) + errors[0])], magnitude)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One Conv node; pads are all beginnings, then all ends."""
        names = (weights["weight"], weights["bias"]) if self.bias else (weights["weight"],)
        attributes = {
            "kernel_shape": list(self.kernel),
            "strides": [w.stride for w in self.windows],
            "dilations": [w.dilation for w in self.windows],
            "pads": onnx_pads(self.kind, [w.pad_lo for w in self.windows], [w.pad_hi for w in self.windows]),
            "group": self.groups,
        }
        return [OnnxNode("Conv", (inputs[0], *names), (output,), attributes)]

    def describe(self) -> str:
        """`64C3x5 s2 p1 d2 g4`, leaving out what is 1 or 0."""
        strides, dilations = [w.stride for w in self.windows], [w.dilation for w in self.windows]
        parts = [f"{self.out_channels}C{span(self.kernel)}"]
        parts.append(f"s{span(strides)}" if any(s != 1 for s in strides) else "")
        parts.append(describe_pads([w.pad_lo for w in self.windows], [w.pad_hi for w in self.windows]))
        parts.append(f"d{span(dilations)}" if any(d != 1 for d in dilations) else "")
        parts.append(f"g{self.groups}" if self.groups > 1 else "")
        return " ".join(p for p in parts if p)

    def _by_group(self, weight: Array) -> Array:
        return weight.reshape(self.groups, self.out_channels // self.groups, *weight.shape[1:])

    def _columns(self, pixels: Array) -> Array:
        return pixels.reshape(len(pixels), self.groups, self.in_channels // self.groups, -1)


def need_groups(kind: str, groups: int, **channels: int) -> None:
    """Require that `groups` divides each number of channels, named in the message.  Raises: ShapeError."""
    for what, count in channels.items():
        if count < 1 or groups < 1 or count % groups:
            raise ShapeError(f"{kind}: groups={groups} does not divide {what}={count}; use one of {divisors(count)}")


def divisors(n: int) -> tuple[int, ...]:
    """All divisors of `n`, ascending."""
    return tuple(d for d in range(1, n + 1) if n % d == 0)
