"""A layer of which striate knows nothing but its output's shape.  Its unknown-ness travels; it is never a zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from striate.errors import NetworkError
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights


@dataclass(frozen=True, slots=True)
class Unknown(Op):
    """The result of `function`, of shape `shape` for one image, read from `reads` tensors; () if it has none known.

    why: what striate would need to know; empty where an unknown layer before it is the reason.
    It is not in `OPS`: it has no numbers, gradient, bound or ONNX form.
    """

    kind: ClassVar[str] = "unknown"
    function: str
    shape: Shape
    reads: int = 1
    why: str = ""

    @property
    def arity(self) -> int:  # type: ignore[override]
        """As many as it was given."""
        return self.reads

    def out_shape(self, *inputs: Shape) -> Shape:
        """The stated shape, right for the input size that it was captured at."""
        return self.shape

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Raises: NetworkError."""
        raise NetworkError(f"{self.function} is unknown to striate and cannot be computed; it can only be inspected")

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Raises: NetworkError."""
        raise NetworkError(f"{self.function} is unknown to striate and has no gradient; it can only be inspected")

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Raises: NetworkError."""
        raise NetworkError(f"{self.function} is unknown to striate and has no error bound; it can only be inspected")

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """Raises: NetworkError."""
        raise NetworkError(f"{self.function} is unknown to striate and has no ONNX form; it can only be inspected")

    def describe(self) -> str:
        """The function's name."""
        return self.function
