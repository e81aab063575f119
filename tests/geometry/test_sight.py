from __future__ import annotations

from functools import reduce

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.errors import GeometryError
from striate.geometry import Adaptive, Pointwise, Sight, Transposed, Whole, Window

pads = st.integers(0, 3)
small_windows = st.builds(Window, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), pads, pads, st.booleans())
small_transposed = st.builds(
    Transposed, st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 1), st.integers(0, 1), pads
)
axes = st.one_of(
    small_windows, small_windows, small_transposed, st.builds(Adaptive, st.integers(1, 6)), st.just(Whole())
)


def apply(axis, x):
    """The layer along one axis in torch with every weight 1 (N, 1, n): independent of striate's own sizes."""
    if isinstance(axis, Pointwise):
        return x
    if isinstance(axis, Whole):
        return x.sum(dim=2, keepdim=True)
    if isinstance(axis, Adaptive):
        return F.adaptive_avg_pool1d(x, axis.out)
    ones = torch.ones(1, 1, axis.kernel, dtype=x.dtype)
    if isinstance(axis, Transposed):
        full = F.conv_transpose1d(x, ones, stride=axis.stride, dilation=axis.dilation)
        return F.pad(full, (-axis.pad_lo, axis.extra - axis.pad_hi))
    padded = F.pad(x, (axis.pad_lo, axis.pad_hi + axis.stride - 1))  # room for one window more
    y = F.conv1d(padded, ones, stride=axis.stride, dilation=axis.dilation)
    last = (y.shape[2] - 1) * axis.stride - axis.pad_lo
    overhangs = last + axis.extent > x.shape[2] + axis.pad_hi
    return y[:, :, :-1] if overhangs and not (axis.ceil_mode and last < x.shape[2]) else y


def reached(output, x, unit):
    """The pixels at which the gradient of one output unit is not zero; weights are positive, so none cancel."""
    (grad,) = torch.autograd.grad(output[0, 0, unit], x, retain_graph=True)
    return grad[0, 0].nonzero().flatten().tolist()


def bits(mask):
    return [p for p in range(mask.bit_length()) if mask >> p & 1]


def sight_or_none(chain, sight):
    for axis in chain:
        try:
            axis.out_size(len(sight))
        except GeometryError:
            return None
        sight = sight.through(axis)
    return sight


@settings(max_examples=200)
@given(st.lists(axes, min_size=1, max_size=4), st.integers(1, 17))
def test_a_chain_sees_the_pixels_that_a_gradient_reaches(chain, image):
    sight = sight_or_none(chain, Sight.of_image(image))
    if sight is None:
        return
    x = torch.ones(1, 1, image, dtype=torch.float64, requires_grad=True)
    y = reduce(lambda value, axis: apply(axis, value), chain, x)
    assert len(sight) == y.shape[2]
    for unit in range(len(sight)):
        assert bits(sight.pixels(unit)) == reached(y, x, unit)


@settings(max_examples=100)
@given(st.lists(axes, min_size=1, max_size=4), st.integers(1, 17))
def test_a_chain_sees_the_pixels_whose_nan_arrives(chain, image):
    sight = sight_or_none(chain, Sight.of_image(image))
    if sight is None:
        return
    probes = torch.ones(image, 1, image, dtype=torch.float64)
    probes[range(image), 0, range(image)] = torch.nan  # image p has its pixel p poisoned
    poisoned = reduce(lambda value, axis: apply(axis, value), chain, probes)[:, 0].isnan()  # (pixel, unit)
    for unit in range(len(sight)):
        assert bits(sight.pixels(unit)) == poisoned[:, unit].nonzero().flatten().tolist()
    assert sight.unread() == tuple((~poisoned.any(dim=1)).nonzero().flatten().tolist())


