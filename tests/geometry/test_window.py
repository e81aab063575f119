from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import GeometryError
from striate.geometry import Adaptive, Pointwise, Transposed, Whole, Window, per_axis

windows = st.builds(
    Window,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 4),
    pad_lo=st.integers(0, 6),
    pad_hi=st.integers(0, 6),
    ceil_mode=st.booleans(),
)
sizes = st.integers(1, 23)


def starts(window: Window, size: int) -> list[int]:
    """Where windows stand, by definition: from -pad_lo in steps of the stride, for as long as the next is legal."""
    found, first, end = [], -window.pad_lo, size + window.pad_hi
    while True:
        fits = first + window.extent <= end
        rest = first + window.extent - window.stride < end  # the window before left something over
        if not fits and not (window.ceil_mode and rest and first < size):
            return found
        found.append(first)
        first += window.stride


def taps(window: Window, first: int) -> list[int]:
    return [first + window.dilation * m for m in range(window.kernel)]


@given(windows, sizes)
def test_everything_about_a_window_is_its_definition(window, size):
    expected = starts(window, size)
    if not expected:
        with pytest.raises(GeometryError):
            window.out_size(size)
        return
    assert window.out_size(size) == len(expected)
    for i, first in enumerate(expected):
        assert window.first(i) == first
        assert list(window.reads(i, size)) == [t for t in taps(window, first) if 0 <= t < size]
        before, after = window.reads_padding(i, size)
        assert before == any(t < 0 for t in taps(window, first))
        assert after == any(t >= size for t in taps(window, first))
    real = [t for first in expected for t in taps(window, first) if 0 <= t < size]
    assert window.taps_inside(size) == len(real)
    last_read = max(taps(window, expected[-1]))
    assert window.unread_at_end(size) == sum(p > last_read for p in range(size))


@given(windows.filter(lambda w: not w.ceil_mode), sizes)
def test_the_remainder_eats_right_padding_before_the_image(window, size):
    room = size + window.pad_lo + window.pad_hi - window.extent
    if room < 0 or window.first(room // window.stride) + window.extent < 0:
        return  # no window, or the last one lies before the image altogether
    assert window.unread_at_end(size) == max(0, room % window.stride - window.pad_hi)


def test_negative_padding_crops():
    window = Window(3, stride=2, pad_lo=-1, pad_hi=-2)
    x = torch.arange(11.0).reshape(1, 1, 11)
    cropped = F.pad(x, (-1, -2))
    expected = cropped.unfold(2, 3, 2)[0, 0].long().tolist()
    assert [list(window.reads(i, 11)) for i in range(window.out_size(11))] == expected
    assert window.unread_at_end(11) == 3  # two cropped, one more by the stride


def test_output_sizes_are_those_of_torch_for_every_small_convolution():
    for size, kernel, stride, dilation, pad in product(range(1, 10), range(1, 5), (1, 2, 3), (1, 2, 3), range(4)):
        window = Window(kernel, stride, dilation, pad, pad)
        x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
        try:
            expected = F.conv1d(x, weight, stride=stride, dilation=dilation, padding=pad).shape[2]
        except RuntimeError:
            expected = None
        assert out_size_or_none(window, size) == expected, window


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_output_sizes_are_those_of_torch_for_every_small_pool(ceil_mode):
    for size, kernel, stride, dilation in product(range(1, 10), range(1, 6), range(1, 5), (1, 2, 3)):
        for pad in range(kernel // 2 + 1):
            window = Window(kernel, stride, dilation, pad, pad, ceil_mode)
            expected = [torch_pool_size(F.max_pool1d, size, window, dilation=dilation)]
            if dilation == 1:
                expected.append(torch_pool_size(F.avg_pool1d, size, window))
            for one in expected:
                assert out_size_or_none(window, size) == one, (window, size)


def torch_pool_size(pool, size, window, **settings):
    x = torch.zeros(1, 1, size)
    try:
        y = pool(x, window.kernel, window.stride, window.pad_lo, ceil_mode=window.ceil_mode, **settings)
    except RuntimeError:
        return None
    return y.shape[2]


def out_size_or_none(window, size):
    try:
        return window.out_size(size)
    except GeometryError:
        return None


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"kernel": 0}, "kernel=0 is not a window; use a whole number of at least 1"),
        ({"kernel": 3, "stride": 0}, "stride=0 is not a window; use a whole number of at least 1"),
        ({"kernel": 3, "dilation": -2}, "dilation=-2 is not a window; use a whole number of at least 1"),
    ],
)
def test_numbers_that_cannot_be_a_window_are_named(numbers, message):
    for kind in (Window, Transposed):
        with pytest.raises(GeometryError) as fault:
            kind(**numbers)
        assert str(fault.value) == message


