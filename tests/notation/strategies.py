"""Random notations: any that can be written, and those that also build on a given input."""

from __future__ import annotations

from math import gcd

from hypothesis import strategies as st

from striate.geometry import Window
from striate.notation.syntax import WORDS, Convolution, Dense, Depthwise, Norm, Repeat, Residual, default_pad
from striate.ops import Activation, AdaptiveAvgPool, AvgPool, BlurPool, Dropout, Flatten, GlobalAvgPool, MaxPool
from striate.ops.conv import divisors

biases = st.sampled_from([None, True, False])


@st.composite
def conv_axes(draw, most_dilation=3):
    """One axis of a convolution, padded by default where it can be, or at will."""
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, most_dilation))
    pad = default_pad(kernel, dilation)
    lo, hi = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    if pad is not None and draw(st.booleans()):
        lo = hi = pad
    return Window(kernel, draw(st.integers(1, 3)), dilation, lo, hi)


@st.composite
def pool_axes(draw, most_dilation=3):
    kernel, d = draw(st.integers(1, 4)), draw(st.integers(1, most_dilation))
    most = (d * (kernel - 1) + 1) // 2
    stride = draw(st.one_of(st.just(kernel), st.integers(1, 3)))
    return Window(kernel, stride, d, draw(st.integers(0, most)), draw(st.integers(0, most)))


def two(axes):
    """Both axes alike, or each its own."""
    return st.one_of(axes.map(lambda w: (w, w)), st.tuples(axes, axes))


layers = st.one_of(
    st.sampled_from(list(WORDS.values())),
    st.builds(Convolution, st.integers(1, 999), two(conv_axes()), st.integers(1, 64), biases),
    st.builds(Depthwise, two(conv_axes()), biases),
    st.builds(Dense, st.integers(1, 5000), biases),
    st.builds(MaxPool, two(pool_axes())),
    st.builds(AvgPool, two(pool_axes(1))),
    st.builds(BlurPool, two(conv_axes(1))),
    st.builds(AdaptiveAvgPool, two(st.integers(1, 9))),
    st.builds(Dropout, st.floats(0, 1, exclude_max=True)),
)


def _chains(items):
    return st.lists(items, min_size=1, max_size=4).map(tuple)


def _groups(items):
    chains = _chains(items)
    return st.one_of(
        st.builds(Repeat, st.integers(1, 4), chains),
        st.builds(Residual, chains),
        st.builds(Residual, chains, chains),
    )


chains = _chains(st.recursive(layers, _groups, max_leaves=12))
"""Anything that can be written, whether or not its shapes fit."""


@st.composite
def buildable(draw, depth=2):
    """(chain, input shape) whose shapes fit: maps of at least 2 channels, a vector at the end or not."""
    shape = (draw(st.integers(2, 5)), draw(st.integers(7, 13)), draw(st.integers(6, 11)))
    items, _ = draw(_maps(shape, depth))
    head = draw(st.sampled_from([(), (GlobalAvgPool(),), (Flatten(),), (AdaptiveAvgPool((2, 3)), Flatten())]))
    tail = draw(st.sampled_from([(), (Dense(7),), (Dense(11, True), Norm(), Activation("tanh"), Dense(3, False))]))
    return (*items, *head, *(tail if head else ())), shape


def _keeping(channels):
    same = Window(3, pad_lo=1, pad_hi=1)
    return st.builds(Convolution, st.just(channels), st.just((same, same)), st.just(1), biases)


@st.composite
def _maps(draw, shape, depth):
    """Layers that fit maps of `shape`, and the shape they leave."""
    items = []
    for _ in range(draw(st.integers(1, 4))):
        sorts = ["conv", "conv", "depthwise", "norm", "curve", "pool", "dropout", *["group", "repeat"] * (depth > 0)]
        item, shape = draw(_item(draw(st.sampled_from(sorts)), shape, depth))
        items.append(item)
    return tuple(items), shape


@st.composite
def _item(draw, sort, shape, depth):  # noqa: PLR0911 - one return a sort of layer
    channels, height, width = shape
    match sort:
        case "conv":
            out = draw(st.integers(2, 6))
            groups = draw(st.sampled_from(divisors(gcd(channels, out))))
            if groups == channels == out:
                groups = 1  # that is a depthwise convolution, and reads back as one
            windows = draw(two(st.sampled_from([Window(3, pad_lo=1, pad_hi=1), Window(5, 1, 1, 2, 2), Window(1)])))
            return Convolution(out, windows, groups, draw(biases)), (out, height, width)
        case "depthwise":
            windows = (Window(3, 1, 2, 2, 2), Window(2, 1, 1, 0, 1))
            return Depthwise(windows, draw(biases)), shape
        case "pool" if min(height, width) >= 4:
            kind = draw(st.sampled_from([MaxPool, AvgPool, BlurPool]))
            return kind((Window(3, 2, pad_lo=1), Window(2, 2))), (channels, (height - 2) // 2 + 1, width // 2)
        case "dropout":
            return Dropout(draw(st.sampled_from([0.1, 0.25]))), shape
        case "norm":
            return Norm(), shape
        case "group":
            body, (_, *out) = draw(_maps(shape, depth - 1))
            if draw(st.booleans()) and out == [height, width]:
                return Residual((*body, draw(_keeping(channels)))), shape
            shortcut, _ = draw(_maps(shape, depth - 1))
            meet, last = AdaptiveAvgPool((2, 3)), draw(_keeping(5))
            return Residual((*body, meet, last), (*shortcut, meet, last)), (5, 2, 3)
        case "repeat":
            body = (draw(_keeping(draw(st.integers(2, 6)))), *draw(st.sampled_from([(), (Norm(),), (Activation(),)])))
            return Repeat(draw(st.integers(1, 4)), body), (body[0].out_channels, height, width)
        case _:
            return Activation(draw(st.sampled_from(["relu", "relu6", "silu"]))), shape
