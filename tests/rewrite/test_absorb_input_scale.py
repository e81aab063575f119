from __future__ import annotations

import numpy as np
import pytest

from strategies import with_random_weights
from striate.errors import PassError
from striate.geometry import Window
from striate.graph import INPUT, Builder, reference
from striate.ops import Activation, Concat, Conv, MaxPool
from striate.rewrite import absorb_input_scale
from striate.verify.tolerance import ALGEBRA

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALE, SHIFT = 1 / (255 * STD), -MEAN / STD
ODD = (Window(3, 2, 1, 1, 2), Window(5, 1, 2, 3, 0))


def stem(windows=ODD, groups=1, bias=True):
    b = Builder("stem", (3, 7, 11))
    b.add(Conv(3, 6, windows, groups, bias), INPUT, name="conv")
    b.add(Activation("relu"), "conv", name="relu")
    return with_random_weights(b.build(), 4).astype(np.float64)


def pixels(network):
    return np.random.default_rng(0).integers(0, 256, (2, *network.input_shape)).astype(np.float64)


def assert_reads_pixels(network, raw):
    x = pixels(network)
    want = reference.run(network, x * SCALE[:, None, None] + SHIFT[:, None, None])
    got = reference.run(raw, x)
    for node in network:
        assert np.abs(got[node.name] - want[node.name]).max() <= ALGEBRA * np.abs(want[node.name]).max(), node.name


@pytest.mark.parametrize("bias", [True, False])
def test_through_padding_exactly(bias):
    network = stem(bias=bias)
    raw = absorb_input_scale(network, SCALE, SHIFT)
    assert [(node.name, node.inputs) for node in raw] == [
        ("input.and_one", (INPUT,)),
        ("conv", ("input.and_one",)),
        ("relu", ("conv",)),
    ]
    assert_reads_pixels(network, raw)


def test_without_the_constant_channel_the_border_is_wrong():
    """What folders do that ignore the padding: right inside, wrong at the border."""
    network = stem()
    weights = dict(network.weights)
    weights["conv.bias"] = weights["conv.bias"] + (weights["conv.weight"].sum(axis=(2, 3)) * SHIFT).sum(axis=1)
    weights["conv.weight"] = weights["conv.weight"] * SCALE[:, None, None]
    with pytest.raises(AssertionError):
        assert_reads_pixels(network, network.with_weights(weights))


@pytest.mark.parametrize("groups", [1, 3])
def test_without_padding_there_is_no_new_layer(groups):
    network = stem((Window(3, 2), Window(2, 1, 3)), groups)
    raw = absorb_input_scale(network, SCALE, SHIFT)
    assert [node.name for node in raw] == ["conv", "relu"]
    assert_reads_pixels(network, raw)


def test_a_scale_alone_passes_any_padding():
    raw = absorb_input_scale(stem(groups=3), SCALE, np.zeros(3))
    assert [node.name for node in raw] == ["conv", "relu"]


def test_two_readers_of_which_one_pads():
    b = Builder("two", (3, 7, 11))
    b.add(Conv(3, 2, (Window(3, pad_lo=1, pad_hi=1),) * 2), INPUT, name="padded")
    b.add(Conv(3, 4, (Window(1), Window(1))), INPUT, name="plain")
    b.add(Concat(), "padded", "plain", name="cat")
    network = with_random_weights(b.build(), 5).astype(np.float64)
    raw = absorb_input_scale(network, SCALE, SHIFT)
    assert raw.node("plain").inputs == (INPUT,)
    assert_reads_pixels(network, raw)


def test_a_grouped_stem_that_pads_is_refused():
    with pytest.raises(
        PassError, match=r"^conv: a grouped convolution that pads cannot take a shift; use padding 0 or groups=1$"
    ):
        absorb_input_scale(stem(groups=3), SCALE, SHIFT)


def test_a_reader_without_weights_is_refused():
    b = Builder("pooled", (3, 7, 11))
    b.add(MaxPool((Window(2), Window(2))), INPUT, name="pool")
    with pytest.raises(PassError, match=r"^pool: max_pool reads the input and has no weights that could take a scale$"):
        absorb_input_scale(b.build(), SCALE, SHIFT)


@pytest.mark.parametrize(("scale", "shift"), [(SCALE[:2], SHIFT), (SCALE, SHIFT[None]), (SCALE, SHIFT * np.nan)])
def test_numbers_that_fit_no_channel_are_refused(scale, shift):
    with pytest.raises(PassError, match=r"^stem: scale and shift must be 3 finite numbers each, one an input channel$"):
        absorb_input_scale(stem(), scale, shift)
