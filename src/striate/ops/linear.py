"""The dense layer: y = x W^T + b on the last axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, WeightSpec, rounding_growth


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """Dense layer from `in_features` to `out_features`.  Weights: weight (O, F), bias (O,) where `bias`."""

    kind: ClassVar[str] = "linear"
    in_features: int
    out_features: int
    bias: bool = True

    def out_shape(self, *inputs: Shape) -> Shape:
        """(O,)."""
        (shape,) = inputs
        if len(shape) != 1:
            raise ShapeError(f"linear got shape {shape}, needs a vector; flatten or pool the feature maps first")
        if shape[0] != self.in_features:
            raise ShapeError(
                f"linear got {shape[0]} features, needs {self.in_features}; the input image's size decides this"
            )
        return (self.out_features,)

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """weight (O, F), then bias (O,)."""
        weight = WeightSpec("weight", (self.out_features, self.in_features))
        return (weight, WeightSpec("bias", (self.out_features,))) if self.bias else (weight,)

    def macs(self, *inputs: Shape) -> int:
        """O F."""
        return prod(self.out_shape(*inputs)) * self.in_features

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x W^T + b."""
        y: Array = inputs[0] @ weights["weight"].T
        return y + weights["bias"] if self.bias else y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dx = dy W, dW = dy^T x, db = sum of dy."""
        grads = {"weight": grad.T @ inputs[0]}
        if self.bias:
            grads["bias"] = grad.sum(axis=0)
        return (grad @ weights["weight"],), grads

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """|W| (e + gamma (|x| + e)) + gamma |b|, with gamma for the F + 2 roundings on a path."""
        growth = rounding_growth(self.in_features + 2, unit)
        magnitude = {role: np.abs(w) for role, w in weights.items()}
        if self.bias:
            magnitude["bias"] = growth * magnitude["bias"]
        return self.forward([errors[0] + growth * (np.abs(inputs[0]) + errors[0])], magnitude)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """One Gemm node with the weight as stored (O, F)."""
        names = (weights["weight"], weights["bias"]) if self.bias else (weights["weight"],)
        return [OnnxNode("Gemm", (inputs[0], *names), (output,), {"transB": 1})]

    def describe(self) -> str:
        """The number of output features."""
        return str(self.out_features)
