"""Batch normalisation, in training and at test time, and the running averages between them.

Training: the statistics of the batch, over N and all positions, one pair for each channel:

    mean = average of x;  var = average of (x - mean)^2  (biased)
    y = gamma (x - mean) / sqrt(var + eps) + beta

Test: the same formula with the running statistics, which are constants: an affine map of each channel.
Source: Ioffe & Szegedy 2015, arXiv:1502.03167.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
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


@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """Batch normalisation of `channels` channels.

    eps is added to the variance; momentum is the share of the new batch in the running averages (torch's
    convention). Weights: gamma, beta, running_mean, running_var, each (C,); the last two are not learnt by
    gradient. affine=False leaves gamma and beta out (1 and 0).
    """

    kind: ClassVar[str] = "batch_norm"
    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def __post_init__(self) -> None:
        if not (self.eps >= 0 and 0 <= self.momentum <= 1):
            raise ShapeError(
                f"batch_norm: eps={self.eps}, momentum={self.momentum}; eps must be >= 0, momentum in [0, 1]"
            )

    def out_shape(self, *inputs: Shape) -> Shape:
        """The input's: (C, H, W) or (F,)."""
        (shape,) = inputs
        if len(shape) == 1:
            shape = (*shape, 1)
        need_maps(self.kind, shape, self.channels)
        return inputs[0]

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """gamma, beta (where affine), running_mean, running_var."""
        learnt = ("gamma", "beta") if self.affine else ()
        kept = ("running_mean", "running_var")
        return tuple(WeightSpec(role, (self.channels,), role in learnt) for role in (*learnt, *kept))

    def scale_shift(self, weights: Weights) -> tuple[Array, Array]:
        """The affine map at test time: scale = gamma / sqrt(var + eps), shift = beta - mean scale.  Shapes (C,)."""
        scale = 1 / np.sqrt(weights["running_var"] + weights["running_var"].dtype.type(self.eps))
        if self.affine:
            scale = weights["gamma"] * scale
        shift = -weights["running_mean"] * scale
        return scale, shift + weights["beta"] if self.affine else shift

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """gamma (x - mean) / sqrt(var + eps) + beta."""
        (x,) = inputs
        y = self._normalised(x, weights)
        return y * spread(weights["gamma"], x.ndim) + spread(weights["beta"], x.ndim) if self.affine else y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """At test time the statistics are constants: dx = dy scale."""
        scale, _ = self.scale_shift(weights)
        return (grad * spread(scale, grad.ndim),), self._affine_gradients(grad, inputs[0], weights)

    def batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of each channel over N and all positions.  Shapes (C,)."""
        axes = (0, *range(2, x.ndim))
        return x.mean(axis=axes), x.var(axis=axes)

    def with_batch_statistics(self, x: Array, weights: Weights) -> dict[str, Array]:
        """The weights with the statistics of this batch in place of the running ones: training in one line."""
        mean, var = self.batch_statistics(x)
        return {**weights, "running_mean": mean, "running_var": var}

    def backward_through_statistics(self, grad: Array, x: Array, weights: Weights) -> Gradients:
        """Training: the loss is differentiated through mean and variance as well.

        dx = scale (dy - average of dy - x^ average of (dy x^)), with x^ the normalised input and the averages
        over N and positions: dx is orthogonal to 1 and to x^, so a constant added before is never learnt.
        """
        weights = self.with_batch_statistics(x, weights)
        scale, _ = self.scale_shift(weights)
        normal = self._normalised(x, weights)
        axes = (0, *range(2, x.ndim))
        centred = grad - grad.mean(axis=axes, keepdims=True) - normal * (grad * normal).mean(axis=axes, keepdims=True)
        return (spread(scale, x.ndim) * centred,), self._affine_gradients(grad, x, weights)

    def running_averages(self, x: Array, weights: Weights) -> tuple[Array, Array]:
        """The running mean and variance after a batch: (1 - momentum) old + momentum new.

        The variance of the batch enters with Bessel's correction, n / (n - 1), as in torch; it is the biased
        one that normalises the batch itself.  Raises: ShapeError on one value a channel, which has no variance.
        """
        mean, var = self.batch_statistics(x)
        count = x.size // self.channels
        if count < 2:
            raise ShapeError(
                "batch_norm in training got one value a channel, needs at least two; use a larger batch or image"
            )
        kept = 1 - self.momentum
        return (
            kept * weights["running_mean"] + self.momentum * mean,
            kept * weights["running_var"] + self.momentum * var * count / (count - 1),
        )

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|scale| e + gamma_10 (|scale| (|x| + e + |mean|) + |beta|).

        Ten roundings on the longest path: four to store mean, variance, eps and gamma, and six operations (sum,
        root, difference, quotient, product, sum); the root halves some of them.
        """
        scale, _ = self.scale_shift(weights)
        scale = spread(np.abs(scale), output.ndim)
        mean = spread(np.abs(weights["running_mean"]), output.ndim)
        beta = spread(np.abs(weights["beta"]), output.ndim) if self.affine else 0.0
        magnitude = scale * (np.abs(inputs[0]) + errors[0] + mean) + beta
        bound: Array = scale * errors[0] + rounding_growth(10, unit) * magnitude
        return bound

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One BatchNormalization node; ONNX's momentum is the share kept of the old.

        Raises: ShapeError without gamma and beta, which ONNX demands: give them as ones and zeros.
        """
        if not self.affine:
            raise ShapeError("batch_norm without gamma and beta has no ONNX node; make them explicit first")
        names = tuple(weights[role] for role in ("gamma", "beta", "running_mean", "running_var"))
        attributes = {"epsilon": self.eps, "momentum": kept_share(self.momentum)}
        return [OnnxNode("BatchNormalization", (inputs[0], *names), (output,), attributes)]

    def describe(self) -> str:
        """Only what is unusual."""
        return "" if self.affine else "no affine"

    def _normalised(self, x: Array, weights: Weights) -> Array:
        deviation = np.sqrt(weights["running_var"] + weights["running_var"].dtype.type(self.eps))
        normal: Array = (x - spread(weights["running_mean"], x.ndim)) / spread(deviation, x.ndim)
        return normal

    def _affine_gradients(self, grad: Array, x: Array, weights: Weights) -> dict[str, Array]:
        if not self.affine:
            return {}
        axes = (0, *range(2, x.ndim))
        return {"gamma": (grad * self._normalised(x, weights)).sum(axis=axes), "beta": grad.sum(axis=axes)}


def kept_share(new_share: float) -> float:
    """The momentum of ONNX, Keras and JAX (weight of the old average) from torch's (weight of the new batch)."""
    return 1 - new_share


def new_share(kept: float) -> float:
    """torch's momentum (weight of the new batch) from that of ONNX, Keras and JAX (weight of the old average)."""
    return 1 - kept
