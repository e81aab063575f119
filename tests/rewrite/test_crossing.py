"""Norms up and down over every layer that commutes with them, and the layers that only seem to."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.op_examples import ALL
from rewrite.agree import Layers, applied, left_alone, names, positive, refusal
from striate.errors import ShapeError
from striate.geometry import Window
from striate.graph import INPUT
from striate.ops import (
    OPS,
    Activation,
    AdaptiveMaxPool,
    Add,
    BatchNorm,
    BlurPool,
    ChannelShuffle,
    Concat,
    Conv,
    Flatten,
    GlobalReduce,
    Linear,
    MaxPool,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Resize,
    Slice,
)
from striate.rewrite import hoist_batch_norm, push_batch_norm, rewrite
from striate.rewrite.crossing import CROSSED, clash

ODD = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))
ALL_OF_IT = (None, None, 1)
OVER = {
    "resize, nearest": Resize(factor=(2, 3)),
    "resize, linear": Resize(out=(9, 5), linear=True),
    "blur": BlurPool((Window(3, 2), Window(2))),
    "largest of all": GlobalReduce("max", keep_axes=True),
    "mean of all": GlobalReduce("mean"),
    "adaptive largest": AdaptiveMaxPool((2, 3)),
    "shuffle": ChannelShuffle(3),
    "some channels": Slice(((1, 5, 2), ALL_OF_IT, ALL_OF_IT)),
    "some pixels": Slice((ALL_OF_IT, (1, None, 1), (None, None, 2))),
    "mirrored border": Pad((0, 1, 2), (0, 2, 1), "reflect"),
    "repeated border": Pad((0, 1, 0), (0, 0, 1), "replicate"),
    "cropped": Pad((0, 0, -1), (0, -1, 0)),
    "turned": Permute((0, 2, 1)),
}
NOT_OVER = {
    "pad over adds a number that is no pixel, which the norm must not reach": Pad((0, 1, 2), (0, 2, 1), value=0.5),
    "global_reduce over (sum) does not commute with a shift": GlobalReduce("sum"),
    "blur_pool over counts padded zeros, which the shift must not reach": BlurPool((Window(3, pad_lo=1), Window(2))),
}


def conv_then(op):
    return Layers().then("conv", Conv(3, 6, ODD)).then("over", op)


@pytest.mark.parametrize("case", OVER)
def test_a_norm_goes_up(case):
    layers = conv_then(OVER[case])
    network = positive(layers.then("bn", BatchNorm(layers.shape("over")[0])).network())
    hoisted, what = applied(hoist_batch_norm, network)
    assert names(hoisted) == ["conv", "bn.before", "bn"]
    assert what == [f"moved before {OVER[case].kind} over"]
    assert names(rewrite(network).network) == ["bn.before", "bn"]


@pytest.mark.parametrize("case", OVER)
def test_a_norm_goes_down(case):
    layers = Layers((6, 7, 11)).then("relu", Activation()).then("bn", BatchNorm(6)).then("over", OVER[case])
    channels = layers.shape("over")
    last = Linear(channels[0], 4) if len(channels) == 1 else Conv(channels[0], 4, (Window(1), Window(1)))
    pushed, _ = applied(push_batch_norm, positive(layers.then("last", last).network()))
    assert names(pushed) == ["relu", "over.unnormed", "last"]


@pytest.mark.parametrize("reason", NOT_OVER)
def test_what_only_seems_to_commute(reason):
    op = NOT_OVER[reason]
    up = conv_then(op)
    assert refusal(hoist_batch_norm, up.then("bn", BatchNorm(6)).network()) == reason
    down = Layers((6, 7, 11)).then("relu", Activation()).then("bn", BatchNorm(6)).then("over", op)
    last = Linear(6, 4) if len(down.shape("over")) == 1 else Conv(6, 4, (Window(1), Window(1)))
    assert refusal(push_batch_norm, down.then("last", last).network()) == reason


def test_channels_that_become_pixels():
    """A pixel shuffle takes four channels into one: up, each gets the one's norm; down, they have four."""
    network = conv_then(Resize(factor=(1, 1))).then("ps", PixelShuffle(1)).then("bn", BatchNorm(6)).network()
    applied(hoist_batch_norm, network)
    up = Layers().then("conv", Conv(3, 8, ODD)).then("over", PixelShuffle(2)).then("bn", BatchNorm(2)).network()
    hoisted, _ = applied(hoist_batch_norm, up)
    assert hoisted.node("bn.before").op == BatchNorm(8)
    down = Layers((8, 3, 5)).then("relu", Activation()).then("bn", BatchNorm(8)).then("over", PixelShuffle(2))
    reason = refusal(push_batch_norm, down.then("conv", Conv(2, 4, (Window(1), Window(1)))).network())
    assert reason == "would have to cross pixel_shuffle over, which mixes channels"


