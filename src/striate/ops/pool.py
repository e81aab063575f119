"""Pooling: windows without learnable parameters, each channel on its own.

Downsampling comes from the stride, not from the pooling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import ClassVar

import numpy as np

from striate.errors import GeometryError, ShapeError
from striate.geometry import AxisMap, Whole, Window
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
    rounding_growth,
    span,
)
from striate.ops.taps import pad, slices, unpad


@dataclass(frozen=True, slots=True)
class _WindowPool(Op):
    """What max and average pooling share: windows, output shape, ONNX attributes."""

    windows: tuple[Window, ...]

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C, Ho, Wo).  Raises: GeometryError also where a window meets no pixel, since it would have no value."""
        (shape,) = inputs
        need_maps(self.kind, shape, None, len(self.windows))
        outs = [w.out_size(n) for w, n in zip(self.windows, shape[1:], strict=True)]
        for w, n, out in zip(self.windows, shape[1:], outs, strict=True):
            if not all(w.reads(i, n) for i in range(out)):
                raise GeometryError(
                    f"{self.kind}: a window of {w.extent} px on {n} px padded by {w.pad_lo} and {w.pad_hi} "
                    "reads padding only and has no value; use less padding"
                )
        return (shape[0], *outs)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The windows themselves."""
        return self.windows

    def describe(self) -> str:
        """`2 s2 p1`, leaving out a stride equal to the kernel."""
        parts = [span([w.kernel for w in self.windows])]
        if any(w.stride != w.kernel for w in self.windows):
            parts.append("s" + span([w.stride for w in self.windows]))
        if any(w.dilation != 1 for w in self.windows):
            parts.append("d" + span([w.dilation for w in self.windows]))
        parts.append(describe_pads([w.pad_lo for w in self.windows], [w.pad_hi for w in self.windows]))
        parts.append("ceil" if any(w.ceil_mode for w in self.windows) else "")
        return " ".join(p for p in parts if p)

    def _onnx_attributes(self, shape: Shape) -> dict[str, list[int]]:
        """Kernel, strides and pads; an overhanging last window becomes explicit padding.

        Raises: ShapeError on padding that ONNX Runtime refuses: not less than the kernel, however dilated.
        """
        ends = []
        for w, n in zip(self.windows, shape[1:], strict=True):
            overhang = w.first(w.out_size(n) - 1) + w.extent - n
            ends.append(max(w.pad_hi, overhang))
            if max(w.pad_lo, ends[-1]) >= w.kernel:
                raise ShapeError(
                    f"{self.kind} padded by {max(w.pad_lo, ends[-1])} px with a kernel of {w.kernel} has no ONNX node; "
                    "pad less than the kernel, or set ceil_mode=False"
                )
        return {
            "kernel_shape": [w.kernel for w in self.windows],
            "strides": [w.stride for w in self.windows],
            "pads": onnx_pads(self.kind, [w.pad_lo for w in self.windows], ends),
        }


@dataclass(frozen=True, slots=True)
class MaxPool(_WindowPool):
    """Largest value of each window; padding never wins."""

    kind: ClassVar[str] = "max_pool"

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Fold `maximum` over the taps, with minus infinity as padding."""
        (x,) = inputs
        padded = pad(x, self.windows, fill=-np.inf)
        return reduce(np.maximum, (padded[at] for _, at in slices(self.windows, x.shape[2:])))

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """The gradient goes to the first tap, in row-major order, that holds the maximum."""
        (x,) = inputs
        padded = pad(x, self.windows, fill=-np.inf)
        dx, waiting = np.zeros_like(padded), np.ones(output.shape, bool)
        for _, at in slices(self.windows, x.shape[2:]):
            wins = waiting & (padded[at] == output)
            dx[at] += grad * wins
            waiting &= ~wins
        return (unpad(dx, self.windows, x.shape[2:]),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The largest error in the window: max is 1-Lipschitz."""
        return self.forward(errors, weights)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One MaxPool node with explicit pads and no ceil_mode."""
        attributes = {**self._onnx_attributes(shapes[0]), "dilations": [w.dilation for w in self.windows]}
        return [OnnxNode("MaxPool", (inputs[0],), (output,), attributes)]


@dataclass(frozen=True, slots=True)
class AvgPool(_WindowPool):
    """Average of each window.

    count_include_pad: divide by all taps in the padded input (zeros counted), not only by real pixels.
    """

    kind: ClassVar[str] = "avg_pool"
    count_include_pad: bool = True

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Sum over the taps, divided by the window's count."""
        (x,) = inputs
        padded = pad(x, self.windows)
        total = reduce(np.add, (padded[at] for _, at in slices(self.windows, x.shape[2:])))
        mean: Array = total / self._counts(x.shape[1:]).astype(x.dtype)
        return mean

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Every tap receives its share of the gradient."""
        (x,) = inputs
        share = grad / self._counts(x.shape[1:]).astype(x.dtype)
        dx = np.zeros_like(pad(x, self.windows))
        for _, at in slices(self.windows, x.shape[2:]):
            dx[at] += share
        return (unpad(dx, self.windows, x.shape[2:]),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Average of e + gamma (|x| + e)."""
        growth = rounding_growth(prod(w.kernel for w in self.windows) + 2, unit)
        return self.forward([errors[0] + growth * (np.abs(inputs[0]) + errors[0])], weights)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One AveragePool node with explicit pads.

        Raises: ShapeError where an overhanging window is averaged over padding on one side and counted
        without the overhang: no ONNX node divides so.
        """
        attributes: dict[str, object] = dict(self._onnx_attributes(shapes[0]))
        attributes["count_include_pad"] = int(self.count_include_pad)
        ends = self._onnx_attributes(shapes[0])["pads"][len(self.windows) :]
        overhangs = any(end > w.pad_hi for end, w in zip(ends, self.windows, strict=True))
        if overhangs and self.count_include_pad and any(w.pad_lo or w.pad_hi for w in self.windows):
            raise ShapeError(
                "avg_pool with ceil_mode, padding and count_include_pad has no ONNX node; set count_include_pad=False"
            )
        if overhangs:
            attributes["count_include_pad"] = 0
        if any(w.dilation != 1 for w in self.windows):
            attributes["dilations"] = [w.dilation for w in self.windows]
        return [OnnxNode("AveragePool", (inputs[0],), (output,), attributes)]

    def _counts(self, shape: Shape) -> Array:
        counts = np.ones((), np.int64)
        for w, n in zip(self.windows, shape[1:], strict=True):
            outs = range(w.out_size(n))
            if self.count_include_pad:
                # Taps in the padded input: those that an overhanging window has beyond it are not counted.
                padded = n + w.pad_hi
                axis = [len(range(w.first(i), min(w.first(i) + w.extent, padded), w.dilation)) for i in outs]
            else:
                axis = [len(w.reads(i, n)) for i in outs]
            counts = np.multiply.outer(counts, np.array(axis))
        return counts


@dataclass(frozen=True, slots=True)
class GlobalAvgPool(Op):
    """Average of each whole feature map.

    keep_axes leaves 1 x 1 maps (C, 1, 1); without it the result is the vector (C,).
    """

    kind: ClassVar[str] = "global_avg_pool"
    keep_axes: bool = False

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C,), or (C, 1, 1) with keep_axes."""
        (shape,) = inputs
        need_maps(self.kind, shape, None)
        return (shape[0], *(1,) * (len(shape) - 1)) if self.keep_axes else shape[:1]

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Every axis whole."""
        return tuple(Whole() for _ in shape[1:])

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Mean over the positions."""
        (x,) = inputs
        mean: Array = x.mean(axis=tuple(range(2, x.ndim)), keepdims=self.keep_axes)
        return mean

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Every position receives an equal share."""
        (x,) = inputs
        share = grad.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) / prod(x.shape[2:])
        return (np.broadcast_to(share, x.shape).copy(),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Mean of e + gamma (|x| + e)."""
        growth = rounding_growth(prod(inputs[0].shape[2:]) + 2, unit)
        return self.forward([errors[0] + growth * (np.abs(inputs[0]) + errors[0])], weights)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """GlobalAveragePool, and a Flatten where the axes go."""
        if self.keep_axes:
            return [OnnxNode("GlobalAveragePool", (inputs[0],), (output,))]
        maps = f"{output}.maps"
        return [
            OnnxNode("GlobalAveragePool", (inputs[0],), (maps,)),
            OnnxNode("Flatten", (maps,), (output,), {"axis": 1}),
        ]
