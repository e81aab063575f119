"""Reductions: sum, mean, largest value or Euclidean norm, over channels at each position or over whole maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Whole
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, need_maps, rounding_growth
from striate.ops.moving import integers, reshaped


def _norm(x: Array, **axes: Any) -> Array:  # noqa: ANN401 - NumPy's own axis and keepdims
    root: Array = np.sqrt((x**2).sum(**axes))
    return root


HOW: Mapping[str, tuple[Callable[..., Array], str]] = MappingProxyType(
    {
        "sum": (np.sum, "ReduceSum"),
        "mean": (np.mean, "ReduceMean"),
        "max": (np.max, "ReduceMax"),
        "l2": (_norm, "ReduceL2"),
    }
)
"""What is done, and ONNX's name for it."""


@dataclass(frozen=True, slots=True)
class _Reduce(Op):
    """One of `HOW` over some axes."""

    how: str = "mean"

    def __post_init__(self) -> None:
        if self.how not in HOW:
            raise ShapeError(f"{self.kind}: {self.how!r} is not known; use one of {', '.join(HOW)}")

    def _reduced(self, x: Array, axis: tuple[int, ...]) -> Array:
        return HOW[self.how][0](x, axis=axis, keepdims=True)

    def _gradient(self, grad: Array, x: Array, y: Array, axis: tuple[int, ...]) -> Array:
        """dy to every value: as it is, shared, to the largest (equals share it, as in torch), or times x / y."""
        count = prod(x.shape[a] for a in axis)
        if self.how == "max":
            largest = x == y
            dx: Array = grad * largest / largest.sum(axis=axis, keepdims=True, dtype=x.dtype)
        elif self.how == "l2":
            dx = grad * x / np.where(y == 0, 1, y)
        else:
            dx = np.broadcast_to(grad / (count if self.how == "mean" else 1), x.shape)
        return dx.astype(x.dtype)

    def _bound(self, x: Array, e: Array, unit: float, axis: tuple[int, ...]) -> Array:
        """The errors reduced as the values are; a norm is 1-Lipschitz; roundings of a sum of all its terms."""
        count = prod(x.shape[a] for a in axis)
        if self.how == "max":
            return self._reduced(e, axis)
        return self._reduced(e + rounding_growth(count + 4, unit) * (np.abs(x) + e), axis)


@dataclass(frozen=True, slots=True)
class ChannelReduce(_Reduce):
    """`how` over channels at each position. Channels count as (before, count, after), row by row: `count` goes.

    count: 0 for all that `before` leaves; so ChannelReduce("mean") gives one map, the mean of all channels.
    """

    kind: ClassVar[str] = "channel_reduce"
    before: int = 1
    count: int = 0

    def out_shape(self, *inputs: Shape) -> Shape:
        """(before after, H, W)."""
        (shape,) = inputs
        before, _, after = self._split(shape)
        return (before * after, *shape[1:])

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Reduce the middle of the three."""
        (x,) = inputs
        return self._reduced(self._apart(x), (2,)).reshape(len(x), *self.out_shape(x.shape[1:]))

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy to the channels that gave it."""
        (x,) = inputs
        apart = self._apart(x)
        to_one = (len(x), apart.shape[1], 1, *apart.shape[3:])
        dx = self._gradient(grad.reshape(to_one), apart, output.reshape(to_one), (2,))
        return (dx.reshape(x.shape),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The errors reduced likewise, and the roundings."""
        return self._bound(self._apart(inputs[0]), self._apart(errors[0]), unit, (2,)).reshape(output.shape)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """A reduction over axis 2 between two Reshapes; over axis 1 alone where all channels go."""
        (shape,) = shapes
        before, count, after = self._split(shape)
        whole = before == after == 1
        apart, less = (inputs[0], output) if whole else (f"{output}.apart", f"{output}.less")
        pieces = _reduction(self.how, apart, less, [1 if whole else 2], f"{output}.axes", keep=whole)
        if whole:
            return pieces
        there = reshaped(inputs[0], apart, (before, count, after, *shape[1:]), f"{output}.split")
        return [*there, *pieces, *reshaped(less, output, self.out_shape(shape), f"{output}.shape")]

    def describe(self) -> str:
        """`mean`, or `sum 1x2` for channels counted as (1, 2, ...)."""
        return self.how if (self.before, self.count) == (1, 0) else f"{self.how} {self.before}x{self.count}"

    def _split(self, shape: Shape) -> tuple[int, int, int]:
        count = self.count or shape[0] // self.before
        if self.before < 1 or count < 1 or shape[0] % (self.before * count):
            raise ShapeError(
                f"{self.kind}: {shape[0]} channels are no {self.before} x {count} x any; "
                "make their number a multiple of both"
            )
        return self.before, count, shape[0] // (self.before * count)

    def _apart(self, x: Array) -> Array:
        return x.reshape(len(x), *self._split(x.shape[1:]), *x.shape[2:])


@dataclass(frozen=True, slots=True)
class GlobalReduce(_Reduce):
    """`how` over each whole map: a global maximum, sum or norm. `GlobalAvgPool` is the mean.

    keep_axes leaves 1 x 1 maps (C, 1, 1); without it the result is the vector (C,).
    """

    kind: ClassVar[str] = "global_reduce"
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
        """Reduce the positions."""
        (x,) = inputs
        return self._reduced(x, _positions(x)).reshape(len(x), *self.out_shape(x.shape[1:]))

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy to the positions that gave it."""
        (x,) = inputs
        to_one = (*x.shape[:2], *(1,) * (x.ndim - 2))
        return (self._gradient(grad.reshape(to_one), x, output.reshape(to_one), _positions(x)),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The errors reduced likewise, and the roundings."""
        return self._bound(inputs[0], errors[0], unit, _positions(inputs[0])).reshape(output.shape)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """A reduction over all positions."""
        axes = list(range(2, len(shapes[0]) + 1))
        return _reduction(self.how, inputs[0], output, axes, f"{output}.axes", keep=self.keep_axes)

    def describe(self) -> str:
        """What is done."""
        return self.how


def _positions(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _reduction(how: str, source: str, target: str, axes: list[int], constant: str, *, keep: bool) -> list[OnnxNode]:
    node = OnnxNode(HOW[how][1], (source, constant), (target,), {"keepdims": int(keep)})
    return [integers(constant, axes), node]
