"""The activation functions of one variable, one row each: formula, derivative, largest slope, ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import erf, pi, sqrt
from types import MappingProxyType

import numpy as np

from striate.ops.base import Array, OnnxNode

Nodes = Callable[..., list[OnnxNode]]


@dataclass(frozen=True, slots=True)
class Curve:
    """An activation function of one variable, and of parameters such as a slope.

    value, slope: f(x, *parameters) and f'(x, *parameters); steepest: the largest |f'| for given parameters
    roundings: operations on the longest path; onnx: the nodes that compute `y` from `x`, given their names
    parameters: name -> usual value
    beside: the size of the numbers in play beside |x|: an exponential near 0 is near 1, a product of x near 0 is not
    """

    value: Callable[..., Array]
    slope: Callable[..., Array]
    steepest: Callable[..., float]
    roundings: int
    onnx: Nodes
    parameters: Mapping[str, float] = field(default_factory=dict)
    beside: float = 1.0


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _hard_sigmoid(x: Array, alpha: float = 1 / 6, beta: float = 0.5) -> Array:
    y: Array = np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)
    return y


def _inside(x: Array, low: float, high: float) -> Array:
    inside: Array = ((x > low) & (x < high)).astype(x.dtype)
    return inside


def _silu_slope(x: Array) -> Array:
    s = _sigmoid(x)
    slope: Array = s * (1 + x * (1 - s))
    return slope


def _by_sign(x: Array, below: Array) -> Array:
    return np.where(x > 0, x, below)


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return _by_sign(x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def _normal_share(x: Array) -> Array:
    """The standard normal distribution function, (1 + erf(x / sqrt 2)) / 2."""
    values = np.asarray(np.frompyfunc(erf, 1, 1)(np.asarray(x, np.float64) / sqrt(2)), np.float64)
    share: Array = ((1 + values) / 2).astype(x.dtype)
    return share


def _gelu_slope(x: Array) -> Array:
    density = np.exp(-x * x / 2) / x.dtype.type(sqrt(2 * pi))
    slope: Array = _normal_share(x) + x * density
    return slope


GELU_TANH = (sqrt(2 / pi), 0.044715)
"""The factor and the cubic coefficient of GELU's approximation.  Source: Hendrycks & Gimpel 2016, arXiv:1606.08415."""


def _gelu_inner(x: Array) -> Array:
    factor, cubic = (x.dtype.type(c) for c in GELU_TANH)
    inner: Array = np.tanh(factor * (x + cubic * x * x * x))
    return inner


def _gelu_tanh_slope(x: Array) -> Array:
    factor, cubic = (x.dtype.type(c) for c in GELU_TANH)
    t = _gelu_inner(x)
    slope: Array = (1 + t) / 2 + x / 2 * (1 - t * t) * factor * (1 + 3 * cubic * x * x)
    return slope


def _softplus(x: Array) -> Array:
    y: Array = np.logaddexp(x, x.dtype.type(0))
    return y


def _mish_slope(x: Array) -> Array:
    t = np.tanh(_softplus(x))
    slope: Array = t + x * (1 - t * t) * _sigmoid(x)
    return slope


SELU = (1.0507009873554805, 1.6732632423543772)
"""Scale and alpha.  Source: Klambauer et al. 2017, arXiv:1706.02515."""


def _one(op_type: str, **names: str) -> Nodes:
    """One node; `names` gives its attributes as ONNX's name = position of the parameter."""

    def nodes(x: str, y: str, *values: float) -> list[OnnxNode]:
        attributes = dict(zip(names, values, strict=False))
        return [OnnxNode(op_type, (x,), (y,), attributes)]

    return nodes


def _fixed(op_type: str, attributes: Mapping[str, float]) -> Nodes:
    return lambda x, y: [OnnxNode(op_type, (x,), (y,), attributes)]


def _times(x: str, y: str, factor: Sequence[OnnxNode]) -> list[OnnxNode]:
    """x times what the nodes make of it; the last of them writes the factor."""
    return [*factor, OnnxNode("Mul", (x, factor[-1].outputs[0]), (y,))]


def _number(name: str, value: float) -> OnnxNode:
    return OnnxNode("Constant", (), (name,), {"value_float": value})


def _gelu_nodes(x: str, y: str) -> list[OnnxNode]:
    """x / 2 (1 + erf(x / sqrt 2)), in the nodes that exporters write before opset 20 has one for it."""
    root, one, half, scaled, bent, above, product = (
        f"{y}.{what}" for what in ("root", "one", "half", "scaled", "bent", "above", "product")
    )
    return [
        _number(root, sqrt(2)),
        OnnxNode("Div", (x, root), (scaled,)),
        OnnxNode("Erf", (scaled,), (bent,)),
        _number(one, 1.0),
        OnnxNode("Add", (bent, one), (above,)),
        OnnxNode("Mul", (x, above), (product,)),
        _number(half, 0.5),
        OnnxNode("Mul", (product, half), (y,)),
    ]


def _gelu_tanh_nodes(x: str, y: str) -> list[OnnxNode]:
    names = ("cubic", "factor", "one", "half", "square", "cube", "small", "sum", "scaled", "bent", "above", "product")
    n = {what: f"{y}.{what}" for what in names}
    factor, cubic = GELU_TANH
    return [
        *(_number(n[what], v) for what, v in (("cubic", cubic), ("factor", factor), ("one", 1.0), ("half", 0.5))),
        OnnxNode("Mul", (x, x), (n["square"],)),
        OnnxNode("Mul", (n["square"], x), (n["cube"],)),
        OnnxNode("Mul", (n["cube"], n["cubic"]), (n["small"],)),
        OnnxNode("Add", (x, n["small"]), (n["sum"],)),
        OnnxNode("Mul", (n["sum"], n["factor"]), (n["scaled"],)),
        OnnxNode("Tanh", (n["scaled"],), (n["bent"],)),
        OnnxNode("Add", (n["bent"], n["one"]), (n["above"],)),
        OnnxNode("Mul", (x, n["above"]), (n["product"],)),
        OnnxNode("Mul", (n["product"], n["half"]), (y,)),
    ]