def test_pixels_that_become_channels():
    """The other way round."""
    layers = Layers((2, 4, 6)).then("relu", Activation()).then("bn", BatchNorm(2)).then("over", PixelUnshuffle(2))
    pushed, _ = applied(push_batch_norm, layers.then("conv", Conv(8, 3, (Window(1), Window(2)))).network())
    assert names(pushed) == ["relu", "over.unnormed", "conv"]
    up = Layers((2, 4, 6)).then("conv", Conv(2, 3, (Window(1), Window(1)))).then("over", PixelUnshuffle(2))
    reason = refusal(hoist_batch_norm, up.then("bn", BatchNorm(12)).network())
    assert reason == "pixel_unshuffle over parts channels"


def test_a_norm_before_a_split_goes_into_every_part():
    layers = Layers((6, 7, 11)).then("relu", Activation()).then("bn", BatchNorm(6))
    layers.then("a", Slice(((0, 2, 1), ALL_OF_IT, ALL_OF_IT)), "bn").then("ca", Conv(2, 3, (Window(3), Window(2))), "a")
    layers.then("b", Slice(((2, 6, 1), ALL_OF_IT, ALL_OF_IT)), "bn").then("cb", Conv(4, 3, (Window(3), Window(2))), "b")
    pushed, what = applied(push_batch_norm, layers.then("sum", Add(), "ca", "cb").network())
    assert names(pushed) == ["relu", "a.unnormed", "ca", "b.unnormed", "cb", "sum"]
    assert what == ["batch_norm bn folded forward into conv ca, conv cb"]


def test_shufflenet_a_norm_behind_concat_and_shuffle():
    layers = Layers((3, 7, 11)).then("a", Conv(3, 2, ODD)).then("b", Conv(3, 4, ODD), INPUT)
    layers.then("cat", Concat(), "a", "b").then("mix", ChannelShuffle(2)).then("bn", BatchNorm(6))
    done = rewrite(layers.network())
    assert [node.name for node in done.network if isinstance(node.op, BatchNorm)] == []


def test_a_negative_scale_stops_at_maxima_on_the_way_down():
    layers = Layers((2, 7, 11)).then("relu", Activation()).then("bn", BatchNorm(2))
    layers.then("pool", MaxPool((Window(2), Window(3)))).then("conv", Conv(2, 3, (Window(2), Window(1))))
    reason = refusal(push_batch_norm, layers.network(bn__weight=[1, -0.5]))
    assert reason == "max_pool pool does not commute with the negative scale of channel 1"


def test_a_move_that_nothing_takes_is_left():
    left_alone(push_batch_norm, conv_then(Reshape((6, -1))).then("flat", Flatten()).network())


CLAIMED = [example for example in ALL if isinstance(example.op, CROSSED)]


@pytest.mark.parametrize("example", CLAIMED, ids=lambda e: f"{e.op.kind} {e.op.describe()}")
def test_what_crossing_claims_holds_for_every_example_of_every_layer(example):
    """op(s x + t) = s' op(x) + t' with one positive s and any t for all channels, where `clash` finds no fault."""
    (shape,) = example.shapes
    scale, shift = np.full(shape[0], 1.7), np.full(shape[0], -0.6)
    x = np.random.default_rng(0).standard_normal((2, *shape))
    try:
        got, want = example.op.forward([scale[0] * x + shift[0]], {}), scale[0] * example.op.forward([x], {}) + shift[0]
    except ShapeError:
        pytest.skip("has no reference")
    agrees = np.allclose(got, want, rtol=1e-12, atol=1e-12)
    assert agrees or clash(example.op, "it", scale, shift)


def test_every_crossed_layer_is_among_the_examples():
    assert {op.kind for op in (example.op for example in CLAIMED)} <= set(OPS)
    assert len({example.op.kind for example in CLAIMED}) >= 15
