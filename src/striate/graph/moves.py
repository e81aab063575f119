"""A chain of moves (slices, reshapes, permutations) as the few layers that it amounts to.

Programs spell a channel shuffle as reshape, transpose, reshape, and a channels-last block as permute, work, permute
back. What a chain does is found by sending numbered values through it, and said in the plainest layers that move
them likewise; a chain that ends where it started is nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from math import prod

import numpy as np

from striate.errors import GeometryError, ShapeError
from striate.ops import (
    Array,
    ChannelShuffle,
    Flatten,
    Op,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Shape,
    Slice,
)

Moves = tuple[Op, ...]


def then(moves: Moves, shape: Shape, op: Op) -> Moves:
    """`moves` on a tensor of `shape`, and one more; two permutations or reshapes in a row are one.

    A slice goes before a permutation, so that a permutation of maps comes last and may wait.
    """
    if isinstance(op, Permute) and moves and isinstance(moves[-1], Permute):
        before = moves[-1].order
        moves, op = moves[:-1], Permute(tuple(before[axis] for axis in op.order))
    if isinstance(op, Slice) and moves and isinstance(moves[-1], Permute):
        order, last = moves[-1].order, moves[-1]
        parts = tuple(op.parts[order.index(axis)] for axis in range(len(order)))
        return (*then(moves[:-1], shape, Slice(parts)), last)
    if isinstance(op, Reshape):
        after = op.out_shape(shape_of(moves, shape))
        while moves and isinstance(moves[-1], Reshape):
            moves = moves[:-1]
        op = Reshape(after)
    before = shape_of(moves, shape)
    is_nothing = op == Permute(tuple(range(len(before)))) or (isinstance(op, Reshape) and op.shape == before)
    return moves if is_nothing else (*moves, op)


def shape_of(moves: Moves, shape: Shape) -> Shape:
    """The shape that a tensor of `shape` has after `moves`.  Raises: ShapeError."""
    for op in moves:
        shape = op.out_shape(shape)
    return shape


def order_of(moves: Moves, shape: Shape) -> tuple[int, ...] | None:
    """The permutation that `moves` are, or None where they are something else."""
    if not moves:
        return tuple(range(len(shape)))
    return moves[0].order if len(moves) == 1 and isinstance(moves[0], Permute) else None


def channel_group(moves: Moves, shape: Shape, axis: int) -> tuple[int, int] | None:
    """How channels (before, count, after) are split so that `axis` after `moves` counts the middle; None if it is none.

    Answers before and count. axis: of the result, without the batch.
    """
    sent = np.moveaxis(_sent(moves, shape), axis, 0).reshape(shape_of(moves, shape)[axis], -1)
    count, positions = len(sent), prod(shape[1:])
    if sent.size != prod(shape) or count < 2:
        return None
    step = int(sent[1, 0] - sent[0, 0])
    if step <= 0 or step % positions or shape[0] * positions % (step * count):
        return None
    group = sent // (step * count) * step + sent % step
    return (shape[0] * positions // (step * count), count) if (group == group[0]).all() else None


def plain(moves: Moves, shape: Shape) -> Moves:
    """The plainest layers that do to a tensor of `shape` what `moves` do."""
    if not moves:
        return ()
    out = shape_of(moves, shape)
    if all(isinstance(op, Reshape) for op in moves):
        return () if out == shape else (Flatten(),) if len(out) == 1 else (Reshape(out),)
    if len(moves) == 1 and isinstance(moves[0], Slice):
        return moves
    goal = _sent(moves, shape)
    for candidate in _candidates(shape, out, goal):
        try:
            fits = shape_of(candidate, shape) == out
        except (ShapeError, GeometryError):
            continue
        if fits and np.array_equal(_sent(candidate, shape), goal):
            return candidate
    return (*plain(moves[:-1], shape), moves[-1]) if isinstance(moves[-1], Slice) else moves


def _sent(moves: Sequence[Op], shape: Shape) -> Array:
    """Where each value of the result stood in the tensor."""
    numbered: Array = np.arange(prod(shape), dtype=np.int32).reshape(1, *shape)
    for op in moves:
        numbered = op.forward([numbered], {})
    places: Array = numbered[0]
    return places


def _candidates(shape: Shape, out: Shape, goal: Array) -> Iterator[Moves]:
    """Chains that could do it, the plainest first."""
    yield ()
    yield (Flatten(),) if len(out) == 1 else (Reshape(out),)
    if (sliced := _slice(shape, goal)) is not None:
        yield (sliced,)
    for order in permutations(range(len(shape))):
        if tuple(shape[axis] for axis in order) == out:
            yield (Permute(order),)
    if shape[1:] == out[1:] and shape[0] == out[0]:
        yield from ((ChannelShuffle(g),) for g in range(2, shape[0]) if shape[0] % g == 0)
    if len(shape) == len(out) == 3:
        yield from _blocks(shape, out)
    if len(out) == 1:
        yield from ((Permute(order), Flatten()) for order in permutations(range(len(shape))))


def _blocks(shape: Shape, out: Shape) -> Iterator[Moves]:
    """Blocks of pixels to channels and back, block by block or channel by channel."""
    factor = max(shape[1] // max(1, out[1]), out[1] // max(1, shape[1]))
    if shape[1] > out[1]:
        yield (PixelUnshuffle(factor),)
        yield PixelUnshuffle(factor), ChannelShuffle(shape[0])
    elif shape[1] < out[1]:
        yield (PixelShuffle(factor),)
        yield ChannelShuffle(factor**2), PixelShuffle(factor)


def _slice(shape: Shape, goal: Array) -> Slice | None:
    """The slice that reads what `goal` reads along each of its axes, if it can be one."""
    if goal.ndim != len(shape) or goal.size == 0:
        return None
    parts = []
    for axis, size in enumerate(shape):
        along = np.moveaxis(goal, axis, 0).reshape(goal.shape[axis], -1)[:, 0]
        places = np.unravel_index(along, shape)[axis]
        step = int(places[1] - places[0]) if len(places) > 1 else 1
        if step < 1:
            return None
        start, stop = int(places[0]), int(places[-1]) + 1
        parts.append(
            (start or None, None if stop > size - step and len(range(start, size, step)) == len(places) else stop, step)
        )
    return Slice(tuple(parts))