def _log_sigmoid_nodes(x: str, y: str) -> list[OnnxNode]:
    turned, soft = f"{y}.turned", f"{y}.soft"
    return [
        OnnxNode("Neg", (x,), (turned,)),
        OnnxNode("Softplus", (turned,), (soft,)),
        OnnxNode("Neg", (soft,), (y,)),
    ]


def _never_steeper(bound: float) -> Callable[..., float]:
    return lambda *_: bound


def _is_above(x: Array) -> Array:
    above: Array = (x > 0).astype(x.dtype)
    return above


CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "relu": Curve(lambda x: np.maximum(x, 0), _is_above, _never_steeper(1.0), 0, _one("Relu")),
        "relu6": Curve(
            lambda x: np.clip(x, 0, 6),
            lambda x: _inside(x, 0, 6),
            _never_steeper(1.0),
            0,
            _fixed("Clip", {"min": 0.0, "max": 6.0}),
        ),
        "hard_tanh": Curve(
            lambda x, low=-1.0, high=1.0: np.clip(x, x.dtype.type(low), x.dtype.type(high)),
            lambda x, low=-1.0, high=1.0: _inside(x, low, high),
            _never_steeper(1.0),
            0,
            _one("Clip", min="low", max="high"),
            {"low": -1.0, "high": 1.0},
        ),
        "leaky_relu": Curve(
            lambda x, slope=0.01: _by_sign(x, x * x.dtype.type(slope)),
            lambda x, slope=0.01: np.where(x > 0, x.dtype.type(1), x.dtype.type(slope)),
            lambda slope=0.01: max(1.0, abs(slope)),
            2,
            _one("LeakyRelu", alpha="slope"),
            {"slope": 0.01},
            beside=0.0,
        ),
        "elu": Curve(
            _elu,
            lambda x, alpha=1.0: np.where(x > 0, x.dtype.type(1), x.dtype.type(alpha) * np.exp(np.minimum(x, 0))),
            lambda alpha=1.0: max(1.0, abs(alpha)),
            8,
            _one("Elu", alpha="alpha"),
            {"alpha": 1.0},
        ),
        "selu": Curve(
            lambda x: x.dtype.type(SELU[0]) * _elu(x, SELU[1]),
            lambda x: (
                x.dtype.type(SELU[0])
                * np.where(x > 0, x.dtype.type(1), x.dtype.type(SELU[1]) * np.exp(np.minimum(x, 0)))
            ),
            _never_steeper(SELU[0] * SELU[1]),
            12,
            _fixed("Selu", {"alpha": SELU[1], "gamma": SELU[0]}),
        ),
        "sigmoid": Curve(_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x)), _never_steeper(0.25), 8, _one("Sigmoid")),
        "log_sigmoid": Curve(
            lambda x: -_softplus(-x), lambda x: _sigmoid(-x), _never_steeper(1.0), 10, _log_sigmoid_nodes
        ),
        "tanh": Curve(np.tanh, lambda x: 1 - np.tanh(x) ** 2, _never_steeper(1.0), 8, _one("Tanh")),
        "silu": Curve(
            lambda x: x * _sigmoid(x),
            _silu_slope,
            _never_steeper(1.1),
            10,
            lambda x, y: _times(x, y, [OnnxNode("Sigmoid", (x,), (f"{y}.gate",))]),
        ),
        "gelu": Curve(lambda x: x * _normal_share(x), _gelu_slope, _never_steeper(1.13), 14, _gelu_nodes),
        "gelu_tanh": Curve(
            lambda x: x / 2 * (1 + _gelu_inner(x)), _gelu_tanh_slope, _never_steeper(1.13), 24, _gelu_tanh_nodes
        ),
        "mish": Curve(lambda x: x * np.tanh(_softplus(x)), _mish_slope, _never_steeper(1.09), 14, _one("Mish")),
        "softplus": Curve(_softplus, _sigmoid, _never_steeper(1.0), 10, _one("Softplus")),
        "softsign": Curve(
            lambda x: x / (1 + np.abs(x)),
            lambda x: 1 / (1 + np.abs(x)) ** 2,
            _never_steeper(1.0),
            4,
            _one("Softsign"),
            beside=0.0,
        ),
        "abs": Curve(np.abs, np.sign, _never_steeper(1.0), 0, _one("Abs")),
        "hard_sigmoid": Curve(
            _hard_sigmoid,
            lambda x, alpha=1 / 6, beta=0.5: _inside(x * alpha + beta, 0, 1) * x.dtype.type(alpha),
            lambda alpha=1 / 6, _beta=0.5: abs(alpha),
            4,
            _one("HardSigmoid", alpha="alpha", beta="beta"),
            {"alpha": 1 / 6, "beta": 0.5},
        ),
        "hard_swish": Curve(
            lambda x: x * _hard_sigmoid(x),
            lambda x: np.where(x >= 3, x.dtype.type(1), _inside(x, -3, 3) * (x / 3 + x.dtype.type(0.5))),
            _never_steeper(1.5),
            6,
            _one("HardSwish"),
            beside=0.0,
        ),
    }
)
"""Every activation of one variable, by name."""
