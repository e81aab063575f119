from __future__ import annotations

import pytest

from rewrite.agree import Layers, applied, assert_agrees, left_alone, names, refusal
from striate.geometry import Transposed, Window
from striate.graph import INPUT
from striate.ops import Activation, BatchNorm, Concat, Conv, ConvTranspose, MaxPool
from striate.rewrite import absorb_input_norm

ODD = (Window(3, 2, 1, 1, 2), Window(5, 1, 2, 3, 0))
BARE = (Window(1), Window(1))


def normed():
    return Layers().then("bn", BatchNorm(3))


def stem(windows=ODD, groups=1, bias=True):
    return normed().then("conv", Conv(3, 6, windows, groups, bias)).then("relu", Activation("relu")).network()


@pytest.mark.parametrize("bias", [True, False])
def test_through_padding_exactly(bias):
    rewritten, what = applied(absorb_input_norm, stem(bias=bias))
    assert [(node.name, node.inputs) for node in rewritten] == [
        ("bn.and_one", (INPUT,)), ("conv", ("bn.and_one",)), ("relu", ("conv",))
    ]  # fmt: skip
    assert what == [
        "batch_norm bn of the input folded through the padding, with a constant channel from conv bn.and_one"
    ]


@pytest.mark.parametrize("bias", [True, False])
def test_into_a_transposed_convolution_exactly(bias):
    up = ConvTranspose(3, 4, (Transposed(3, 2, 1, 1, 0, 1), Transposed(2, 2)), bias=bias)
    rewritten, _ = applied(absorb_input_norm, normed().then("up", up).network())
    assert names(rewritten) == ["bn.and_one", "up"]


def test_without_the_constant_channel_the_border_is_wrong():
    """What folders do that ignore the padding: right inside, wrong at the border."""
    network = stem()
    scale, shift = BatchNorm(3).scale_shift(network.weights_of(network.node("bn")))
    weights = dict(network.weights)
    weights["conv.bias"] = weights["conv.bias"] + (weights["conv.weight"].sum(axis=(2, 3)) * shift).sum(axis=1)
    weights["conv.weight"] = weights["conv.weight"] * scale[:, None, None]
    bare = Layers().then("conv", Conv(3, 6, ODD)).then("relu", Activation("relu")).network()
    with pytest.raises(AssertionError):
        assert_agrees(network, bare.with_weights(weights))


def test_two_readers_of_which_one_pads():
    net = normed().then("padded", Conv(3, 2, (Window(3, pad_lo=1, pad_hi=1),) * 2), "bn")
    net = net.then("plain", Conv(3, 4, BARE), "bn").then("cat", Concat(), "padded", "plain")
    rewritten, _ = applied(absorb_input_norm, net.network())
    assert names(rewritten) == ["bn.and_one", "padded", "plain", "cat"]
    assert rewritten.node("plain").inputs == (INPUT,)


def test_what_it_leaves_to_others():
    left_alone(absorb_input_norm, stem(windows=BARE))  # push_batch_norm needs no channel for it
    inner = Layers().then("relu", Activation("relu")).then("bn", BatchNorm(3)).then("conv", Conv(3, 6, ODD))
    left_alone(absorb_input_norm, inner.network())


def test_refusals():
    grouped = "is read by the grouped conv conv, of which one group alone would see a constant channel"
    assert refusal(absorb_input_norm, stem(groups=3)) == grouped
    pooled = normed().then("pool", MaxPool((Window(2), Window(2)))).network()
    assert refusal(absorb_input_norm, pooled) == "is read by max_pool pool, which has no weights that could take it"
    assert refusal(absorb_input_norm, normed().network()) == "is the network's result"
    broken = normed().then("conv", Conv(3, 6, ODD)).network(bn__running_var=[1, -1, 1])
    assert refusal(absorb_input_norm, broken).startswith("running_var + eps is -0.99999 in channel 1")
