"""Normalisation by the statistics of one image: over groups of whole maps, or over the channels of each position.

    y = gamma (x - mean) / sqrt(var + eps) + beta,   var biased, at test time as in training

Group norm (Wu & He 2018, arXiv:1803.08494) takes mean and variance over a group of channels and all positions: one
group is layer norm over an image, one channel a group is instance norm. Layer norm (Ba et al. 2016, arXiv:1607.06450)
here takes them over the channels, at each position on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import AxisMap, Everywhere
from striate.ops.base import (
    Array,
    Gradients,
    OnnxNode,
    Op,
    Shape,
    Weights,
    WeightSpec,
    need_maps,
    rounding_growth,
    spread,
)
from striate.ops.conv import need_groups
from striate.ops.moving import integers, reshaped


@dataclass(frozen=True, slots=True)
class _ImageNorm(Op):
    """What both share: weights gamma and beta (C,) where `affine`, and the formula over `_together(x)`."""

    channels: int
    eps: float = 1e-5
    affine: bool = True

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """gamma, beta, where affine."""
        return tuple(WeightSpec(role, (self.channels,)) for role in ("gamma", "beta")) if self.affine else ()

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """gamma (x - mean) / sqrt(var + eps) + beta."""
        (x,) = inputs
        y = self._normal(x)[0]
        return y * spread(weights["gamma"], x.ndim) + spread(weights["beta"], x.ndim) if self.affine else y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dx = (g - mean of g - x^ mean of (g x^)) / sqrt(var + eps), with g = gamma dy and x^ normalised."""
        (x,) = inputs
        normal, deviation = self._normal(x)
        scaled = grad * spread(weights["gamma"], x.ndim) if self.affine else grad
        g, n = self._together(scaled), self._together(normal)
        dx = (g - g.mean(axis=1, keepdims=True) - n * (g * n).mean(axis=1, keepdims=True)) / deviation
        axes = (0, *range(2, x.ndim))
        to_weights = {"gamma": (grad * normal).sum(axis=axes), "beta": grad.sum(axis=axes)} if self.affine else {}
        return (self._apart(dx, x.shape),), to_weights

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The error of x - mean, times the largest 1 / deviation that the error of the variance allows; and roundings.

        The variance may be computed as mean of x^2 - mean^2, so its roundings are those of the mean of x^2.
        """
        x, e = self._together(inputs[0]), self._together(errors[0])
        growth = rounding_growth(x.shape[1] + 6, unit)
        centred = x - x.mean(axis=1, keepdims=True)
        carried = e + growth * (np.abs(x) + e)
        off = carried + carried.mean(axis=1, keepdims=True)
        var = (centred**2).mean(axis=1, keepdims=True)
        square = (x**2).mean(axis=1, keepdims=True)
        var_off = (2 * np.abs(centred) * off + off**2).mean(axis=1, keepdims=True) + 2 * growth * square
        inverse = 1 / np.sqrt(var + self.eps)
        largest = 1 / np.sqrt(np.maximum(var - var_off, 0) + self.eps)
        bound = self._apart(off * largest + np.abs(centred) * (largest - inverse), inputs[0].shape)
        size = np.abs(self._apart(centred * inverse, inputs[0].shape)) + bound
        if self.affine:
            gamma, beta = (spread(np.abs(weights[role]), size.ndim) for role in ("gamma", "beta"))
            bound, size = bound * gamma, size * gamma + beta
        result: Array = bound + rounding_growth(10, unit) * size
        return result

    def _normal(self, x: Array) -> tuple[Array, Array]:
        """x normalised, in its own shape, and the deviation of each row of `_together`."""
        rows = self._together(x)
        deviation = np.sqrt(rows.var(axis=1, keepdims=True) + x.dtype.type(self.eps))
        return self._apart((rows - rows.mean(axis=1, keepdims=True)) / deviation, x.shape), deviation

    def _together(self, x: Array) -> Array:
        """Two axes: what shares its statistics stands in one row."""
        raise NotImplementedError

    def _apart(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `_together`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class GroupNorm(_ImageNorm):
    """Normalisation of maps over each of `groups` groups of channels and all positions of one image."""

    kind: ClassVar[str] = "group_norm"
    groups: int = 1

    def __post_init__(self) -> None:
        need_groups(self.kind, self.groups, channels=self.channels)

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's."""
        need_maps(self.kind, inputs[0], self.channels)
        return inputs[0]

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """Every unit reads every position, through the statistics."""
        return tuple(Everywhere() for _ in shape[1:])

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """InstanceNormalization over rows of whole groups, and a factor and a shift of each channel."""
        (shape,) = shapes
        names = {part: f"{output}.{part}" for part in ("rows", "ones", "zeros", "normal", "apart", "scaled")}
        pieces = [
            *reshaped(inputs[0], names["rows"], (self.groups, prod(shape) // self.groups), f"{output}.rows_shape"),
            OnnxNode("Constant", (), (names["ones"],), {"value_floats": [1.0] * self.groups}),
            OnnxNode("Constant", (), (names["zeros"],), {"value_floats": [0.0] * self.groups}),
            OnnxNode(
                "InstanceNormalization",
                (names["rows"], names["ones"], names["zeros"]),
                (names["normal"],),
                {"epsilon": self.eps},
            ),
            *reshaped(names["normal"], names["apart"] if self.affine else output, shape, f"{output}.shape"),
        ]
        if not self.affine:
            return pieces
        column = f"{output}.column"
        gamma, beta = f"{output}.gamma", f"{output}.beta"
        return [
            *pieces,
            integers(column, [self.channels, *(1,) * (len(shape) - 1)]),
            OnnxNode("Reshape", (weights["gamma"], column), (gamma,)),
            OnnxNode("Reshape", (weights["beta"], column), (beta,)),
            OnnxNode("Mul", (names["apart"], gamma), (names["scaled"],)),
            OnnxNode("Add", (names["scaled"], beta), (output,)),
        ]

    def describe(self) -> str:
        """The number of groups."""
        return f"g{self.groups}" + ("" if self.affine else " no affine")

    def _together(self, x: Array) -> Array:
        return x.reshape(len(x) * self.groups, -1)

    def _apart(self, rows: Array, shape: tuple[int, ...]) -> Array:
        return rows.reshape(shape)


@dataclass(frozen=True, slots=True)
class LayerNorm(_ImageNorm):
    """Normalisation over the channels, at each position on its own; of a vector, over the vector."""

    kind: ClassVar[str] = "layer_norm"

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's: (C, H, W) or (F,)."""
        (shape,) = inputs
        need_maps(self.kind, (*shape, 1) if len(shape) == 1 else shape, self.channels)
        return shape

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """LayerNormalization of the last axis, between two transpositions where there are positions."""
        axes = len(shapes[0])
        last, normal = (inputs[0], output) if axes == 1 else (f"{output}.last", f"{output}.normal")
        ones = f"{output}.ones"
        affine = (weights["gamma"], weights["beta"]) if self.affine else (ones,)
        pieces = [] if self.affine else [OnnxNode("Constant", (), (ones,), {"value_floats": [1.0] * self.channels})]
        pieces.append(OnnxNode("LayerNormalization", (last, *affine), (normal,), {"axis": -1, "epsilon": self.eps}))
        if axes == 1:
            return pieces
        there, back = [0, *range(2, axes + 1), 1], [0, axes, *range(1, axes)]
        before = OnnxNode("Transpose", (inputs[0],), (last,), {"perm": there})
        return [before, *pieces, OnnxNode("Transpose", (normal,), (output,), {"perm": back})]

    def describe(self) -> str:
        """Only what is unusual."""
        return "" if self.affine else "no affine"

    def _together(self, x: Array) -> Array:
        return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])

    def _apart(self, rows: Array, shape: tuple[int, ...]) -> Array:
        return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


