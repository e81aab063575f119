"""Chains of moves: the plain layers do what the chain does, chains that cancel are nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.graph.moves import channel_group, order_of, plain, shape_of, then
from striate.ops import ChannelShuffle, Flatten, Permute, PixelShuffle, PixelUnshuffle, Reshape, Slice

SHAPE = (6, 4, 10)
ALL = (None, None, 1)


def sent(moves, shape):
    x = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    for op in moves:
        x = op.forward([x], {})
    return x


def chain(*ops, shape=SHAPE):
    moves = ()
    for op in ops:
        moves = then(moves, shape, op)
    return moves


@st.composite
def chains(draw):
    """Up to five moves, each legal after those before it."""
    shape, ops = draw(st.sampled_from([SHAPE, (12, 3), (8,)])), []
    start = shape
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["reshape", "permute", "slice"]))
        if kind == "permute":
            op = Permute(tuple(draw(st.permutations(range(len(shape))))))
        elif kind == "slice":
            parts = [(draw(st.integers(0, n - 1)) or None, None, draw(st.integers(1, 2))) for n in shape]
            op = Slice(tuple(parts))
        else:
            total = int(np.prod(shape))
            cuts = sorted({1, total, *draw(st.lists(st.sampled_from(divisors(total)), max_size=3))})
            nested = [c for i, c in enumerate(cuts) if all(c % before == 0 for before in cuts[:i])]
            sizes = [b // a for a, b in pairwise([1, *nested])] if nested[-1] == total else [total]
            op = Reshape(tuple(draw(st.permutations(sizes))))
        ops.append(op)
        shape = op.out_shape(shape)
    return start, ops


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


@given(chains())
@settings(max_examples=150, deadline=None)
def test_plain_layers_move_values_as_the_chain_does(drawn):
    shape, ops = drawn
    moves = chain(*ops, shape=shape)
    want = sent(ops, shape)
    assert shape_of(moves, shape) == want.shape[1:]
    np.testing.assert_array_equal(sent(moves, shape), want)
    simple = plain(moves, shape)
    np.testing.assert_array_equal(sent(simple, shape), want)
    assert len(simple) <= max(len(moves), 1)


@pytest.mark.parametrize(
    ("ops", "layers"),
    [
        ([Permute((1, 2, 0)), Permute((2, 0, 1))], ()),
        ([Reshape((6, 40)), Reshape(SHAPE)], ()),
        ([Reshape((240,))], (Flatten(),)),
        ([Reshape((6, 40)), Reshape((12, 20))], (Reshape((12, 20)),)),
        ([Reshape((3, 2, 4, 10)), Permute((1, 0, 2, 3)), Reshape(SHAPE)], (ChannelShuffle(3),)),
        ([Reshape((6, 2, 2, 5, 2)), Permute((0, 2, 4, 1, 3)), Reshape((24, 2, 5))], (PixelUnshuffle(2),)),
        ([Reshape((2, 3, 1, 4, 10)), Reshape((6, 4, 10))], ()),
        ([Slice(((0, 4, 1), ALL, ALL))], (Slice(((None, 4, 1), ALL, ALL)),)),
    ],
)  # fmt: skip
def test_what_programs_spell_in_several_moves_is_one_layer(ops, layers):
    found = plain(chain(*ops), SHAPE)
    assert [type(op) for op in found] == [type(op) for op in layers]
    np.testing.assert_array_equal(sent(found, SHAPE), sent(layers, SHAPE))


def test_pixel_shuffle_by_hand():
    ops = [Reshape((2, 3, 3, 4, 10)), Permute((0, 3, 1, 4, 2)), Reshape((2, 12, 30))]
    shape = (18, 4, 10)
    assert plain(chain(*ops, shape=shape), shape) == (PixelShuffle(3),)


def test_a_slice_goes_before_a_permutation_which_stays_last():
    moves = chain(Permute((1, 2, 0)), Slice(((None, None, 1), (1, None, 2), (2, 5, 1))))
    assert moves == (Slice(((2, 5, 1), (None, None, 1), (1, None, 2))), Permute((1, 2, 0)))
    assert order_of(moves, SHAPE) is None
    assert order_of(moves[1:], SHAPE) == (1, 2, 0)
    assert order_of((), SHAPE) == (0, 1, 2)


@pytest.mark.parametrize(
    ("ops", "shape", "axis", "group"),
    [
        ([Reshape((2, 3, 4, 10))], SHAPE, 1, (2, 3)),
        ([Reshape((2, 3, 4, 10))], SHAPE, 0, (1, 2)),
        ([Reshape((2, 3, 4, 10)), Permute((1, 0, 2, 3))], SHAPE, 0, (2, 3)),
        ([Permute((1, 2, 0))], SHAPE, 2, (1, 6)),
        ([Permute((1, 2, 0))], SHAPE, 1, None),
        ([Reshape((1, 2, 15)), Permute((1, 0, 2))], (30,), 0, (1, 2)),
        ([Reshape((3, 2, 5)), Permute((2, 0, 1))], (30,), 2, (3, 2)),
        ([Slice(((1, None, 1), (None, None, 1), (None, None, 1)))], SHAPE, 0, None),
    ],
)
def test_which_channels_an_axis_counts(ops, shape, axis, group):
    assert channel_group(chain(*ops, shape=shape), shape, axis) == group
