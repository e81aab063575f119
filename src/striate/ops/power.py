"""Every value to a fixed power: square roots and reciprocals, of which norms written by hand are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, rounding_growth


@dataclass(frozen=True, slots=True)
class Power(Op):
    """x^p: 0.5 is the square root, -1 the reciprocal. NaN, as in torch, where there is no real number."""

    kind: ClassVar[str] = "power"
    exponent: float = 1.0

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x^p."""
        return _power(inputs[0], self.exponent)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy p x^(p - 1)."""
        dx: Array = grad * grad.dtype.type(self.exponent) * _power(inputs[0], self.exponent - 1)
        return (dx,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|p| e at the steeper end of |x| - e to |x| + e, and the roundings; no bound where x may be 0 and p < 1."""
        size, (e,) = np.abs(inputs[0]), errors
        farthest = size + e
        nearest = farthest if self.exponent >= 1 else np.maximum(size - e, 0)
        with np.errstate(invalid="ignore"):  # an infinite slope times no error
            carried = np.where(e > 0, abs(self.exponent) * _power(nearest, self.exponent - 1) * e, 0)
        bound: Array = carried + rounding_growth(8, unit) * (np.abs(output) + carried)
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Pow with a constant."""
        exponent = f"{output}.exponent"
        return [
            OnnxNode("Constant", (), (exponent,), {"value_float": self.exponent}),
            OnnxNode("Pow", (inputs[0], exponent), (output,)),
        ]

    def describe(self) -> str:
        """`x^-0.5`."""
        return f"x^{self.exponent:g}"


def _power(x: Array, exponent: float) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        y: Array = np.power(x, x.dtype.type(exponent))
    return y
