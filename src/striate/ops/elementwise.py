"""Arithmetic on every value: with a learnt or stored tensor, with a number, and between two feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, WeightSpec, rounding_growth, spread
from striate.ops.merge import broadcast, sum_to


@dataclass(frozen=True, slots=True)
class _WithTensor(Op):
    """A layer with one tensor whose `shape` is 1 or as large as the maps on each axis: (C, 1, 1) is one a channel."""

    shape: Shape

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's.  Raises: ShapeError where the tensor does not fit."""
        (shape,) = inputs
        if len(shape) != len(self.shape) or any(m not in (1, n) for m, n in zip(self.shape, shape, strict=True)):
            raise ShapeError(f"{self.kind} of {self.shape} got shape {shape}; each size must be 1 or that of the maps")
        return shape

    def describe(self) -> str:
        """The tensor's shape."""
        return "x".join(map(str, self.shape))


@dataclass(frozen=True, slots=True)
class Scale(_WithTensor):
    """x w, with a weight for each channel or place: layer scale.  Weights: weight."""

    kind: ClassVar[str] = "scale"

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """weight."""
        return (WeightSpec("weight", self.shape),)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x w."""
        y: Array = inputs[0] * weights["weight"]
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy w; dy x, summed where the weight was spread."""
        to_weight = sum_to(grad * inputs[0], (1, *self.shape)).reshape(self.shape)
        return (grad * weights["weight"],), {"weight": to_weight}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|w| (e + gamma (|x| + e)), for the rounding of weight and product."""
        size = errors[0] + rounding_growth(2, unit) * (np.abs(inputs[0]) + errors[0])
        bound: Array = np.abs(weights["weight"]) * size
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Mul."""
        return [OnnxNode("Mul", (inputs[0], weights["weight"]), (output,))]


@dataclass(frozen=True, slots=True)
class Shift(_WithTensor):
    """x + b, with a number for each channel or place.  Weights: bias."""

    kind: ClassVar[str] = "shift"

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """bias."""
        return (WeightSpec("bias", self.shape),)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x + b."""
        y: Array = inputs[0] + weights["bias"]
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy; dy summed where the number was spread."""
        return (grad,), {"bias": sum_to(grad, (1, *self.shape)).reshape(self.shape)}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """e + gamma (|x| + e + |b|), for the rounding of number and sum."""
        size: Array = np.abs(inputs[0]) + errors[0] + np.abs(weights["bias"])
        bound: Array = errors[0] + rounding_growth(2, unit) * size
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Add."""
        return [OnnxNode("Add", (inputs[0], weights["bias"]), (output,))]


@dataclass(frozen=True, slots=True)
class Affine(Op):
    """scale x + shift, with two numbers."""

    kind: ClassVar[str] = "affine"
    scale: float = 1.0
    shift: float = 0.0

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """scale x + shift."""
        number = inputs[0].dtype.type
        y: Array = inputs[0] * number(self.scale) + number(self.shift)
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """scale dy."""
        return (grad * grad.dtype.type(self.scale),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|scale| e + gamma (|scale| (|x| + e) + |shift|)."""
        size = abs(self.scale) * (np.abs(inputs[0]) + errors[0]) + abs(self.shift)
        bound: Array = abs(self.scale) * errors[0] + rounding_growth(4, unit) * size
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Mul and Add with constants."""
        factor, product, summand = (f"{output}.{what}" for what in ("factor", "product", "summand"))
        return [
            OnnxNode("Constant", (), (factor,), {"value_float": self.scale}),
            OnnxNode("Mul", (inputs[0], factor), (product,)),
            OnnxNode("Constant", (), (summand,), {"value_float": self.shift}),
            OnnxNode("Add", (product, summand), (output,)),
        ]

    def describe(self) -> str:
        """`0.5 x + 1`."""
        return f"{self.scale:g} x {'-' if self.shift < 0 else '+'} {abs(self.shift):g}"


@dataclass(frozen=True, slots=True)
class PReLU(Op):
    """x above zero, and a learnt slope times x below: one slope a channel, or one for all (`slopes` 1).

    Weights: weight (slopes,).  Source: He et al. 2015, arXiv:1502.01852.
    """

    kind: ClassVar[str] = "prelu"
    slopes: int = 1

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's."""
        (shape,) = inputs
        if self.slopes not in (1, shape[0]):
            raise ShapeError(f"prelu got {shape[0]} channels, needs {self.slopes}; use one slope a channel, or one")
        return shape

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """weight."""
        return (WeightSpec("weight", (self.slopes,)),)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x where x > 0, else a x."""
        (x,) = inputs
        return np.where(x > 0, x, x * spread(weights["weight"], x.ndim))

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy, times the slope below zero; the slope's own is the sum of dy x there."""
        (x,) = inputs
        below = np.where(x > 0, 0, grad * x).sum(axis=(0, *range(2, x.ndim)))
        to_weight = below if self.slopes > 1 else below.sum(keepdims=True)
        dx = np.where(x > 0, grad, grad * spread(weights["weight"], x.ndim))
        return (dx,), {"weight": to_weight}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """max(1, |a|) e, and the rounding of slope and product."""
        slope = spread(np.abs(weights["weight"]), output.ndim)
        size = rounding_growth(2, unit) * slope * (np.abs(inputs[0]) + errors[0])
        bound: Array = np.maximum(1, slope) * errors[0] + size
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """PRelu, its slopes as a column (C, 1, 1)."""
        shape, column = f"{output}.shape", f"{output}.column"
        return [
            OnnxNode("Constant", (), (shape,), {"value_ints": [self.slopes, *(1,) * (len(shapes[0]) - 1)]}),
            OnnxNode("Reshape", (weights["weight"], shape), (column,)),
            OnnxNode("PRelu", (inputs[0], column), (output,)),
        ]


@dataclass(frozen=True, slots=True)
class Sub(Op):
    """x_1 - x_2, where one may be spread over the other."""

    kind: ClassVar[str] = "sub"
    arity: ClassVar[int | None] = 2

    def out_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        return broadcast(self.kind, inputs)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The difference."""
        y: Array = inputs[0] - inputs[1]
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy and -dy, summed where an input was spread."""
        return (sum_to(grad, inputs[0].shape), sum_to(-grad, inputs[1].shape)), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """e_1 + e_2, and one rounding."""
        carried: Array = errors[0] + errors[1]
        bound: Array = carried + rounding_growth(2, unit) * (np.abs(output) + carried)
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Sub."""
        return [OnnxNode("Sub", tuple(inputs), (output,))]


@dataclass(frozen=True, slots=True)
class Div(Op):
    """x_1 / x_2, where one may be spread over the other."""

    kind: ClassVar[str] = "div"
    arity: ClassVar[int | None] = 2

    def out_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        return broadcast(self.kind, inputs)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The quotient."""
        y: Array = inputs[0] / inputs[1]
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy / x_2 and -dy x_1 / x_2^2, summed where an input was spread."""
        a, b = inputs
        return (sum_to(grad / b, a.shape), sum_to(-grad * a / b**2, b.shape)), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """(e_1 + |y| e_2) / (|x_2| - e_2), and one rounding; without bound where the divisor may be zero."""
        least = np.abs(inputs[1]) - errors[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            carried = np.where(least > 0, (errors[0] + np.abs(output) * errors[1]) / least, np.inf)
        bound: Array = carried + rounding_growth(2, unit) * (np.abs(output) + carried)
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Div."""
        return [OnnxNode("Div", tuple(inputs), (output,))]
