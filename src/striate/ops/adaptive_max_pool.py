"""Maximum pooling to a stated output size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import Adaptive, AxisMap, Whole
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, need_maps, span
from striate.ops.pool import MaxPool

Cell = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class AdaptiveMaxPool(Op):
    """Largest value of each cell, the cells being those of `AdaptiveAvgPool`."""

    kind: ClassVar[str] = "adaptive_max_pool"
    out: tuple[int, ...]

    def __post_init__(self) -> None:
        self._cells()  # raises where an output is no size

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C, *out)."""
        (shape,) = inputs
        need_maps(self.kind, shape, None, len(self.out))
        return (shape[0], *self.out)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The adaptive cells; an axis with one of them is read whole."""
        return tuple(Whole() if cells.out == 1 else cells for cells in self._cells())

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Maximum of each cell."""
        (x,) = inputs
        y = np.empty((*x.shape[:2], *self.out), x.dtype)
        for unit in np.ndindex(*self.out):
            y[(..., *unit)] = x[self._cell(unit, x.shape)].max(axis=tuple(range(2, x.ndim)))
        return y

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """The gradient of a cell goes to its first maximum, row by row."""
        (x,) = inputs
        dx = np.zeros_like(x)
        for unit in np.ndindex(*self.out):
            cell = self._cell(unit, x.shape)
            rows = x[cell].reshape(*x.shape[:2], -1)
            first = np.arange(rows.shape[2]) == rows.argmax(axis=2)[..., None]
            dx[cell] += (first * grad[(..., *unit, None)]).reshape(x[cell].shape)
        return (dx,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The largest error of the cell: max is 1-Lipschitz."""
        return self.forward(errors, weights)

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """A MaxPool of the same cells.  Raises: ShapeError where the cells are uneven, which ONNX cannot say."""
        windows = [cells.as_window(n) for cells, n in zip(self._cells(), shapes[0][1:], strict=True)]
        if any(w is None for w in windows):
            raise ShapeError(
                f"{self.kind} from {shapes[0][1:]} to {self.out} has uneven cells and no ONNX node; "
                "use an input whose size is a multiple"
            )
        return MaxPool(tuple(w for w in windows if w is not None)).to_onnx(inputs, output, weights, shapes)

    def describe(self) -> str:
        """`to 7`."""
        return f"to {span(self.out)}"

    def _cells(self) -> tuple[Adaptive, ...]:
        return tuple(Adaptive(n) for n in self.out)

    def _cell(self, unit: Sequence[int], shape: Shape) -> Cell:
        reads = [cells.reads(i, n) for cells, i, n in zip(self._cells(), unit, shape[2:], strict=True)]
        return (slice(None), slice(None), *(slice(r.start, r.stop) for r in reads))
