"""Adaptive pools with uneven cells, which ONNX spells axis by axis, as the one layer that they are.

An average is a row of products with stored matrices of shares, a maximum a row of gathered cells and their maxima. Both
are recognised by their numbers, to the bit; a matrix that the file keeps as a weight stays one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from striate.graph.onnx.constants import axes_of
from striate.graph.onnx.reading import MAX_SIDE, Reading
from striate.ops import AdaptiveAvgPool, AdaptiveMaxPool, Array, Shape
from striate.ops.adaptive_pool import places, shares

MAX_TABLE = 2**24  # numbers of a matrix that is compared


@dataclass(frozen=True, slots=True)
class _Step:
    """One axis (of the positions) pooled to `cells` by nodes of which `last` is the last."""

    axis: int
    cells: int
    last: onnx.NodeProto


def is_adaptive_average(r: Reading, node: onnx.NodeProto) -> bool:
    """Read matrix products from `node` on as an average over uneven cells; False, and nothing read, if not."""
    return _is_pool(r, node, _averaged, AdaptiveAvgPool)


def is_adaptive_maximum(r: Reading, node: onnx.NodeProto) -> bool:
    """Read Gather and ReduceMax from `node` on as a maximum over uneven cells; False, and nothing read, if not."""
    return _is_pool(r, node, _largest, AdaptiveMaxPool)


def _is_pool(
    r: Reading,
    node: onnx.NodeProto,
    step: Callable[[Reading, onnx.NodeProto, Shape], _Step | None],
    make: type[AdaptiveAvgPool | AdaptiveMaxPool],
) -> bool:
    position = next((i for i in range(len(node.input)) if r.is_value(node, i)), None)
    if position is None:
        return False
    sizes, seen, parts = r.shape(node, position)[1:], set[int](), list[onnx.NodeProto]()
    following: onnx.NodeProto | None = node
    while following is not None and (found := step(r, following, sizes)) and found.axis not in seen:
        seen.add(found.axis)
        sizes = (*sizes[: found.axis], found.cells, *sizes[found.axis + 1 :])
        parts += [following] if found.last is following else [following, found.last]
        following = r.sole_reader(found.last, node.op_type)
    if not parts:
        return False
    r.absorb(part.output[0] for part in parts[1:])
    r.emit(parts[-1], make(sizes), [r.layer(node, position)])
    return True


def _averaged(r: Reading, node: onnx.NodeProto, sizes: Shape) -> _Step | None:
    """A matrix of shares before the maps averages rows, one behind them columns."""
    for position, axis in ((0, len(sizes) - 2), (1, len(sizes) - 1)):
        matrix = r.constant(node, position)
        if matrix is None or axis < 0 or node.input[position] in r.stored or matrix.ndim != 2:
            continue
        rows = matrix if position == 0 else matrix.T
        out, size = rows.shape
        fits = size == sizes[axis] and out != size and _is_small(rows)
        if fits and np.array_equal(rows, shares(out, size).astype(rows.dtype)):
            return _Step(axis, out, node)
    return None


def _largest(r: Reading, node: onnx.NodeProto, sizes: Shape) -> _Step | None:
    """Pixels gathered cell by cell, and the largest of each cell."""
    table, axis = r.constant(node, 1), r.attribute(node, "axis", 0) - 2
    if table is None or table.ndim != 2 or not 0 <= axis < len(sizes) or not _is_small(table):
        return None
    reduction = r.sole_reader(node, "ReduceMax")
    if reduction is None or axes_of(r, reduction) != [axis + 3] or r.attribute(reduction, "keepdims", 1):
        return None
    fits = np.array_equal(table, places(len(table), sizes[axis]))
    return _Step(axis, len(table), reduction) if fits else None


def _is_small(table: Array) -> bool:
    """A file may state a table of any size as one number, without its bytes."""
    return 0 < table.size <= MAX_TABLE and len(table) <= MAX_SIDE
