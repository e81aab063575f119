"""Layers that move values without computing: flattening, dropout at test time, identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from striate.errors import ShapeError
from striate.geometry import AxisMap, Whole
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights


@dataclass(frozen=True, slots=True)
class Flatten(Op):
    """Feature maps (C, H, W) to one vector (C H W,), channel by channel, row by row."""

    kind: ClassVar[str] = "flatten"

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C H W,)."""
        return (prod(inputs[0]),)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The vector as a whole reads every axis whole."""
        return tuple(Whole() for _ in shape[1:])

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Reshape."""
        return inputs[0].reshape(len(inputs[0]), -1)

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Reshape back."""
        return (grad.reshape(inputs[0].shape),), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The same errors, reshaped."""
        return errors[0].reshape(output.shape)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Flatten from axis 1."""
        return [OnnxNode("Flatten", (inputs[0],), (output,), {"axis": 1})]


@dataclass(frozen=True, slots=True)
class Identity(Op):
    """The input itself."""

    kind: ClassVar[str] = "identity"

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """x."""
        return inputs[0]

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """dy."""
        return (grad,), {}

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Identity."""
        return [OnnxNode("Identity", (inputs[0],), (output,))]


@dataclass(frozen=True, slots=True)
class Dropout(Identity):
    """In training, each value is zeroed with probability `p` and the rest scaled by 1 / (1 - p); at test time, nothing.

    whole_channels drops entire feature maps. The reference is the test-time identity.
    """

    kind: ClassVar[str] = "dropout"
    p: float = 0.5
    whole_channels: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ShapeError(f"dropout: p={self.p} is not a probability below 1; use 0 <= p < 1")

    def describe(self) -> str:
        """The probability."""
        return f"{self.p:g}"