@dataclass(frozen=True, slots=True)
class LocalResponseNorm(Op):
    """x / (k + alpha / n * sum of x^2 over the n channels around)^beta.  Source: Krizhevsky et al. 2012, AlexNet."""

    kind: ClassVar[str] = "local_response_norm"
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.alpha < 0 or self.beta < 0 or self.k <= 0:
            raise ShapeError(
                f"{self.kind}: size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}; "
                "size must be at least 1, alpha and beta at least 0, k above 0"
            )

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's."""
        need_maps(self.kind, inputs[0], None)
        return inputs[0]

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x / D^beta, with D = k + alpha / n S and S the sum of squares around."""
        (x,) = inputs
        y: Array = x * self._divisor(x**2) ** x.dtype.type(-self.beta)
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dx = dy D^-beta - 2 beta alpha / n x, times the sum of dy x D^(-beta-1) over the channels that see x."""
        (x,) = inputs
        divisor = self._divisor(x**2)
        shares = self._around(grad * x * divisor ** (-self.beta - 1), mirrored=True)
        dx: Array = grad * divisor**-self.beta - 2 * self.beta * self.alpha / self.size * x * shares
        return (dx.astype(x.dtype),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """e over the smallest divisor that the errors allow, |x| times what they change it by, and the roundings."""
        x, e = np.abs(inputs[0]), errors[0]
        growth = rounding_growth(self.size + 6, unit)
        divisor = self._divisor(x**2)
        off = self._divisor(2 * x * e + e**2) - self.k + growth * divisor
        smallest = np.maximum(divisor - off, self.k * (1 - growth))
        change = smallest**-self.beta - divisor**-self.beta
        bound: Array = e * smallest**-self.beta + x * change
        return bound + rounding_growth(16, unit) * (np.abs(output) + bound)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One LRN node.  Raises: ShapeError on an even size, whose middle ONNX puts elsewhere."""
        if self.size % 2 == 0:
            raise ShapeError(
                f"{self.kind} over {self.size} channels has no ONNX node, whose middle is elsewhere; use an odd size"
            )
        attributes = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.k}
        return [OnnxNode("LRN", (inputs[0],), (output,), attributes)]

    def describe(self) -> str:
        """The number of channels."""
        return str(self.size)

    def _divisor(self, squares: Array) -> Array:
        divisor: Array = self.k + self.alpha / self.size * self._around(squares)
        return divisor.astype(squares.dtype)

    def _around(self, values: Array, *, mirrored: bool = False) -> Array:
        """The sum over channels c - n // 2 to c + (n - 1) // 2; mirrored, over those whose sum holds c."""
        before, after = self.size // 2, (self.size - 1) // 2
        if mirrored:
            before, after = after, before
        widths = [(0, 0), (before, after), *((0, 0),) * (values.ndim - 2)]
        padded, channels = np.pad(values, widths), values.shape[1]
        total: Array = sum((padded[:, i : i + channels] for i in range(self.size)), np.zeros_like(values))
        return total
