from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.geometry import Window
from striate.ops import Activation, AvgPool, BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, MaxPool
from striate.rewrite import drop_dead_channels, rewrite

VALID = (Window(3, 2), Window(2, 1, 3))
PADDED = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))
PADS = (Window(2, pad_lo=1), Window(2))


def zero_rows(network, name, rows, bias):
    """The network with these output channels of a layer all zero but for their bias."""
    node = network.node(name)
    weight, b = (network.weights[node.weights[role]].copy() for role in ("weight", "bias"))
    weight[rows], b[rows] = 0, bias
    return network.with_weights({**network.weights, node.weights["weight"]: weight, node.weights["bias"]: b})


def dead(*ops, last=None, bias=(-1.0, 0.0)):
    layers = Layers((3, 11, 13)).then("conv1", Conv(3, 5, PADDED)).then("relu", Activation())
    for i, op in enumerate(ops):
        layers.then(f"op{i}", op)
    layers.then("last", last or Conv(5, 4, PADDED))
    return zero_rows(layers.network(), "conv1", [1, 3], bias)


def test_zero_channels_go_whatever_the_padding():
    dropped, what = applied(drop_dead_channels, dead())
    assert names(dropped) == ["conv1.alive", "relu.alive", "last"]
    assert dropped.node("last").op == Conv(3, 4, PADDED)
    assert what == ["2 constant channels of conv conv1 removed"]


def test_a_constant_channel_goes_into_the_next_bias_where_no_padding_is():
    dropped, _ = applied(drop_dead_channels, dead(last=Conv(5, 4, VALID), bias=(2.0, 0.5)))
    assert dropped.node("last").op == Conv(3, 4, VALID)


def test_a_constant_channel_before_padding_stays_and_a_zero_one_goes():
    dropped, what = applied(drop_dead_channels, dead(bias=(2.0, -0.5)))
    assert dropped.node("last").op == Conv(4, 4, PADDED)
    assert what == ["1 constant channel of conv conv1 removed"]


@pytest.mark.parametrize("bias", [(2.0, -0.5), (0.0, 0.0), (1.5, 7.0)])
@pytest.mark.parametrize(
    ("ops", "last"),
    [
        ((MaxPool(PADS),), Conv(5, 4, VALID)),
        ((AvgPool(PADS, False),), Conv(5, 4, VALID)),
        ((AvgPool(PADS, True),), Conv(5, 4, VALID)),
        ((GlobalAvgPool(),), Linear(5, 2)),
        ((Activation("sigmoid"), GlobalAvgPool()), Linear(5, 2)),
        ((AvgPool((Window(2), Window(3))), Flatten()), Linear(225, 2)),
    ],
)
def test_over_what_stands_between(ops, last, bias):
    dropped, _ = drop_dead_channels(dead(*ops, last=last, bias=bias))
    applied(drop_dead_channels, dead(*ops, last=last, bias=bias))
    kept = 3 + sum(b > 0 for b in bias) * (ops == (AvgPool(PADS, True),))
    assert dropped.nodes[0].op.out_channels == kept


def test_nothing_positive_can_reach_the_relu():
    layers = Layers().then("pos", Activation("sigmoid")).then("conv1", Conv(3, 4, PADDED)).then("relu", Activation())
    network = layers.then("last", Conv(4, 2, PADDED)).network()
    weight, bias = network.weights["conv1.weight"].copy(), network.weights["conv1.bias"].copy()
    weight[2], bias[2] = -np.abs(weight[2]), -0.25
    network = network.with_weights({**network.weights, "conv1.weight": weight, "conv1.bias": bias})
    _, what = applied(drop_dead_channels, network)
    assert what == ["1 constant channel of conv conv1 removed"]
    bias = bias.copy()
    bias[2] = 0.25  # now something can
    left_alone(drop_dead_channels, network.with_weights({**network.weights, "conv1.bias": bias}))


def test_what_may_be_negative_proves_nothing():
    layers = Layers().then("conv1", Conv(3, 4, PADDED)).then("relu", Activation()).then("last", Conv(4, 2, PADDED))
    network = layers.network()
    minus = {name: -np.abs(network.weights[name]) for name in ("conv1.weight", "conv1.bias")}
    left_alone(drop_dead_channels, network.with_weights({**network.weights, **minus}))


def test_one_channel_always_stays():
    network = zero_rows(dead(), "conv1", [0, 1, 2, 3, 4], -1.0)
    dropped, _ = applied(drop_dead_channels, network)
    assert dropped.node("last").op == Conv(1, 4, PADDED)


def test_a_norm_with_gamma_zero_and_no_positive_beta():
    layers = Layers().then("conv", Conv(3, 4, PADDED)).then("bn", BatchNorm(4)).then("relu", Activation())
    network = layers.then("last", Conv(4, 2, PADDED)).network(bn__weight=[1, 0, 2, 0], bn__bias=[0.3, -0.1, 0, 0])
    done = rewrite(network)
    assert done.network.node("last").op == Conv(2, 2, PADDED)
    applied(lambda n: (rewrite(n).network, ()), network)


def test_grouped_layers_keep_theirs():
    network = dead(last=Conv(5, 5, PADDED, 5))
    assert refusal(drop_dead_channels, network) == "channel 1 is constant, but conv last is grouped and cannot lose one"
