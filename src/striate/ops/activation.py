"""Activations: one function of `CURVES` applied to every value, and softmax over channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, rounding_growth
from striate.ops.curves import CURVES
from striate.ops.moving import reshaped


@dataclass(frozen=True, slots=True)
class Activation(Op):
    """One function of `CURVES` on every value.

    parameters: such as a slope, in the curve's order; empty for its usual ones, which are not stated.
    """

    kind: ClassVar[str] = "activation"
    curve: str = "relu"
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise ShapeError(f"activation {self.curve!r} is not known; use one of {', '.join(CURVES)}")
        usual = tuple(CURVES[self.curve].parameters.values())
        if self.parameters and len(self.parameters) != len(usual):
            named = ", ".join(CURVES[self.curve].parameters) or "no parameters"
            raise ShapeError(f"activation {self.curve} got parameters {self.parameters}; it takes {named}")
        if self.parameters == usual:
            object.__setattr__(self, "parameters", ())

    @property
    def values(self) -> tuple[float, ...]:
        """The parameters, the usual ones where none are stated."""
        return self.parameters or tuple(CURVES[self.curve].parameters.values())

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """f(x)."""
        return CURVES[self.curve].value(inputs[0], *self.parameters)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy f'(x); at a kink, the slope of the flatter side, as in torch."""
        return (grad * CURVES[self.curve].slope(inputs[0], *self.parameters),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Largest slope times e, and the roundings of the formula where it has any."""
        curve = CURVES[self.curve]
        carried: Array = curve.steepest(*self.parameters) * errors[0]
        if not curve.roundings:
            return carried
        size = np.abs(inputs[0]) + errors[0] + curve.beside
        # An approximated exponential is good to a few units of the largest value in play.
        return carried + max(1.0, curve.steepest(*self.parameters)) * rounding_growth(curve.roundings, unit) * size

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """The nodes of the curve."""
        return CURVES[self.curve].onnx(inputs[0], output, *self.values)

    def describe(self) -> str:
        """The curve's name, and parameters that are unusual."""
        return " ".join((self.curve, *(f"{value:g}" for value in self.parameters)))


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """exp(x_k) / sum of exp(x_j) over the channel axis.

    before, count: channels counted as (before, count, after), row by row, of which the middle is normalised; by
    default all of them. So attention over the branches of a split is Softmax(1, number of branches).
    """

    kind: ClassVar[str] = "softmax"
    before: int = 1
    count: int = 0

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's."""
        self._split(inputs[0])
        return inputs[0]

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Shifted by the maximum, so that nothing overflows."""
        x = self._apart(inputs[0])
        e = np.exp(x - x.max(axis=2, keepdims=True))
        y: Array = e / e.sum(axis=2, keepdims=True)
        return y.reshape(inputs[0].shape)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """y (dy - sum of dy y)."""
        dy, y = self._apart(grad), self._apart(output)
        dx: Array = y * (dy - (dy * y).sum(axis=2, keepdims=True))
        return (dx.reshape(grad.shape),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """y (exp(2 max e) - 1), and the roundings of exponent, sum and quotient."""
        x, e, y = (self._apart(a) for a in (inputs[0], errors[0], output))
        worst = e.max(axis=2, keepdims=True)
        size = np.abs(x).max(axis=2, keepdims=True)
        bound: Array = y * np.expm1(2 * worst) + rounding_growth(x.shape[2] + 16, unit) * (y * (1 + 2 * size) + unit)
        return bound.reshape(output.shape)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Softmax over axis 1; between two Reshapes over axis 2, where not all channels are taken together."""
        before, count, after = self._split(shapes[0])
        if before == after == 1:
            return [OnnxNode("Softmax", (inputs[0],), (output,), {"axis": 1})]
        apart, normal = f"{output}.apart", f"{output}.normal"
        return [
            *reshaped(inputs[0], apart, (before, count, after, *shapes[0][1:]), f"{output}.split"),
            OnnxNode("Softmax", (apart,), (normal,), {"axis": 2}),
            *reshaped(normal, output, shapes[0], f"{output}.shape"),
        ]

    def describe(self) -> str:
        """How the channels are counted, where not all are taken together."""
        return "" if (self.before, self.count) == (1, 0) else f"{self.before}x{self.count}"

    def _split(self, shape: Shape) -> tuple[int, int, int]:
        count = self.count or shape[0] // max(1, self.before)
        if self.before < 1 or count < 1 or shape[0] % (self.before * count):
            raise ShapeError(
                f"softmax: {shape[0]} channels are no {self.before} x {count} x any; "
                "make their number a multiple of both"
            )
        return self.before, count, shape[0] // (self.before * count)

    def _apart(self, x: Array) -> Array:
        return x.reshape(len(x), *self._split(x.shape[1:]), *x.shape[2:])


@dataclass(frozen=True, slots=True)
class LogSoftmax(Op):
    """x_k - log of the sum of exp(x_j) over all channels: what a loss of log-probabilities reads."""

    kind: ClassVar[str] = "log_softmax"

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Shifted by the maximum, so that nothing overflows."""
        (x,) = inputs
        shifted = x - x.max(axis=1, keepdims=True)
        y: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy - exp(y) times the sum of dy."""
        dx: Array = grad - np.exp(output) * grad.sum(axis=1, keepdims=True)
        return (dx,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """e + max e, and the roundings of shift, exponents, sum, logarithm and difference."""
        (x,), (e,) = inputs, errors
        worst = e.max(axis=1, keepdims=True)
        size = np.abs(x).max(axis=1, keepdims=True) + worst
        bound: Array = e + worst + rounding_growth(x.shape[1] + 16, unit) * (2 * size + np.abs(output) + 1)
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """LogSoftmax over axis 1."""
        return [OnnxNode("LogSoftmax", (inputs[0],), (output,), {"axis": 1})]
