"""Pooling to a stated output size on each axis, whatever the input's.

Output i of m reads the cell [floor(i n / m), ceil((i + 1) n / m)) of n px. Where m divides n, that is a pooling with
windows. Where it does not, cells have two lengths and may overlap; ONNX then takes one axis after the other:

    average:  y = R x C^T;   R[i, p] = 1 / (px of cell i) for its pixels, else 0;   C likewise for the columns
    maximum:  y[i] = max over j of x[I[i, j]];   I: the pixels of cell i, the last again and again in shorter cells
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, ClassVar

import numpy as np

from striate.errors import ShapeError
from striate.geometry import Adaptive, AxisMap, Whole, Window
from striate.ops.base import Array, Gradients, OnnxNode, Op, Shape, Weights, need_maps, rounding_growth, span
from striate.ops.moving import integers
from striate.ops.pool import AvgPool, MaxPool

Index = tuple[Any, ...]


def shares(out: int, size: int) -> Array:
    """The share of each pixel in the average of each cell.  Shape (out, size); each row adds up to 1."""
    rows = np.zeros((out, size))
    for i in range(out):
        cell = Adaptive(out).reads(i, size)
        rows[i, cell.start : cell.stop] = 1 / len(cell)
    return rows


def places(out: int, size: int) -> Array:
    """The pixels of each cell, the last again where others are longer.  Shape (out, longest cell)."""
    cells = [Adaptive(out).reads(i, size) for i in range(out)]
    longest = max(map(len, cells))
    return np.array([[min(cell.start + j, cell.stop - 1) for j in range(longest)] for cell in cells])


@dataclass(frozen=True, slots=True)
class _AdaptivePool(Op):
    """What average and maximum share: the cells, and their ONNX form where they are windows."""

    out: tuple[int, ...]

    def __post_init__(self) -> None:
        self._axes()  # raises where an output is no size

    def out_shape(self, *inputs: Shape) -> Shape:
        """(C, *out)."""
        (shape,) = inputs
        need_maps(self.kind, shape, None, len(self.out))
        return (shape[0], *self.out)

    def axis_maps(self, shape: Shape) -> tuple[AxisMap, ...]:
        """The adaptive cells; an axis with one of them is read whole."""
        return tuple(Whole() if axis.out == 1 else axis for axis in self._axes())

    def forward(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """Cell by cell."""
        (x,) = inputs
        y = np.empty((*x.shape[:2], *self.out), x.dtype)
        for unit, cell in self._cells(x.shape):
            y[unit] = self._of_cell(x[cell])
        return y

    def to_onnx(
        self, inputs: Sequence[str], output: str, weights: Mapping[str, str], shapes: Sequence[Shape]
    ) -> list[OnnxNode]:
        """A pooling with the same windows; where cells are uneven, one axis after the other."""
        sizes = shapes[0][1:]
        windows = [axis.as_window(n) for axis, n in zip(self._axes(), sizes, strict=True)]
        even = tuple(w for w in windows if w is not None)
        if len(even) == len(windows):
            return self._with_windows(even).to_onnx(inputs, output, weights, shapes)
        changed = [axis for axis, (m, n) in enumerate(zip(self.out, sizes, strict=True)) if m != n]
        tensors = pairwise([inputs[0], *(f"{output}.axis{axis}" for axis in changed[:-1]), output])
        steps = (self._along(axis, sizes, *ends) for axis, ends in zip(changed, tensors, strict=True))
        return [piece for step in steps for piece in step]

    def describe(self) -> str:
        """`to 7`."""
        return f"to {span(self.out)}"

    def _axes(self) -> tuple[Adaptive, ...]:
        return tuple(Adaptive(n) for n in self.out)

    def _cells(self, shape: Shape) -> Iterator[tuple[Index, Index]]:
        """For each unit, its index in the output and that of its cell in the input (N, C, H, W) of `shape`."""
        for unit in np.ndindex(*self.out):
            reads = [axis.reads(i, n) for axis, i, n in zip(self._axes(), unit, shape[2:], strict=True)]
            yield (..., *unit), (slice(None), slice(None), *(slice(r.start, r.stop) for r in reads))

    def _of_cell(self, values: Array) -> Array:
        """What becomes of a cell (N, C, ...): (N, C)."""
        raise NotImplementedError

    def _with_windows(self, windows: tuple[Window, ...]) -> Op:
        """The pooling with windows that does the same."""
        raise NotImplementedError

    def _along(self, axis: int, sizes: Shape, source: str, target: str) -> list[OnnxNode]:
        """Nodes that pool one axis of maps of `sizes`, axes before it being pooled already."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool(_AdaptivePool):
    """Average of each cell.

    With uneven cells the ONNX form multiplies pixels outside a cell by 0, so it takes finite maps for granted.
    """

    kind: ClassVar[str] = "adaptive_avg_pool"

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """Every pixel of a cell receives an equal share."""
        (x,) = inputs
        dx = np.zeros_like(x)
        for unit, cell in self._cells(x.shape):
            share = grad[unit] / prod(dx[cell].shape[2:])
            dx[cell] += share.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
        return (dx,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """Mean over the cell of e + gamma (|x| + e).

        Axis by axis, each share is rounded, multiplied, and added to fewer others than the axis has pixels.
        """
        sizes = inputs[0].shape[2:]
        growth = rounding_growth(prod(sizes) + 2 * len(sizes), unit)
        return self.forward([errors[0] + growth * (np.abs(inputs[0]) + errors[0])], weights)

    def _of_cell(self, values: Array) -> Array:
        mean: Array = values.mean(axis=tuple(range(2, values.ndim)))
        return mean

    def _with_windows(self, windows: tuple[Window, ...]) -> Op:
        return AvgPool(windows)

    def _along(self, axis: int, sizes: Shape, source: str, target: str) -> list[OnnxNode]:
        """A matrix product: R x for the last axis but one, x C^T for the last.  Raises: ShapeError on one before."""
        matrix = shares(self.out[axis], sizes[axis])
        values, shape, name = f"{target}.shares", f"{target}.shape", f"{target}.matrix"
        match len(sizes) - axis:
            case 1:
                matrix, operands = matrix.T, (source, name)
            case 2:
                operands = (name, source)
            case _:
                raise ShapeError(
                    f"{self.kind} from {sizes} to {self.out} has uneven cells, and ONNX takes these on the last two "
                    "axes alone; use an input whose size is a multiple, or a global pool"
                )
        return [
            OnnxNode("Constant", (), (values,), {"value_floats": matrix.ravel().tolist()}),
            integers(shape, matrix.shape),
            OnnxNode("Reshape", (values, shape), (name,)),
            OnnxNode("MatMul", operands, (target,)),
        ]


@dataclass(frozen=True, slots=True)
class AdaptiveMaxPool(_AdaptivePool):
    """Largest value of each cell."""

    kind: ClassVar[str] = "adaptive_max_pool"

    def backward(self, grad: Array, inputs: Sequence[Array], output: Array, weights: Weights) -> Gradients:
        """The gradient of a cell goes to its first maximum, row by row."""
        (x,) = inputs
        dx = np.zeros_like(x)
        for unit, cell in self._cells(x.shape):
            rows = x[cell].reshape(*x.shape[:2], -1)
            first = np.arange(rows.shape[2]) == rows.argmax(axis=2)[..., None]
            dx[cell] += (first * grad[unit][..., None]).reshape(x[cell].shape)
        return (dx,), {}

    def error_bound(
        self, inputs: Sequence[Array], errors: Sequence[Array], output: Array, weights: Weights, unit: float
    ) -> Array:
        """The largest error of the cell: max is 1-Lipschitz."""
        return self.forward(errors, weights)

    def _of_cell(self, values: Array) -> Array:
        largest: Array = values.max(axis=tuple(range(2, values.ndim)))
        return largest

    def _with_windows(self, windows: tuple[Window, ...]) -> Op:
        return MaxPool(windows)

    def _along(self, axis: int, sizes: Shape, source: str, target: str) -> list[OnnxNode]:
        """The pixels of every cell side by side on an axis of their own, which is then reduced."""
        table = places(self.out[axis], sizes[axis])
        names = [f"{target}.{what}" for what in ("pixels", "shape", "places", "cells", "over")]
        pixels, shape, indices, cells, over = names
        return [
            integers(pixels, table.ravel().tolist()),
            integers(shape, table.shape),
            OnnxNode("Reshape", (pixels, shape), (indices,)),
            OnnxNode("Gather", (source, indices), (cells,), {"axis": axis + 2}),
            integers(over, [axis + 3]),
            OnnxNode("ReduceMax", (cells, over), (target,), {"keepdims": 0}),
        ]
