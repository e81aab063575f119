"""What every layer can answer about itself.

A layer is a frozen value. Shapes leave out the batch: (C, H, W) for maps, (F,) for vectors; arrays keep it:
(N, C, H, W). The NumPy methods are the reference that everything else is compared with: they are written to
be obviously right, in the dtype of their input, and together they are a complete convolutional network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from striate.errors import ShapeError
from striate.geometry import AxisMap, Pointwise

Shape = tuple[int, ...]
Array = NDArray[Any]
Weights = Mapping[str, Array]
Gradients = tuple[tuple[Array, ...], dict[str, Array]]


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """One named tensor of a layer: its role in the layer, its shape, and whether training changes it by gradient."""

    role: str
    shape: Shape
    learnable: bool = True


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One ONNX node as plain data: `inputs` and `outputs` are tensor names."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Op:
    """A layer: what it does to shapes, to receptive fields, to cost and to numbers.

    The defaults describe a layer without weights or products that treats every position alike; a layer
    overrides what differs. `kind` is its name in tables and files.
    """

    __slots__ = ()
    kind: ClassVar[str]
    arity: ClassVar[int | None] = 1  # number of inputs; None = two or more

    def out_shape(self, *inputs: Shape) -> Shape:
        """Shape of the output for one image.  Raises: ShapeError, GeometryError."""
        return inputs[0]

    def weight_specs(self) -> tuple[WeightSpec, ...]:
        """The layer's tensors, in the order of the state dict."""
        return ()

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """How each spatial axis of an output reads an input of `shape`."""
        return tuple(Pointwise() for _ in shape[1:])

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulates for one image by definition; biases and comparisons are not counted."""
        return 0

    def macs_on_pixels(self, *inputs: Shape) -> int:
        """The part of `macs` that multiplies real values; the rest multiplies zero padding."""
        return self.macs(*inputs)

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The output at test time."""
        raise NotImplementedError

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Gradients of a loss at the inputs and the weights, given its gradient at the output of `forward`."""
        raise NotImplementedError

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Bound on |computed - exact| of the output, for inputs known to within `errors`.

        unit: the unit roundoff of the arithmetic, 2^-24 for float32.

        The default is right for layers that move values without computing and are 1-Lipschitz in each.
        """
        return errors[0]

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """The layer as ONNX nodes that read `inputs` (of `shapes`) and the named `weights` and write `output`."""
        raise NotImplementedError

    def describe(self) -> str:
        """The settings that a table shows beside the kind, in the field's shorthand."""
        return ""


def rounding_growth(terms: int, unit: float) -> float:
    """gamma_n = n u / (1 - n u): relative error of a sum of `terms` products in any order.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    return terms * unit / (1 - terms * unit)


def need_maps(kind: str, shape: Shape, channels: int | None, axes: int | None = None) -> None:
    """Check that `shape` is feature maps (C, spatial...) with `channels` channels.  Raises: ShapeError."""
    if len(shape) < 2 or (axes is not None and len(shape) != axes + 1):
        wanted = "feature maps (C, H, W)" if axes in (None, 2) else f"feature maps with {axes} spatial axes"
        raise ShapeError(f"{kind} got shape {shape}, needs {wanted}; put it before the flattening")
    if channels is not None and shape[0] != channels:
        raise ShapeError(f"{kind} got {shape[0]} channels, needs {channels}; make the layer before it give {channels}")


def spread(values: Array, ndim: int) -> Array:
    """A per-channel vector (C,) reshaped to (1, C, 1, ...) so that it meets arrays of `ndim` axes."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))


def onnx_pads(kind: str, before: Sequence[int], after: Sequence[int]) -> list[int]:
    """ONNX's `pads`: all beginnings, then all ends.  Raises: ShapeError where padding crops, which ONNX forbids."""
    if min(*before, *after) < 0:
        raise ShapeError(f"{kind} with negative padding has no ONNX node; crop the images instead")
    return [*before, *after]


def span(values: Sequence[int]) -> str:
    """`3` for (3, 3), `3x5` for (3, 5)."""
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))


def describe_pads(lo: Sequence[int], hi: Sequence[int]) -> str:
    """`p1`, `p1x2`, or `p1:2` where the two sides of an axis differ; empty without padding."""
    if not any(lo) and not any(hi):
        return ""
    if tuple(lo) == tuple(hi):
        return f"p{span(lo)}"
    sides = [f"{a}:{b}" for a, b in zip(lo, hi, strict=True)]
    return f"p{sides[0]}" if len(set(sides)) == 1 else "p" + "x".join(sides)
