"""Activations: one function applied to every value, and softmax over the classes.

Each activation is a row: its formula, its derivative, its largest slope, its ONNX nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, rounding_growth


@dataclass(frozen=True, slots=True)
class Curve:
    """An activation function of one variable.

    value, slope: f(x) and f'(x); steepest: the largest |f'|; roundings: operations on the longest path;
    onnx: the node's op type and attributes; a Clip's bounds are attributes here and inputs in the file.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    steepest: float
    roundings: int
    onnx: tuple[str, Mapping[str, float]]


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x / 6 + 0.5, 0, 1)


def _inside(x: Array, low: float, high: float) -> Array:
    inside: Array = ((x > low) & (x < high)).astype(x.dtype)
    return inside


def _silu_slope(x: Array) -> Array:
    s = _sigmoid(x)
    slope: Array = s * (1 + x * (1 - s))
    return slope


CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "relu": Curve(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype), 1.0, 0, ("Relu", {})),
        "relu6": Curve(
            lambda x: np.clip(x, 0, 6), lambda x: _inside(x, 0, 6), 1.0, 0, ("Clip", {"min": 0.0, "max": 6.0})
        ),
        "leaky_relu": Curve(
            lambda x: np.where(x > 0, x, x * x.dtype.type(0.01)),
            lambda x: np.where(x > 0, x.dtype.type(1), x.dtype.type(0.01)),
            1.0,
            2,
            ("LeakyRelu", {"alpha": 0.01}),
        ),
        "elu": Curve(
            lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
            lambda x: np.where(x > 0, x.dtype.type(1), np.exp(np.minimum(x, 0))),
            1.0,
            8,
            ("Elu", {"alpha": 1.0}),
        ),
        "sigmoid": Curve(_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x)), 0.25, 8, ("Sigmoid", {})),
        "tanh": Curve(np.tanh, lambda x: 1 - np.tanh(x) ** 2, 1.0, 8, ("Tanh", {})),
        "silu": Curve(lambda x: x * _sigmoid(x), _silu_slope, 1.1, 10, ("Silu", {})),
        "hard_sigmoid": Curve(
            _hard_sigmoid,
            lambda x: _inside(x, -3, 3) / 6,
            1 / 6,
            4,
            ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        ),
        "hard_swish": Curve(
            lambda x: x * _hard_sigmoid(x),
            lambda x: np.where(x >= 3, x.dtype.type(1), _inside(x, -3, 3) * (x / 3 + x.dtype.type(0.5))),
            1.5,
            6,
            ("HardSwish", {}),
        ),
    }
)
"""Every activation of one variable, by name."""


@dataclass(frozen=True, slots=True)
class Activation(Op):
    """One function of `CURVES` on every value."""

    kind: ClassVar[str] = "activation"
    curve: str = "relu"

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise ShapeError(f"activation {self.curve!r} is not known; use one of {', '.join(CURVES)}")

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """f(x)."""
        return CURVES[self.curve].value(inputs[0])

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy f'(x); at a kink, the slope of the flatter side, as in torch."""
        return (grad * CURVES[self.curve].slope(inputs[0]),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Largest slope times e, and the roundings of the formula where it has any."""
        curve = CURVES[self.curve]
        carried = curve.steepest * errors[0]
        if not curve.roundings:
            return carried
        # An approximated exponential is good to a few units of the largest value in play, which |x| + 1 bounds.
        return carried + rounding_growth(curve.roundings, unit) * (np.abs(inputs[0]) + errors[0] + 1)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """The node of the same name; silu as x times its sigmoid."""
        if self.curve == "silu":
            gate = f"{output}.gate"
            return [OnnxNode("Sigmoid", (inputs[0],), (gate,)), OnnxNode("Mul", (inputs[0], gate), (output,))]
        op_type, attributes = CURVES[self.curve].onnx
        return [OnnxNode(op_type, (inputs[0],), (output,), attributes)]

    def describe(self) -> str:
        """The curve's name."""
        return self.curve


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """exp(x_k) / sum of exp(x_j) over the channel axis."""

    kind: ClassVar[str] = "softmax"

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Shifted by the maximum, so that nothing overflows."""
        (x,) = inputs
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y: Array = e / e.sum(axis=1, keepdims=True)
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """y (dy - sum of dy y)."""
        return (output * (grad - (grad * output).sum(axis=1, keepdims=True)),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """y (exp(2 max e) - 1), and the roundings of exponent, sum and quotient."""
        worst = errors[0].max(axis=1, keepdims=True)
        size = np.abs(inputs[0]).max(axis=1, keepdims=True)
        bound: Array = output * np.expm1(2 * worst) + rounding_growth(inputs[0].shape[1] + 16, unit) * (
            output * (1 + 2 * size) + unit
        )
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Softmax over axis 1."""
        return [OnnxNode("Softmax", (inputs[0],), (output,), {"axis": 1})]
