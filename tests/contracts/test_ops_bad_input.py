"""Contracts over every kind of layer: bad input is refused in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from striate.errors import GeometryError, ShapeError
from striate.geometry import Transposed, Window
from striate.ops import (
    OPS,
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    AvgPool,
    BatchNorm,
    BlurPool,
    ChannelReduce,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Div,
    Dropout,
    GlobalAvgPool,
    GlobalReduce,
    GroupNorm,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Mul,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Reshape,
    Resize,
    Scale,
    Shift,
    Slice,
    Softmax,
    Sub,
)

W3 = Window(3)
SQUARE = (W3, W3)
T3 = Transposed(3)
ONE_AXIS = "{} got shape (3, 5, 7), needs feature maps with 1 spatial axes; put it before the flattening"

TAKES_ANYTHING = {"affine", "flatten", "identity", "log_softmax", "power"}

FAULTS: Mapping[str, list[tuple[Callable[[], object], type[Exception], str]]] = {
    "conv": [
        (
            lambda: Conv(8, 4, SQUARE, groups=3),
            ShapeError,
            "conv: groups=3 does not divide in_channels=8; use one of (1, 2, 4, 8)",
        ),
        (
            lambda: Conv(9, 4, SQUARE, groups=3),
            ShapeError,
            "conv: groups=3 does not divide out_channels=4; use one of (1, 2, 4)",
        ),
        (
            lambda: Conv(3, 4, (Window(3, ceil_mode=True),)),
            ShapeError,
            "conv has no ceil_mode, which is for pools; pad the end of the axis instead",
        ),
        (
            lambda: Conv(3, 4, SQUARE).out_shape((1, 13, 10)),
            ShapeError,
            "conv got 1 channels, needs 3; make the layer before it give 3",
        ),
        (
            lambda: Conv(3, 4, SQUARE).out_shape((3,)),
            ShapeError,
            "conv got shape (3,), needs feature maps (C, H, W); put it before the flattening",
        ),
        (
            lambda: Conv(3, 4, (W3,)).out_shape((3, 13, 10)),
            ShapeError,
            "conv got shape (3, 13, 10), needs feature maps with 1 spatial axes; put it before the flattening",
        ),
        (
            lambda: Conv(3, 4, (W3, Window(5))).out_shape((3, 13, 4)),
            GeometryError,
            "a window of 5 px does not fit 4 px padded by 0 and 0; the input must be at least 5 px",
        ),
    ],
    "linear": [
        (
            lambda: Linear(12, 4).out_shape((3, 2, 2)),
            ShapeError,
            "linear got shape (3, 2, 2), needs a vector; flatten or pool the feature maps first",
        ),
        (
            lambda: Linear(12, 4).out_shape((11,)),
            ShapeError,
            "linear got 11 features, needs 12; the input image's size decides this",
        ),
    ],
    "batch_norm": [
        (
            lambda: BatchNorm(3, eps=-1e-5),
            ShapeError,
            "batch_norm: eps=-1e-05, momentum=0.1; eps must be >= 0, momentum in [0, 1]",
        ),
        (
            lambda: BatchNorm(3, momentum=1.5),
            ShapeError,
            "batch_norm: eps=1e-05, momentum=1.5; eps must be >= 0, momentum in [0, 1]",
        ),
        (
            lambda: BatchNorm(3).out_shape((4, 13, 10)),
            ShapeError,
            "batch_norm got 4 channels, needs 3; make the layer before it give 3",
        ),
        (
            lambda: BatchNorm(3).running_averages(np.ones((1, 3)), {}),
            ShapeError,
            "batch_norm in training got one value a channel, needs at least two; use a larger batch or image",
        ),
    ],
    "activation": [
        (
            lambda: Activation("swish"),
            ShapeError,
            (
                "activation 'swish' is not known; use one of relu, relu6, hard_tanh, leaky_relu, elu, selu, sigmoid, "
                "log_sigmoid, tanh, silu, gelu, gelu_tanh, mish, softplus, softsign, abs, hard_sigmoid, hard_swish"
            ),
        ),
        (
            lambda: Activation("hard_tanh", (1.0,)),
            ShapeError,
            "activation hard_tanh got parameters (1.0,); it takes low, high",
        ),
        (
            lambda: Activation("relu", (1.0,)),
            ShapeError,
            "activation relu got parameters (1.0,); it takes no parameters",
        ),
    ],
    "softmax": [
        (
            lambda: Softmax(2, 4).out_shape((6, 5, 3)),
            ShapeError,
            "softmax: 6 channels are no 2 x 4 x any; make their number a multiple of both",
        ),
    ],
    "conv_transpose": [
        (
            lambda: ConvTranspose(8, 4, (T3, T3), groups=3),
            ShapeError,
            "conv_transpose: groups=3 does not divide in_channels=8; use one of (1, 2, 4, 8)",
        ),
        (
            lambda: ConvTranspose(3, 4, (Transposed(3, pad_lo=-1),)),
            ShapeError,
            "conv_transpose: padding below zero is not possible; make the output larger by `extra`",
        ),
        (
            lambda: ConvTranspose(3, 4, (Transposed(2, pad_lo=2),)).out_shape((3, 1)),
            GeometryError,
            "a transposed window of 2 px on 1 px leaves 0 px; use less padding",
        ),
    ],
    "prelu": [
        (
            lambda: PReLU(4).out_shape((3, 5, 7)),
            ShapeError,
            "prelu got 3 channels, needs 4; use one slope a channel, or one",
        ),
    ],
    "group_norm": [
        (
            lambda: GroupNorm(6, groups=4),
            ShapeError,
            "group_norm: groups=4 does not divide channels=6; use one of (1, 2, 3, 6)",
        ),
        (
            lambda: GroupNorm(6).out_shape((6,)),
            ShapeError,
            "group_norm got shape (6,), needs feature maps (C, H, W); put it before the flattening",
        ),
    ],
    "layer_norm": [
        (
            lambda: LayerNorm(6).out_shape((5, 3, 4)),
            ShapeError,
            "layer_norm got 5 channels, needs 6; make the layer before it give 6",
        ),
    ],
    "local_response_norm": [
        (
            lambda: LocalResponseNorm(5, k=0.0),
            ShapeError,
            (
                "local_response_norm: size=5, alpha=0.0001, beta=0.75, k=0.0; "
                "size must be at least 1, alpha and beta at least 0, k above 0"
            ),
        ),
    ],
    "adaptive_max_pool": [
        (
            lambda: AdaptiveMaxPool((2, 0)),
            GeometryError,
            "an adaptive output of 0 units is not possible; use a whole number of at least 1",
        ),
    ],
    "global_reduce": [
        (lambda: GlobalReduce("min"), ShapeError, "global_reduce: 'min' is not known; use one of sum, mean, max, l2"),
    ],
    "channel_reduce": [
        (
            lambda: ChannelReduce("sum", 2, 2).out_shape((6, 5, 3)),
            ShapeError,
            "channel_reduce: 6 channels are no 2 x 2 x any; make their number a multiple of both",
        ),
    ],
    "resize": [
        (
            lambda: Resize((3, 2), (2, 2)),
            ShapeError,
            "resize: out=(3, 2), factor=(2, 2); give one of them, in whole numbers from 1",
        ),
        (lambda: Resize((3,)).out_shape((3, 5, 7)), ShapeError, ONE_AXIS.format("resize")),
    ],
    "pad": [
        (
            lambda: Pad((0, 1), (0, 1), "mirror"),
            ShapeError,
            "pad: mode 'mirror' is not known; use one of constant, reflect, replicate, circular",
        ),
        (
            lambda: Pad((0, -1), (0, 1), "reflect"),
            ShapeError,
            "pad: reflect neither crops nor pads channels; use constant",
        ),
        (
            lambda: Pad((0, 3), (0, 0), "reflect").out_shape((2, 3)),
            GeometryError,
            "3 px cannot mirror the inside of 3 px; pad less than the size",
        ),
        (
            lambda: Pad((0, -2), (0, -3)).out_shape((2, 5)),
            ShapeError,
            "pad crops (2, 5) to (2, 0); leave at least one value on each axis",
        ),
    ],
    "slice": [
        (
            lambda: Slice(((None, None, 0),)),
            ShapeError,
            "slice: a step below 1 is not possible; flip the maps instead",
        ),
        (
            lambda: Slice(((2, 2, 1), (None, None, 3))).out_shape((4, 7)),
            ShapeError,
            "slice [2:2, ::3] of (4, 7) is empty; take a part that is there",
        ),
        (
            lambda: Slice(((2, 3, 1),)).out_shape((4, 7)),
            ShapeError,
            "slice got shape (4, 7), needs 1 axes; give one part for each axis",
        ),
    ],
    "reshape": [
        (
            lambda: Reshape((4, -1)).out_shape((3, 5)),
            ShapeError,
            "reshape of (3, 5) to (4, -1) does not fit its 15 values; make the product of the sizes equal",
        ),
    ],
    "permute": [
        (
            lambda: Permute((0, 2)),
            ShapeError,
            "permute: (0, 2) is no order of axes; name each of 0 to n - 1 once",
        ),
        (
            lambda: Permute((0, 1)).out_shape((3, 4, 5)),
            ShapeError,
            "permute got shape (3, 4, 5), needs 2 axes; give an order of all axes",
        ),
    ],
    "channel_shuffle": [
        (
            lambda: ChannelShuffle(4).out_shape((6, 5)),
            ShapeError,
            "channel_shuffle: groups=4 does not divide 6 channels; use one of (1, 2, 3, 6)",
        ),
    ],
    "pixel_shuffle": [
        (
            lambda: PixelShuffle(2).out_shape((6, 5, 7)),
            ShapeError,
            "pixel_shuffle: factor 2 does not fit sizes (6,); they must be multiples of 4",
        ),
    ],
    "pixel_unshuffle": [
        (
            lambda: PixelUnshuffle(2).out_shape((6, 4, 7)),
            ShapeError,
            "pixel_unshuffle: factor 2 does not fit sizes (4, 7); they must be multiples of 2",
        ),
    ],
    "sub": [
        (
            lambda: Sub().out_shape((3, 5, 7), (3, 5, 2)),
            ShapeError,
            "sub got shapes (3, 5, 7), (3, 5, 2); make the branches equal",
        ),
    ],
    "div": [
        (
            lambda: Div().out_shape((3, 5, 7), (3,)),
            ShapeError,
            "div got shapes (3, 5, 7), (3,); make the branches equal",
        ),
    ],
    "scale": [
        (
            lambda: Scale((3, 1, 1)).out_shape((4, 5, 7)),
            ShapeError,
            "scale of (3, 1, 1) got shape (4, 5, 7); each size must be 1 or that of the maps",
        ),
    ],
    "shift": [
        (
            lambda: Shift((3,)).out_shape((3, 5, 7)),
            ShapeError,
            "shift of (3,) got shape (3, 5, 7); each size must be 1 or that of the maps",
        ),
    ],
    "max_pool": [
        (
            lambda: MaxPool(SQUARE).out_shape((3,)),
            ShapeError,
            "max_pool got shape (3,), needs feature maps (C, H, W); put it before the flattening",
        ),
        (
            lambda: MaxPool((W3, Window(3, 2, 1, 3, 0))).out_shape((3, 13, 10)),
            GeometryError,
            (
                "max_pool: a window of 3 px on 10 px padded by 3 and 0 reads padding only and has no value; "
                "use less padding"
            ),
        ),
        (  # padded by less than its extent, and still between two taps falls everything there is
            lambda: MaxPool((Window(2, 1, 3, 1, 1),)).out_shape((3, 2)),
            GeometryError,
            (
                "max_pool: a window of 4 px on 2 px padded by 1 and 1 reads padding only and has no value; "
                "use less padding"
            ),
        ),
    ],
    "avg_pool": [
        (
            lambda: AvgPool(SQUARE).out_shape((6, 13, 2)),
            GeometryError,
            "a window of 3 px does not fit 2 px padded by 0 and 0; the input must be at least 3 px",
        ),
        (
            lambda: AvgPool((W3, Window(3, 1, 1, 0, 3)), count_include_pad=False).out_shape((6, 13, 10)),
            GeometryError,
            (
                "avg_pool: a window of 3 px on 10 px padded by 0 and 3 reads padding only and has no value; "
                "use less padding"
            ),
        ),
    ],
    "blur_pool": [
        (
            lambda: BlurPool((W3, Window(3, 2, ceil_mode=True))),
            ShapeError,
            "blur_pool has neither dilation nor ceil_mode; blur by a larger kernel, pad the end",
        ),
        (
            lambda: BlurPool(SQUARE).out_shape((3, 13)),
            ShapeError,
            "blur_pool got shape (3, 13), needs feature maps (C, H, W); put it before the flattening",
        ),
    ],
    "global_avg_pool": [
        (
            lambda: GlobalAvgPool().out_shape((10,)),
            ShapeError,
            "global_avg_pool got shape (10,), needs feature maps (C, H, W); put it before the flattening",
        ),
    ],
    "adaptive_avg_pool": [
        (
            lambda: AdaptiveAvgPool((2, 0)),
            GeometryError,
            "an adaptive output of 0 units is not possible; use a whole number of at least 1",
        ),
        (
            lambda: AdaptiveAvgPool((2, 3)).out_shape((3, 11)),
            ShapeError,
            "adaptive_avg_pool got shape (3, 11), needs feature maps (C, H, W); put it before the flattening",
        ),
    ],
    "dropout": [
        (lambda: Dropout(1.0), ShapeError, "dropout: p=1.0 is not a probability below 1; use 0 <= p < 1"),
        (lambda: Dropout(-0.1), ShapeError, "dropout: p=-0.1 is not a probability below 1; use 0 <= p < 1"),
    ],
    "add": [
        (
            lambda: Add().out_shape((3, 13, 10), (3, 10, 13)),
            ShapeError,
            "add got shapes (3, 13, 10), (3, 10, 13); make the branches equal",
        ),
    ],
    "mul": [
        (
            lambda: Mul().out_shape((3, 13, 10), (4, 1, 1)),
            ShapeError,
            "mul got shapes (3, 13, 10), (4, 1, 1); make the branches equal",
        ),
        (
            lambda: Mul().out_shape((3, 1, 1), (3,)),
            ShapeError,
            "mul got shapes (3, 1, 1), (3,); make the branches equal",
        ),
    ],
    "concat": [
        (
            lambda: Concat().out_shape((3, 13, 10), (3, 13, 11)),
            ShapeError,
            "concat got shapes (3, 13, 10), (3, 13, 11); all but the channels must be equal",
        ),
    ],
}


def test_every_kind_says_what_it_refuses_or_takes_anything():
    assert set(FAULTS) | TAKES_ANYTHING == set(OPS)
    assert not set(FAULTS) & TAKES_ANYTHING


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [row for rows in FAULTS.values() for row in rows],
    ids=[f"{op}-{i}" for op, rows in FAULTS.items() for i in range(len(rows))],
)
def test_bad_input_is_refused_in_one_line(make, kind, message):
    with pytest.raises(kind) as fault:
        make()
    assert str(fault.value) == message
