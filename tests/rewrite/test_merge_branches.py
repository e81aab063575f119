from __future__ import annotations

import pytest

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.geometry import Window
from striate.ops import Activation, Add, BatchNorm, Conv
from striate.rewrite import merge_branches, rewrite

THREE = (Window(3, pad_lo=1, pad_hi=1),) * 2
ONE = (Window(1), Window(1))


def test_repvgg_becomes_one_convolution():
    layers = Layers((4, 7, 11)).then("big", Conv(4, 4, THREE, bias=False)).then("big.bn", BatchNorm(4))
    layers.then("one", Conv(4, 4, ONE, bias=False), "input").then("one.bn", BatchNorm(4))
    layers.then("id.bn", BatchNorm(4), "input").then("sum", Add(), "big.bn", "one.bn", "id.bn").then("a", Activation())
    network = layers.network()
    done = rewrite(network)
    assert names(done.network) == ["sum", "a"]
    assert done.network.node("sum").op == Conv(4, 4, THREE)
    assert done.refused == ()
    applied(lambda n: (rewrite(n).network, ()), network)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_with_groups_and_the_input_itself(groups):
    layers = Layers((4, 7, 11)).then("big", Conv(4, 4, THREE, groups)).then("one", Conv(4, 4, ONE, groups), "input")
    merged, what = applied(merge_branches, layers.then("sum", Add(), "input", "big", "one").network())
    assert names(merged) == ["sum"]
    assert what == ["3 branches from input merged"]


@pytest.mark.parametrize(
    ("first", "second", "hull"),
    [
        (  # strided, of unlike sizes and sides
            (Window(5, 2, 1, 3, 1), Window(3, 3, 1, 0, 1)),
            (Window(3, 2, 1, 1, 1), Window(1, 3)),
            (Window(5, 2, 1, 3, 1), Window(3, 3, 1, 0, 2)),
        ),
        (  # a dilated kernel around a single tap
            (Window(3, 1, 2, 2, 2), Window(1)),
            (Window(1), Window(1)),
            (Window(3, 1, 2, 2, 2), Window(1)),
        ),
    ],
)
def test_each_kernel_lies_where_its_taps_lie(first, second, hull):
    layers = Layers((2, 8, 12)).then("a", Conv(2, 3, first)).then("b", Conv(2, 3, second, bias=False), "input")
    network = layers.then("sum", Add(), "a", "b").network()
    merged, _ = applied(merge_branches, network)
    assert [(w.kernel, w.stride, w.dilation, w.pad_lo) for w in merged.node("sum").op.windows] == [
        (w.kernel, w.stride, w.dilation, w.pad_lo) for w in hull
    ]


def test_what_does_not_merge_stays_in_the_sum():
    layers = (
        Layers((4, 7, 11)).then("relu", Activation()).then("a", Conv(4, 4, THREE)).then("b", Conv(4, 4, ONE), "relu")
    )
    merged, _ = applied(merge_branches, layers.then("sum", Add(), "input", "a", "b").network())
    assert [(node.name, node.inputs) for node in merged][1:] == [
        ("sum.branches", ("relu",)),
        ("sum", ("sum.branches", "input")),
    ]


def test_a_cross_that_would_fill_a_square_is_refused():
    flat, tall = (Window(1), Window(5, pad_lo=2, pad_hi=2)), (Window(5, pad_lo=2, pad_hi=2), Window(1))
    layers = Layers((2, 7, 11)).then("a", Conv(2, 2, flat)).then("b", Conv(2, 2, tall), "input")
    reason = "merging the branches from input would cost 7,700 MACs instead of 3,080"
    assert refusal(merge_branches, layers.then("sum", Add(), "a", "b").network()) == reason


def test_a_strided_convolution_is_not_beside_its_input():
    """With this padding it has its input's size, but reads every second pixel."""
    wide = (Window(1, 2, 1, 3, 4), Window(1, 2, 1, 5, 6))
    left_alone(
        merge_branches, Layers((2, 7, 11)).then("a", Conv(2, 2, wide)).then("sum", Add(), "a", "input").network()
    )


def test_a_branch_that_is_read_elsewhere_stays():
    layers = Layers((2, 7, 11)).then("a", Conv(2, 2, ONE)).then("act", Activation())
    left_alone(merge_branches, layers.then("sum", Add(), "a", "input", "act").network())