@settings(max_examples=150)
@given(st.lists(axes, max_size=2), small_windows, small_windows, st.lists(axes, max_size=2), st.integers(3, 17))
def test_merged_branches_see_what_either_does(trunk, left, right, tail, image):
    stem = sight_or_none(trunk, Sight.of_image(image))
    if stem is None:
        return
    a, b = sight_or_none([left], stem), sight_or_none([right], stem)
    if a is None or b is None:
        return
    if len(a) != len(b):
        with pytest.raises(GeometryError) as fault:
            a.union(b)
        assert str(fault.value) == (f"branches of {len(a)} and {len(b)} units cannot be merged; make their sizes equal")
        return
    sight = sight_or_none(tail, a.union(b))
    if sight is None:
        return
    x = torch.ones(1, 1, image, dtype=torch.float64, requires_grad=True)
    before = reduce(lambda value, axis: apply(axis, value), trunk, x)
    y = reduce(lambda value, axis: apply(axis, value), tail, apply(left, before) + apply(right, before))
    for unit in range(len(sight)):
        assert bits(sight.pixels(unit)) == reached(y, x, unit)


@given(st.lists(small_windows, min_size=1, max_size=4), st.integers(1, 17))
def test_padding_contact_is_what_a_nan_in_the_padding_reaches(chain, image):
    sight = sight_or_none(chain, Sight.of_image(image))
    if sight is None:
        return
    poisoned = [padding_contact(chain, image, side) for side in (0, 1)]
    for unit in range(len(sight)):
        assert list(sight.touches_padding(unit)) == [one[unit] for one in poisoned]


def padding_contact(chain, image, side):
    """Which outputs become NaN when every pixel of padding on one side of every layer is NaN."""
    x = torch.zeros(1, 1, image, dtype=torch.float64)
    for axis in chain:
        wide = axis.extent + axis.stride
        x = F.pad(x, (axis.pad_lo, 0), value=torch.nan if side == 0 else 0.0)
        x = F.pad(x, (0, axis.pad_hi + wide), value=torch.nan if side == 1 else 0.0)
        y = F.conv1d(x, torch.ones(1, 1, axis.kernel, dtype=x.dtype), stride=axis.stride, dilation=axis.dilation)
        x = y[:, :, : axis.out_size(x.shape[2] - wide - axis.pad_lo - axis.pad_hi)]
    return x[0, 0].isnan().tolist()


def test_dilation_leaves_holes_and_stride_leaves_pixels_unread():
    sight = Sight.of_image(9).through(Window(3, dilation=2))
    assert bits(sight.pixels(0)) == [0, 2, 4]
    assert sight.interval(0) == (0, 4)
    assert sight.unread() == ()
    assert Sight.of_image(8).through(Window(1, stride=2)).unread() == (1, 3, 5, 7)
    assert Sight.of_image(8).through(Window(3, stride=3)).unread() == (6, 7)


def test_a_unit_in_padding_alone_sees_nothing():
    sight = Sight.of_image(2).through(Window(2, pad_lo=2, pad_hi=3))
    assert [sight.interval(unit) for unit in range(len(sight))] == [None, (0, 0), (0, 1), (1, 1), None, None]
    assert sight.touches_padding(0) == (True, False)
    assert sight.touches_padding(2) == (False, False)
    assert sight.touches_padding(5) == (False, True)


def test_contact_with_padding_is_remembered_through_later_layers():
    sight = Sight.of_image(7).through(Window(3, pad_lo=1, pad_hi=1)).through(Window(3))
    assert [sight.touches_padding(unit) for unit in range(5)] == [
        (True, False),
        (False, False),
        (False, False),
        (False, False),
        (False, True),
    ]
    assert sight.through(Whole()).touches_padding(0) == (True, True)


def test_pointwise_layers_and_equal_branches_cost_nothing():
    sight = Sight.of_image(7).through(Window(3))
    assert sight.through(Pointwise()) is sight
    assert sight.union(Sight.of_image(7).through(Window(3))) is sight
