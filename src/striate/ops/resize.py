"""Resizing feature maps by the nearest pixel or linearly, as `torch.nn.functional.interpolate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Resized
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, need_maps, rounding_growth, span
from striate.ops.moving import integers


@dataclass(frozen=True, slots=True)
class Resize(Op):
    """Maps resized to `out` px an axis, or, where `out` is empty, to `factor` times their size.

    linear: between two pixels on each axis (bilinear in two dimensions), else the nearest one before.
    align_corners: the corner pixels of input and output lie on each other, so the grid depends on the size.
    """

    kind: ClassVar[str] = "resize"
    out: tuple[int, ...] = ()
    factor: tuple[int, ...] = ()
    linear: bool = False
    align_corners: bool = False

    def __post_init__(self) -> None:
        if bool(self.out) == bool(self.factor) or any(n < 1 for n in (*self.out, *self.factor)):
            raise ShapeError(f"resize: out={self.out}, factor={self.factor}; give one of them, in whole numbers from 1")

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C, *out)."""
        (shape,) = inputs
        need_maps(self.kind, shape, None, len(self.out or self.factor))
        return (shape[0], *(axis.out for axis in self.axes(shape)))

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The one or two pixels at each place."""
        return self.axes(shape)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Axis after axis: (1 - t) x[p] + t x[p + 1]."""
        (x,) = inputs
        for axis, one in enumerate(self.axes(x.shape[1:]), start=2):
            pixel, following, share = _places(one, x.shape[axis], x.dtype)
            t = share.reshape(-1, *(1,) * (x.ndim - 1 - axis))
            low = np.take(x, pixel, axis)
            x = low + t * (np.take(x, following, axis) - low) if self.linear else low
        return x

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy is shared between the two pixels as they were mixed."""
        shape = inputs[0].shape
        axes = list(enumerate(self.axes(shape[1:]), start=2))
        for axis, one in reversed(axes):
            pixel, following, share = _places(one, shape[axis], grad.dtype)
            along = np.moveaxis(grad, axis, 0)
            t = share.reshape(-1, *(1,) * (grad.ndim - 1))
            dx = np.zeros((shape[axis], *along.shape[1:]), grad.dtype)
            np.add.at(dx, pixel, along * (1 - t))
            np.add.at(dx, following, along * t)
            grad = np.moveaxis(dx, 0, axis)
        return (grad,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The errors, mixed as the values are; and where they are mixed, the roundings of the mixing and of its place.

        A place is computed in the same arithmetic: up to n px, it is known to within 4 n units.
        """
        (x,) = inputs
        if not self.linear:
            return self.forward(errors, weights)
        mixing = rounding_growth(6 * (x.ndim - 2), unit)
        bound = self.forward([errors[0] + mixing * (np.abs(x) + errors[0])], weights)
        largest = np.abs(x).max(axis=tuple(range(2, x.ndim)), keepdims=True)
        place: Array = 8 * unit * sum(x.shape[2:]) * largest
        return bound + place

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One Resize node with the factors, or the sizes, of the spatial axes."""
        numbers = f"{output}.{'sizes' if self.out else 'factors'}"
        grid = "asymmetric" if not self.linear else "align_corners" if self.align_corners else "half_pixel"
        attributes = {
            "axes": list(range(2, len(shapes[0]) + 1)),
            "coordinate_transformation_mode": grid,
            "mode": "linear" if self.linear else "nearest",
            "nearest_mode": "floor",
        }
        if self.factor:
            scales = OnnxNode("Constant", (), (numbers,), {"value_floats": [float(f) for f in self.factor]})
            return [scales, OnnxNode("Resize", (inputs[0], "", numbers), (output,), attributes)]
        sizes = integers(numbers, list(self.out))
        return [sizes, OnnxNode("Resize", (inputs[0], "", "", numbers), (output,), attributes)]

    def describe(self) -> str:
        """`x2 nearest`, `to 7x5 linear corners`."""
        where = f"to {span(self.out)}" if self.out else f"x{span(self.factor)}"
        return " ".join((where, "linear" if self.linear else "nearest", *(("corners",) if self.align_corners else ())))

    def axes(self, shape: Shape) -> tuple[Resized, ...]:
        """The resizing of each axis of maps of `shape`."""
        out = self.out or tuple(f * n for f, n in zip(self.factor, shape[1:], strict=True))
        return tuple(Resized(n, self.linear, self.align_corners) for n in out)


def _places(axis: Resized, size: int, dtype: np.dtype[np.generic]) -> tuple[Array, Array, Array]:
    """For each output: its pixel, the one mixed in, and that one's share."""
    places = [axis.place(i, size) for i in range(axis.out)]
    pixel = np.array([p for p, _, _ in places])
    share = np.array([a / b for _, a, b in places], dtype)
    return pixel, pixel + (share > 0), share
