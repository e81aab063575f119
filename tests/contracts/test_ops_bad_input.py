"""Contracts over every kind of layer: bad input is refused in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from striate.errors import GeometryError, ShapeError
from striate.geometry import Window
from striate.ops import (
    OPS,
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Mul,
)

W3 = Window(3)
SQUARE = (W3, W3)

TAKES_ANYTHING = {"softmax", "flatten", "identity"}

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
                "activation 'swish' is not known; use one of relu, relu6, leaky_relu, elu, sigmoid, tanh, silu, "
                "hard_sigmoid, hard_swish"
            ),
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
            "mul got shapes (3, 13, 10) and (4, 1, 1); make them equal, or one of them (C, 1, 1)",
        ),
        (
            lambda: Mul().out_shape((3, 1, 1), (3,)),
            ShapeError,
            "mul got shapes (3, 1, 1) and (3,); make them equal, or one of them (C, 1, 1)",
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
