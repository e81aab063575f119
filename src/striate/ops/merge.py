"""Layers that bring branches together: sum, product, concatenation over channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, rounding_growth


@dataclass(frozen=True, slots=True)
class Add(Op):
    """x_1 + x_2 + ...: the end of a residual branch. A branch of one value an axis is spread over the others."""

    kind: ClassVar[str] = "add"
    arity: ClassVar[int | None] = None

    def out_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        return broadcast(self.kind, inputs)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The sum, from the left."""
        return reduce(np.add, inputs)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy to every branch, summed where it was spread."""
        return tuple(sum_to(grad, x.shape) for x in inputs), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Sum of e + gamma (|x| + e)."""
        growth = rounding_growth(len(inputs), unit)
        return reduce(np.add, [e + growth * (np.abs(x) + e) for x, e in zip(inputs, errors, strict=True)])

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Add for two, Sum for more."""
        return [OnnxNode("Add" if len(inputs) == 2 else "Sum", tuple(inputs), (output,))]


@dataclass(frozen=True, slots=True)
class Mul(Op):
    """x_1 x_2, where one may be spread over the other, as the (C, 1, 1) gate of squeeze-excite is."""

    kind: ClassVar[str] = "mul"
    arity: ClassVar[int | None] = 2

    def out_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        return broadcast(self.kind, inputs)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The product."""
        product: Array = inputs[0] * inputs[1]
        return product

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy x_2 and dy x_1, summed where a gate was spread."""
        a, b = inputs
        return (sum_to(grad * b, a.shape), sum_to(grad * a, b.shape)), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|x_1| e_2 + |x_2| e_1 + e_1 e_2, and one rounding."""
        (a, b), (ea, eb) = inputs, errors
        carried: Array = np.abs(a) * eb + np.abs(b) * ea + ea * eb
        return carried + rounding_growth(2, unit) * (np.abs(output) + carried)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Mul."""
        return [OnnxNode("Mul", tuple(inputs), (output,))]


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Branches stacked along the channel axis."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None

    def out_shape(self, *inputs: Shape) -> Shape:
        """Channels added, positions equal."""
        if len({s[1:] for s in inputs}) != 1:
            raise ShapeError(f"concat got shapes {', '.join(map(str, inputs))}; all but the channels must be equal")
        return (sum(s[0] for s in inputs), *inputs[0][1:])

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """One after another."""
        return np.concatenate(inputs, axis=1)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Each branch its channels."""
        ends = np.cumsum([x.shape[1] for x in inputs])[:-1]
        return tuple(np.split(grad, ends, axis=1)), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The branches' errors, stacked."""
        return np.concatenate(errors, axis=1)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Concat on axis 1."""
        return [OnnxNode("Concat", tuple(inputs), (output,), {"axis": 1})]


def broadcast(kind: str, inputs: Sequence[Shape]) -> Shape:
    """The common shape, to which sizes of 1 are spread.  Raises: ShapeError."""
    common = tuple(max(sizes) for sizes in zip(*inputs, strict=False))
    fits = len({len(shape) for shape in inputs}) == 1
    if not fits or any(n not in (1, m) for shape in inputs for n, m in zip(shape, common, strict=True)):
        raise ShapeError(f"{kind} got shapes {', '.join(map(str, inputs))}; make the branches equal")
    return common


def sum_to(grad: Array, shape: Shape) -> Array:
    """The gradient of what was spread from `shape`: summed over the axes that were 1."""
    if grad.shape == shape:
        return grad
    spread_axes = tuple(i for i, (g, s) in enumerate(zip(grad.shape, shape, strict=True)) if s == 1 and g != 1)
    summed: Array = grad.sum(axis=spread_axes, keepdims=True)
    return summed
