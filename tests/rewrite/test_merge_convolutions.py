from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.geometry import Window
from striate.ops import Activation, Add, Conv, Linear
from striate.rewrite import merge_convolutions

ONE = (Window(1), Window(1))
VALID = (Window(3, 2), Window(2, 1, 3))
PADDED = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))


@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
def test_a_wide_middle_vanishes(biases):
    first, second = biases
    layers = Layers().then("a", Conv(3, 40, ONE, bias=first)).then("b", Conv(40, 5, VALID, bias=second))
    merged, what = applied(merge_convolutions, layers.network())
    assert names(merged) == ["b"]
    assert merged.node("b").op == Conv(3, 5, VALID)
    assert what == ["merged with conv a: 2,160 MACs instead of 38,040"]


@pytest.mark.parametrize("bias", [True, False])
def test_the_pointwise_one_second_behind_any_border(bias):
    layers = Layers().then("a", Conv(3, 40, PADDED, bias=bias)).then("b", Conv(40, 5, ONE))
    merged, _ = applied(merge_convolutions, layers.network())
    assert merged.node("b").op == Conv(3, 5, PADDED)


def test_the_pointwise_one_first_before_a_border_only_without_a_bias():
    layers = Layers().then("a", Conv(3, 40, ONE)).then("b", Conv(40, 5, PADDED))
    assert refusal(merge_convolutions, layers.network()) == "follows conv a, whose bias its zero padding must not have"
    merged, _ = applied(merge_convolutions, layers.network(a__bias=np.zeros(40)))
    assert names(merged) == ["b"]


def test_two_dense_layers():
    merged, _ = applied(merge_convolutions, Layers((7,)).then("a", Linear(7, 50)).then("b", Linear(50, 3)).network())
    assert merged.node("b").op == Linear(7, 3)


def test_a_bottleneck_saves_work_and_stays():
    layers = Layers((30, 7, 11)).then("a", Conv(30, 2, ONE)).then("b", Conv(2, 30, ONE))
    reason = "merged with conv a it would cost 69,300 MACs instead of 9,240"
    assert refusal(merge_convolutions, layers.network()) == reason


@pytest.mark.parametrize(
    "layers",
    [
        Layers().then("a", Conv(3, 40, ONE)).then("relu", Activation()).then("b", Conv(40, 5, ONE)),
        Layers().then("a", Conv(3, 40, ONE)).then("b", Conv(40, 40, ONE, 2)),
        Layers().then("a", Conv(3, 40, VALID)).then("b", Conv(40, 5, VALID)),
        Layers().then("a", Conv(3, 40, (Window(1, 2), Window(1)))).then("b", Conv(40, 5, VALID)),
        Layers().then("a", Conv(3, 3, ONE)).then("b", Conv(3, 3, ONE)).then("sum", Add(), "a", "b"),
    ],
)
def test_what_is_no_such_pair(layers):
    left_alone(merge_convolutions, layers.network())
