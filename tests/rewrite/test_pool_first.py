from __future__ import annotations

import pytest

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.geometry import Window
from striate.ops import AdaptiveAvgPool, Add, AvgPool, Conv, GlobalAvgPool, Linear, MaxPool
from striate.rewrite import pool_first, rewrite

ONE = (Window(1), Window(1))
TWO = (Window(2, 2), Window(3, 3))
PADDED = (Window(3, 2, pad_lo=1, pad_hi=1), Window(2, 2))


def conv_then(op, groups=1, bias=True):
    return Layers((4, 8, 11)).then("conv", Conv(4, 6, ONE, groups, bias)).then("pool", op)


@pytest.mark.parametrize("bias", [True, False])
def test_a_global_average_makes_it_a_dense_layer(bias):
    swapped, what = applied(pool_first, conv_then(GlobalAvgPool(), bias=bias).network())
    assert [(node.name, node.op) for node in swapped] == [
        ("pool.first", GlobalAvgPool()),
        ("pool", Linear(4, 6, bias)),
    ]
    assert what == ["moved before conv conv: 24 MACs instead of 2,112"]


@pytest.mark.parametrize(
    "op", [GlobalAvgPool(keep_axes=True), AdaptiveAvgPool((2, 3)), AvgPool(TWO), AvgPool(PADDED, False)]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_averages_of_real_pixels(op, groups):
    swapped, _ = applied(pool_first, conv_then(op, groups).network())
    assert names(swapped) == ["pool.first", "pool"]


def test_padded_zeros_that_count_have_no_bias():
    assert (
        refusal(pool_first, conv_then(AvgPool(PADDED)).network())
        == "counts padded zeros, which have no bias of conv conv"
    )
    applied(pool_first, conv_then(AvgPool(PADDED), bias=False).network())


def test_a_grouped_one_is_no_dense_layer():
    network = conv_then(GlobalAvgPool(), groups=2).network()
    assert refusal(pool_first, network) == "follows the grouped conv conv, which is no dense layer"


def test_a_pooling_that_makes_maps_no_smaller_stays():
    same = AvgPool((Window(3, pad_lo=1, pad_hi=1),) * 2, count_include_pad=False)
    reason = "before conv conv it would cost 2,112 MACs instead of 2,112"
    assert refusal(pool_first, conv_then(same).network()) == reason


def test_maxima_do_not_commute():
    left_alone(pool_first, conv_then(MaxPool(TWO)).network())


def test_a_convolution_that_is_read_elsewhere_stays():
    layers = Layers((4, 8, 11)).then("conv", Conv(4, 6, ONE)).then("pool", GlobalAvgPool(keep_axes=True))
    layers.then("pool2", GlobalAvgPool(keep_axes=True), "conv").then("sum", Add(), "pool", "pool2")
    _, notes = pool_first(layers.network())
    assert {note.reason for note in notes} == {"follows conv conv, whose result is needed elsewhere as well"}


def test_with_the_classifier_behind_it_becomes_one_dense_layer():
    network = conv_then(GlobalAvgPool()).then("fc", Linear(6, 2)).network()
    assert [node.op for node in rewrite(network).network] == [GlobalAvgPool(), Linear(4, 2)]
