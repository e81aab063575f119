"""Transposed convolution: the adjoint of a convolution, which makes maps larger.

Every input value writes its kernel into the output, s px apart; what overlaps is added, and the padding is cut off:

    y[n, o, s i + d u - pad, s j + d v - pad] += W[c, o, u, v] x[n, c, i, j];   then b[o]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Transposed
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
    rounding_growth,
    span,
    spread,
)
from striate.ops.conv import need_groups
from striate.ops.taps import Index


@dataclass(frozen=True, slots=True)
class ConvTranspose(Op):
    """Transposed convolution from `in_channels` to `out_channels`, one window an axis.

    Weights: weight (C, O / groups, K...), bias (O,) where `bias`.
    """

    kind: ClassVar[str] = "conv_transpose"
    in_channels: int
    out_channels: int
    windows: tuple[Transposed, ...]
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        need_groups(self.kind, self.groups, in_channels=self.in_channels, out_channels=self.out_channels)
        if any(min(w.pad_lo, w.pad_hi, w.extra) < 0 for w in self.windows):
            raise ShapeError(f"{self.kind}: padding below zero is not possible; make the output larger by `extra`")

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
        """weight (C, O / groups, K...), then bias (O,)."""
        weight = WeightSpec("weight", (self.in_channels, self.out_channels // self.groups, *self.kernel))
        return (weight, WeightSpec("bias", (self.out_channels,))) if self.bias else (weight,)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The windows themselves."""
        return self.windows

    def macs(self, *inputs: Shape) -> int:
        """H W C (O / groups) Kh Kw: every input value meets every weight of its kernels, at the input's size."""
        self.out_shape(*inputs)
        return prod(inputs[0]) * (self.out_channels // self.groups) * prod(self.kernel)

    def macs_on_pixels(self, *inputs: Shape) -> int:
        """The part that lands inside the output; the rest is cut off with the padding."""
        landed = []
        for w, n in zip(self.windows, inputs[0][1:], strict=True):
            places = (w.stride * j + w.dilation * m - w.pad_lo for j in range(n) for m in range(w.kernel))
            landed.append(sum(0 <= at < w.out_size(n) for at in places))
        return self.in_channels * (self.out_channels // self.groups) * prod(landed)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """For each tap, W[:, :, tap]^T x, added to every s-th pixel from the tap on; then the bias."""
        (x,) = inputs
        kernels = self._by_group(weights["weight"])
        columns = x.reshape(len(x), self.groups, self.in_channels // self.groups, -1)
        canvas = np.zeros((len(x), self.out_channels, *self._canvas(x.shape[2:])), x.dtype)
        for tap, at in self._taps(x.shape[2:]):
            canvas[at] += (kernels[tap].swapaxes(-1, -2) @ columns).reshape(canvas[at].shape)
        y = canvas[self._inside(x.shape[1:])]
        return y + spread(weights["bias"], y.ndim) if self.bias else y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dx is the convolution of dy; dW[:, :, tap] = sum of x dy^T at the tap."""
        (x,) = inputs
        kernels = self._by_group(weights["weight"])
        columns = x.reshape(len(x), self.groups, self.in_channels // self.groups, -1)
        canvas = np.zeros((len(x), self.out_channels, *self._canvas(x.shape[2:])), x.dtype)
        canvas[self._inside(x.shape[1:])] = grad
        dx, dw = np.zeros_like(columns), np.zeros_like(kernels)
        for tap, at in self._taps(x.shape[2:]):
            dy = canvas[at].reshape(len(x), self.groups, self.out_channels // self.groups, -1)
            dx += kernels[tap] @ dy
            dw[tap] = (columns @ dy.swapaxes(-1, -2)).sum(axis=0)
        grads = {"weight": dw.reshape(weights["weight"].shape)}
        if self.bias:
            grads["bias"] = grad.sum(axis=(0, *range(2, grad.ndim)))
        return (dx.reshape(x.shape),), grads

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|W| (e + gamma (|x| + e)) + gamma |b|, with gamma for the K C / groups + 2 roundings on a path."""
        growth = rounding_growth(prod(self.kernel) * self.in_channels // self.groups + 2, unit)
        magnitude = {role: np.abs(w) for role, w in weights.items()}
        if self.bias:
            magnitude["bias"] = growth * magnitude["bias"]
        return self.forward([errors[0] + growth * (np.abs(inputs[0]) + errors[0])], magnitude)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One ConvTranspose node."""
        names = (weights["weight"], weights["bias"]) if self.bias else (weights["weight"],)
        attributes = {
            "kernel_shape": list(self.kernel),
            "strides": [w.stride for w in self.windows],
            "dilations": [w.dilation for w in self.windows],
            "pads": [*(w.pad_lo for w in self.windows), *(w.pad_hi for w in self.windows)],
            "output_padding": [w.extra for w in self.windows],
            "group": self.groups,
        }
        return [OnnxNode("ConvTranspose", (inputs[0], *names), (output,), attributes)]

    def describe(self) -> str:
        """`64TC4 s2 p1`, leaving out what is 1 or 0; `+1` for px added at the end."""
        strides, dilations, extra = (
            [getattr(w, what) for w in self.windows] for what in ("stride", "dilation", "extra")
        )
        parts = [f"{self.out_channels}TC{span(self.kernel)}"]
        parts.append(f"s{span(strides)}" if any(s != 1 for s in strides) else "")
        parts.append(describe_pads([w.pad_lo for w in self.windows], [w.pad_hi for w in self.windows]))
        parts.append(f"+{span(extra)}" if any(extra) else "")
        parts.append(f"d{span(dilations)}" if any(d != 1 for d in dilations) else "")
        parts.append(f"g{self.groups}" if self.groups > 1 else "")
        return " ".join(p for p in parts if p)

    def _canvas(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Sizes before the padding is cut off."""
        return tuple(
            max((n - 1) * w.stride + w.extent, w.pad_lo + w.out_size(n))
            for w, n in zip(self.windows, sizes, strict=True)
        )

    def _inside(self, shape: Shape) -> Index:
        """The index of the output in the canvas."""
        sizes = self.out_shape(shape)[1:]
        spatial = (slice(w.pad_lo, w.pad_lo + n) for w, n in zip(self.windows, sizes, strict=True))
        return (slice(None), slice(None), *spatial)

    def _taps(self, sizes: Sequence[int]) -> Iterator[tuple[Index, Index]]:
        """For each tap, the index of its weights and of the canvas pixels that all inputs write there."""
        for tap in np.ndindex(*self.kernel):
            spatial = (
                slice(m * w.dilation, m * w.dilation + (n - 1) * w.stride + 1, w.stride)
                for m, w, n in zip(tap, self.windows, sizes, strict=True)
            )
            yield (..., *tap), (slice(None), slice(None), *spatial)

    def _by_group(self, weight: Array) -> Array:
        return weight.reshape(self.groups, self.in_channels // self.groups, *weight.shape[1:])