def test_a_crop_at_the_end_excludes_an_overhang():
    with pytest.raises(GeometryError) as fault:
        Window(3, stride=2, pad_hi=-1, ceil_mode=True)
    assert str(fault.value) == (
        "pad_hi=-1 with ceil_mode: the overhang would read what is cropped; use ceil_mode=False"
    )


def test_a_window_that_does_not_fit_says_what_would():
    with pytest.raises(GeometryError) as fault:
        Window(5, dilation=2, pad_lo=1, pad_hi=2).out_size(5)
    assert str(fault.value) == "a window of 9 px does not fit 5 px padded by 1 and 2; the input must be at least 6 px"
    assert Window(5, dilation=2, pad_lo=1, pad_hi=2).out_size(6) == 1


@given(st.integers(1, 12), sizes)
def test_adaptive_cells_are_the_pixels_that_torch_averages(out, size):
    axis = Adaptive(out)
    x = torch.eye(size, dtype=torch.float64).reshape(size, 1, size)  # image p is hot at pixel p alone
    weight = F.adaptive_avg_pool1d(x, out)[:, 0]  # (pixel, output): the share of the pixel
    assert axis.out_size(size) == weight.shape[1]
    for i in range(out):
        assert list(axis.reads(i, size)) == weight[:, i].nonzero().flatten().tolist()
        assert axis.reads_padding(i, size) == (False, False)
    window = axis.as_window(size)
    if size % out:
        assert window is None
    else:
        assert [window.reads(i, size) for i in range(out)] == [axis.reads(i, size) for i in range(out)]


def test_adaptive_needs_an_output():
    with pytest.raises(GeometryError) as fault:
        Adaptive(0)
    assert str(fault.value) == "an adaptive output of 0 units is not possible; use a whole number of at least 1"


def test_transposed_windows_are_those_of_torch_for_every_small_case():
    grid = product(range(1, 6), range(1, 5), (1, 2, 3), (1, 2), range(3), (0, 1))
    for size, kernel, stride, dilation, pad, extra in grid:
        if extra >= max(stride, dilation):
            continue  # torch refuses it
        axis = Transposed(kernel, stride, dilation, pad, pad, extra)
        hot = torch.eye(size, dtype=torch.float64).reshape(size, 1, size)
        ones = torch.ones(1, 1, kernel, dtype=torch.float64)
        try:
            y = F.conv_transpose1d(hot, ones, stride=stride, dilation=dilation, padding=pad, output_padding=extra)[:, 0]
        except RuntimeError:
            with pytest.raises(GeometryError):
                axis.out_size(size)
            continue
        assert axis.out_size(size) == y.shape[1]
        for i in range(y.shape[1]):
            assert axis.reads(i, size) == y[:, i].nonzero().flatten().tolist(), (axis, size, i)


transposed = st.builds(
    Transposed,
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    pad_lo=st.integers(0, 3),
    pad_hi=st.integers(0, 3),
    extra=st.integers(0, 2),
)


@given(transposed, sizes)
def test_transposed_reads_and_padding_by_definition(axis, size):
    try:
        out = axis.out_size(size)
    except GeometryError:
        return
    everywhere = range(-60, size + 60)
    for i in range(out):
        sources = [
            j for j in everywhere for m in range(axis.kernel) if i == axis.stride * j - axis.pad_lo + axis.dilation * m
        ]
        assert axis.reads(i, size) == [j for j in sources if 0 <= j < size]
        assert axis.reads_padding(i, size) == (any(j < 0 for j in sources), any(j >= size for j in sources))


def test_a_transposed_window_that_leaves_nothing_says_so():
    with pytest.raises(GeometryError) as fault:
        Transposed(2, stride=2, pad_lo=2, pad_hi=1).out_size(1)
    assert str(fault.value) == "a transposed window of 2 px on 1 px leaves -1 px; use less padding"


@given(sizes)
def test_pointwise_and_whole(size):
    assert Pointwise().out_size(size) == size
    assert [list(Pointwise().reads(i, size)) for i in range(size)] == [[i] for i in range(size)]
    assert Whole().out_size(size) == 1
    assert Whole().reads(0, size) == range(size)
    assert {axis.reads_padding(0, size) for axis in (Pointwise(), Whole())} == {(False, False)}


def test_per_axis_repeats_an_int_and_counts_a_sequence():
    assert per_axis(3, 2, "stride") == (3, 3)
    assert per_axis([5, 7], 2, "stride") == (5, 7)
    with pytest.raises(GeometryError) as fault:
        per_axis((5, 7, 9), 2, "stride")
    assert str(fault.value) == "stride: expected 1 or 2 values (one per axis), got 3: (5, 7, 9)"
