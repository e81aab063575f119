from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers, applied, names, refusal
from striate.geometry import Transposed, Window
from striate.graph import reference
from striate.ops import Activation, AvgPool, BatchNorm, Conv, ConvTranspose, Dropout, MaxPool
from striate.rewrite import constant_channel

ODD = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))
WIDE = (Window(5, 1, 2, 4, 3), Window(3, 2, 1, 2, 0))


def before(*ops, conv=None):
    layers = Layers((3, 11, 13)).then("conv1", conv or Conv(3, 4, ODD, bias=False))
    for i, op in enumerate(ops):
        layers.then(f"op{i}", op)
    return layers.then("bn", BatchNorm(4))


@pytest.mark.parametrize("curve", ["relu", "relu6", "leaky_relu", "elu"])
@pytest.mark.parametrize("bias", [True, False])
def test_through_zero_padding_of_every_side(curve, bias):
    layers = before(Activation(curve), MaxPool((Window(2, pad_lo=1), Window(2))), Dropout())
    folded, what = applied(constant_channel, layers.then("conv2", Conv(4, 5, WIDE, bias=bias)).network())
    assert names(folded) == ["conv1.and_one", "op0.and_one", "op1.and_one", "op2.and_one", "conv2"]
    assert what == ["batch_norm bn folded through the padding, with a constant channel from conv conv1"]
    kernel = folded.weights[folded.node("conv1.and_one").weights["weight"]]
    assert not kernel[-1].any()


UP = [
    (Transposed(3, 2, 1, 1, 0, 1), Transposed(2, 1, 3)),
    (Transposed(2, 2), Transposed(2, 2)),
    (Transposed(4, 2, 1, 1, 1), Transposed(3, 1, 2, 0, 2)),
]


@pytest.mark.parametrize("windows", UP)
@pytest.mark.parametrize("bias", [True, False])
def test_into_a_transposed_convolution_border_and_all(windows, bias):
    layers = before(Activation(), MaxPool((Window(2, pad_lo=1), Window(2))))
    folded, what = applied(constant_channel, layers.then("up", ConvTranspose(4, 5, windows, bias=bias)).network())
    assert names(folded) == ["conv1.and_one", "op0.and_one", "op1.and_one", "up"]
    assert what == ["batch_norm bn folded through the padding, with a constant channel from conv conv1"]


def test_one_group_of_a_transposed_convolution_would_see_the_channel():
    network = before(Activation()).then("up", ConvTranspose(4, 6, UP[0], 2)).network()
    reason = "is read by the grouped conv_transpose up, of which one group alone would see a constant channel"
    assert refusal(constant_channel, network) == reason


def test_the_shift_of_one_pixel_too_many_is_seen():
    """The comparison above can fail: a bias that is right inside is wrong where fewer taps arrive."""
    network = before(Activation()).then("up", ConvTranspose(4, 5, (Transposed(3), Transposed(2)))).network()
    scale, shift = BatchNorm(4).scale_shift(network.weights_of(network.node("bn")))
    weights = dict(network.weights)
    weights["up.bias"] = weights["up.bias"] + np.einsum("cohw,c->o", weights["up.weight"], shift)
    weights["up.weight"] = weights["up.weight"] * scale[:, None, None, None]
    bare = Layers((3, 11, 13)).then("conv1", Conv(3, 4, ODD, bias=False)).then("op0", Activation())
    bare = bare.then("up", ConvTranspose(4, 5, (Transposed(3), Transposed(2)))).network().with_weights(weights)
    x = np.random.default_rng(0).standard_normal((2, 3, 11, 13))
    got, want = reference.output(bare, x), reference.output(network, x)
    np.testing.assert_allclose(got[..., 2:-2, 1:-1], want[..., 2:-2, 1:-1], rtol=1e-9, atol=1e-9)
    assert np.abs(got[..., :2, :] - want[..., :2, :]).max() > 1e-3


@pytest.mark.parametrize(
    ("layers", "conv", "reason"),
    [
        (
            before(Activation("tanh")),
            Conv(4, 5, WIDE),
            "activation op0 would not keep a constant channel",
        ),
        (
            before(AvgPool((Window(2, pad_lo=1), Window(2)))),
            Conv(4, 5, WIDE),
            "avg_pool op0 would not keep a constant channel",
        ),
        (
            before(Activation()),
            Conv(4, 6, WIDE, 2),
            "is read by the grouped conv conv2, of which one group alone would see a constant channel",
        ),
        (
            before(Activation(), conv=Conv(3, 4, ODD, 1)).then("again", BatchNorm(4)),
            Conv(4, 5, WIDE),
            "batch_norm bn would not keep a constant channel",
        ),
        (
            Layers((4, 11, 13)).then("relu", Activation()).then("bn", BatchNorm(4)),
            Conv(4, 5, WIDE),
            "no convolution that could make a constant channel stands before",
        ),
    ],
)
def test_where_there_is_no_constant_channel(layers, conv, reason):
    assert refusal(constant_channel, layers.then("conv2", conv).network()) == reason


def test_the_channel_is_one_whatever_the_image():
    folded, _ = constant_channel(before(Activation()).then("conv2", Conv(4, 5, WIDE)).network())
    node = folded.node("conv1.and_one")
    x = np.random.default_rng(0).standard_normal((2, 3, 11, 13)) * 1e6
    assert (node.op.forward([x], folded.weights_of(node))[:, -1] == 1).all()
