"""What a reduction over some axes of a moved tensor is, as layers on the tensor itself.

Axes are told apart by what they are of the tensor: some of its channels, however a reshape has split them, or its
positions, wherever a permutation has put them. Axes count without the batch: 0 is the first of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from striate.graph.moves import Moves, order_of, shape_of, then
from striate.ops import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    ChannelReduce,
    GlobalAvgPool,
    GlobalReduce,
    Op,
    Reshape,
    Shape,
)

CELLS = {"mean": AdaptiveAvgPool, "max": AdaptiveMaxPool}


def split_channels(shape: Shape, moves: Moves) -> Shape | None:
    """How the channels of a tensor of `shape` are split over the first axes of what `moves` make of it.

    Each of the rest is then an axis of positions as it was; positions of size 1 may be missing. None where the moves
    do anything else.
    """
    if not all(isinstance(op, Reshape) for op in moves):
        return None
    out, positions = shape_of(moves, shape), shape[1:]
    for kept in (positions, ()):
        split = out[: len(out) - len(kept)]
        if out[len(split) :] == kept and prod(split) == shape[0] and (kept or set(positions) <= {1}):
            return split
    return None


def reduction_over(
    shape: Shape, moves: Moves, how: str, axes: Sequence[int], *, keep: bool
) -> tuple[tuple[Op, ...], Moves] | None:
    """The layers that reduce a tensor of `shape` over `axes` of what `moves` make of it, and the moves after them.

    axes: ascending; keep: they stay, with one value each. None where no layers do it.
    """
    out = shape_of(moves, shape)
    sizes = tuple(1 if axis in axes else n for axis, n in enumerate(out) if keep or axis not in axes)
    split, order = split_channels(shape, moves), order_of(moves, shape)
    if split is not None:
        channels = [axis for axis in axes if axis < len(split)]
        positions = [axis - len(split) + 1 for axis in axes if axis >= len(split)]
    elif order is not None:
        placed = [order[axis] for axis in axes]
        split, channels, positions = shape[:1], [a for a in placed if a == 0], sorted(a for a in placed if a)
    else:
        return None
    flattens = not keep and not channels and len(positions) == len(shape) - 1
    layers: list[Op | None] = []
    if positions:
        layers.append(_of_positions(shape, how, positions, keep=not flattens))
    if channels:
        layers.append(_of_channels(shape[0], how, split, channels))
    known = tuple(op for op in layers if op is not None)
    if not known or len(known) < len(layers):
        return None
    reduced = shape_of(known, shape)
    after: Moves = moves if order is not None and not flattens else ()
    if shape_of(after, reduced) != sizes:
        after = then(after, reduced, Reshape(sizes))
    return known, after


def _of_channels(total: int, how: str, split: Shape, axes: Sequence[int]) -> Op | None:
    first, last = axes[0], axes[-1]
    if list(axes) != list(range(first, last + 1)):
        return None
    before, count = prod(split[:first]), prod(split[first : last + 1])
    return ChannelReduce(how) if count == total else ChannelReduce(how, before, count)


def _of_positions(shape: Shape, how: str, axes: Sequence[int], *, keep: bool) -> Op | None:
    if len(axes) == len(shape) - 1:
        return GlobalAvgPool(keep) if how == "mean" else GlobalReduce(how, keep)
    out = tuple(1 if axis in axes else n for axis, n in enumerate(shape[1:], start=1))
    return CELLS[how](out) if how in CELLS else None
