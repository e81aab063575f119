"""Padding as a layer of its own: what no convolution or pooling after it takes into its windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Listed, Window, mirrored, repeated, wrapped
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, describe_pads
from striate.ops.moving import integers

MODES: Mapping[str, Callable[[int, int, int], Listed]] = MappingProxyType(
    {"reflect": mirrored, "replicate": repeated, "circular": wrapped}
)
"""What a border of image values reads, by torch's name for it."""
ONNX_MODES: Mapping[str, str] = MappingProxyType(
    {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
)


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """`before` and `after` values added on each axis, channels first; negative numbers crop.

    mode: constant (`value`), or a border of image values: reflect, replicate, circular, of positions only.
    """

    kind: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ONNX_MODES:
            raise ShapeError(f"pad: mode {self.mode!r} is not known; use one of {', '.join(ONNX_MODES)}")
        if self.mode != "constant" and (self.before[0] or self.after[0] or min(*self.before, *self.after) < 0):
            raise ShapeError(f"pad: {self.mode} neither crops nor pads channels; use constant")

    def out_shape(self, *inputs: Shape) -> Shape:
        """Each size with what is added."""
        (shape,) = inputs
        if len(shape) != len(self.before):
            raise ShapeError(f"pad got shape {shape}, needs {len(self.before)} axes; state the padding of each axis")
        self.axis_maps(shape)  # raises where there is too little to mirror
        out = tuple(lo + n + hi for lo, n, hi in zip(self.before, shape, self.after, strict=True))
        if min(out) < 1:
            raise ShapeError(f"pad crops {shape} to {out}; leave at least one value on each axis")
        return out

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Windows of one pixel with the padding; or, of a border of image values, where each came from."""
        axes = zip(shape[1:], self.before[1:], self.after[1:], strict=True)
        if self.mode == "constant":
            return tuple(Window(1, 1, 1, lo, hi) for _, lo, hi in axes)
        return tuple(MODES[self.mode](n, lo, hi) for n, lo, hi in axes)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Pad, and crop."""
        (x,) = inputs
        if self.mode != "constant":
            for axis, one in enumerate(self.axis_maps(x.shape[1:]), start=2):
                x = np.take(x, [one.reads(i, x.shape[axis])[0] for i in range(one.out_size(x.shape[axis]))], axis)
            return x
        widths = [(max(0, lo), max(0, hi)) for lo, hi in zip(self.before, self.after, strict=True)]
        return np.pad(x[self._kept(x.shape[1:])], [(0, 0), *widths], constant_values=self.value)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy of every value to the input that it is a copy of."""
        (x,) = inputs
        if self.mode == "constant":
            dx = np.zeros_like(x)
            kept = [
                slice(max(0, lo), max(0, lo) + n)
                for lo, n in zip(self.before, x[self._kept(x.shape[1:])].shape[1:], strict=True)
            ]
            dx[self._kept(x.shape[1:])] = grad[(slice(None), *kept)]
            return (dx,), {}
        for axis, one in enumerate(self.axis_maps(x.shape[1:]), start=2):
            n = x.shape[axis]
            gathered = np.zeros((n, *np.delete(grad.shape, axis)), grad.dtype)
            np.add.at(gathered, [one.reads(i, n)[0] for i in range(one.out_size(n))], np.moveaxis(grad, axis, 0))
            grad = np.moveaxis(gathered, 0, axis)
        return (grad,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The errors, padded by nothing or moved."""
        return Pad(self.before, self.after, self.mode).forward(errors, weights)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One Pad node."""
        pads, value = f"{output}.pads", f"{output}.value"
        constants = [
            integers(pads, [0, *self.before, 0, *self.after]),
            OnnxNode("Constant", (), (value,), {"value_float": self.value}),
        ]
        return [*constants, OnnxNode("Pad", (inputs[0], pads, value), (output,), {"mode": ONNX_MODES[self.mode]})]

    def describe(self) -> str:
        """`p1:2 reflect`; channels only where they are padded."""
        said = describe_pads(self.before[1:], self.after[1:])
        channels = f"c{self.before[0]}:{self.after[0]}" if self.before[0] or self.after[0] else ""
        what = self.mode if self.mode != "constant" else f"{self.value:g}" if self.value else ""
        return " ".join(part for part in (said, channels, what) if part)

    def _kept(self, shape: Shape) -> tuple[slice, ...]:
        """The index of the input that is left after cropping."""
        axes = zip(self.before, shape, self.after, strict=True)
        return (slice(None), *(slice(max(0, -lo), n + min(0, hi)) for lo, n, hi in axes))
