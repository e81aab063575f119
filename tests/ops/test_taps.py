from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import GeometryError
from striate.geometry import Window
from striate.ops.taps import pad, slices, unpad

taps, strides, dilations, before = st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(-2, 4)
windows = st.one_of(
    st.builds(Window, taps, strides, dilations, before, st.integers(-2, 4)),
    st.builds(Window, taps, strides, dilations, before, st.integers(0, 4), st.just(True)),
)


def fits(window, size):
    try:
        return window.out_size(size) > 0 and size + min(0, window.pad_lo) + min(0, window.pad_hi) > 0
    except GeometryError:
        return False


@given(windows, windows, st.integers(1, 9), st.integers(1, 9))
def test_taps_read_what_the_windows_say(high, wide, height, width):
    if not (fits(high, height) and fits(wide, width)):
        return
    pair, sizes = (high, wide), (height, width)
    x = 1.0 + np.arange(height * width).reshape(1, 1, height, width)
    padded = pad(x, pair)
    for (_, m, n), at in slices(pair, sizes):
        pixels = padded[at][0, 0]
        assert pixels.shape == (high.out_size(height), wide.out_size(width))
        for i, j in np.ndindex(*pixels.shape):
            row, column = high.first(i) + m * high.dilation, wide.first(j) + n * wide.dilation
            read = cropped_in(high, row, height) and cropped_in(wide, column, width)
            assert pixels[i, j] == (x[0, 0, row, column] if read else 0)


def cropped_in(window, index, size):
    return max(0, -window.pad_lo) <= index < size + min(0, window.pad_hi)


@given(windows, windows, st.integers(1, 9), st.integers(1, 9))
def test_unpad_is_the_adjoint_of_pad(high, wide, height, width):
    if not (fits(high, height) and fits(wide, width)):
        return
    pair, rng = (high, wide), np.random.default_rng(height * 10 + width)
    x = rng.standard_normal((2, 3, height, width))
    there = pad(x, pair)
    y = rng.standard_normal(there.shape)
    back = unpad(y, pair, (height, width))
    assert back.shape == x.shape
    np.testing.assert_allclose((there * y).sum(), (x * back).sum(), rtol=1e-12, atol=1e-12)
