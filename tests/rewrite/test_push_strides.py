from __future__ import annotations

import pytest

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.geometry import Window
from striate.ops import Activation, Add, AvgPool, BatchNorm, Concat, Conv, MaxPool
from striate.rewrite import push_strides

ODD = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))
STRIDED = (Window(1, 2), Window(1, 3))


@pytest.mark.parametrize("size", [(6, 12), (7, 11), (9, 14), (10, 13)])
@pytest.mark.parametrize(
    "first",
    [Conv(4, 4, ODD, 2), MaxPool((Window(3, 2), Window(2, pad_lo=1))), AvgPool((Window(2), Window(3, pad_hi=1)))],
)
def test_the_layer_before_takes_the_stride(first, size):
    layers = Layers((4, *size)).then("first", first).then("bn", BatchNorm(4)).then("act", Activation("tanh"))
    pushed, what = applied(push_strides, layers.then("one", Conv(4, 5, STRIDED)).network())
    assert names(pushed) == ["first.strided", "bn.strided", "act.strided", "one"]
    assert [w.stride for w in pushed.node("one").op.windows] == [1, 1]
    assert what == [f"{first.kind} first takes the stride of conv one"]


def test_two_readers_of_one_stride():
    layers = Layers().then("first", Conv(3, 4, ODD)).then("a", Conv(4, 2, STRIDED))
    layers.then("b", Conv(4, 3, STRIDED), "first").then("cat", Concat(), "a", "b")
    pushed, _ = applied(push_strides, layers.network())
    assert names(pushed) == ["first.strided", "a", "b", "cat"]


def test_two_readers_of_unlike_strides():
    layers = Layers((3, 12, 20)).then("first", Conv(3, 4, ODD)).then("a", Conv(4, 2, STRIDED))
    layers.then("p", MaxPool((Window(1), Window(1))), "a")
    layers.then("b", Conv(4, 2, (Window(1, 3), Window(1, 2))), "first").then("c", Activation())
    layers.then("q", Conv(2, 2, (Window(1), Window(1))), "a")
    network = layers.network()
    assert refusal(push_strides, network) == "is read with the strides 2x3 and 3x2"


@pytest.mark.parametrize(
    "layers",
    [
        Layers().then("first", Conv(3, 4, ODD)).then("three", Conv(4, 5, (Window(3, 2), Window(3, 3)))),
        Layers().then("first", Conv(3, 4, ODD)).then("one", Conv(4, 5, (Window(1), Window(1)))),
        Layers().then("first", Conv(3, 4, ODD)).then("pad", Conv(4, 5, (Window(1, 2, pad_lo=1), Window(1, 2)))),
        Layers().then("first", MaxPool((Window(2, 2, ceil_mode=True),) * 2)).then("one", Conv(3, 5, STRIDED)),
        Layers((3, 8, 8))
        .then("first", Conv(3, 4, (Window(1), Window(1))))
        .then("act", Activation())
        .then("one", Conv(4, 4, (Window(1, 2, pad_hi=7), Window(1, 2, pad_hi=7))))
        .then("sum", Add(), "act", "one"),
    ],
)
def test_what_reads_more_than_a_grid(layers):
    left_alone(push_strides, layers.network())
