"""BlurPool: a fixed binomial blur before the stride, so that what is left out between units cannot alias.

Each channel is convolved on its own by the same kernel, on each axis

    w[m] = C(K - 1, m) / 2^(K - 1),  m = 0 .. K - 1      (K = 3: 1/4, 1/2, 1/4)

the average of neighbours, repeated K - 1 times. Nothing in it is learnt. Padding is zeros, as of a convolution: at the
border the blur fades towards 0 (Zhang's own code mirrors the border; put a reflecting Pad before for that).

Source: Zhang 2019, arXiv:1904.11486, sec. 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import comb, prod
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
    describe_pads,
    need_maps,
    onnx_pads,
    span,
)
from striate.ops.conv import Conv
from striate.ops.moving import integers


@dataclass(frozen=True, slots=True)
class BlurPool(Op):
    """Binomial blur of each channel, one window an axis."""

    kind: ClassVar[str] = "blur_pool"
    windows: tuple[Window, ...]

    def __post_init__(self) -> None:
        if any(w.dilation != 1 or w.ceil_mode for w in self.windows):
            raise ShapeError("blur_pool has neither dilation nor ceil_mode; blur by a larger kernel, pad the end")

    @property
    def taps(self) -> Array:
        """The kernel (K...), of sum 1; exact in float32 up to 24 taps an axis."""
        axes = (np.array([comb(w.kernel - 1, m) / 2 ** (w.kernel - 1) for m in range(w.kernel)]) for w in self.windows)
        kernel: Array = reduce(np.multiply.outer, axes)
        return kernel

    def convolution(self, channels: int) -> Conv:
        """The depthwise convolution that it is."""
        return Conv(channels, channels, self.windows, groups=channels, bias=False)

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C, Ho, Wo)."""
        (shape,) = inputs
        need_maps(self.kind, shape, None, len(self.windows))
        return self.convolution(shape[0]).out_shape(shape)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The windows themselves."""
        return self.windows

    def macs(self, *inputs: Shape) -> int:
        """C Ho Wo Kh Kw."""
        return self.convolution(inputs[0][0]).macs(*inputs)

    def macs_on_pixels(self, *inputs: Shape) -> int:
        """As of the convolution."""
        return self.convolution(inputs[0][0]).macs_on_pixels(*inputs)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The convolution's output."""
        return self.convolution(inputs[0].shape[1]).forward(inputs, self._weights(inputs[0]))

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """The convolution's, of the input alone."""
        to_inputs, _ = self.convolution(inputs[0].shape[1]).backward(grad, inputs, output, self._weights(inputs[0]))
        return to_inputs, {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The convolution's."""
        own = self._weights(inputs[0])
        return self.convolution(inputs[0].shape[1]).error_bound(inputs, errors, output, own, unit)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One depthwise Conv, whose constant kernels are the same for every channel."""
        onnx_pads(self.kind, [w.pad_lo for w in self.windows], [w.pad_hi for w in self.windows])  # refuses cropping
        channels = shapes[0][0]
        taps, shape, kernels = f"{output}.taps", f"{output}.shape", f"{output}.kernels"
        values = np.tile(self.taps.ravel(), channels).tolist()
        return [
            OnnxNode("Constant", (), (taps,), {"value_floats": values}),
            integers(shape, [channels, 1, *self.taps.shape]),
            OnnxNode("Reshape", (taps, shape), (kernels,)),
            *self.convolution(channels).to_onnx(inputs, output, {"weight": kernels}, shapes),
        ]

    def describe(self) -> str:
        """`3 s2 p1`."""
        strides = [w.stride for w in self.windows]
        parts = [span([w.kernel for w in self.windows]), f"s{span(strides)}" if prod(strides) != 1 else ""]
        parts.append(describe_pads([w.pad_lo for w in self.windows], [w.pad_hi for w in self.windows]))
        return " ".join(p for p in parts if p)

    def _weights(self, x: Array) -> dict[str, Array]:
        """The kernel of every channel (C, 1, K...), in the dtype of x."""
        return {"weight": np.broadcast_to(self.taps.astype(x.dtype), (x.shape[1], 1, *self.taps.shape))}
