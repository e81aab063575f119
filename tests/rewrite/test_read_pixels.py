from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers
from striate.errors import PassError
from striate.geometry import Window
from striate.graph import INPUT, reference
from striate.ops import Activation, Add, Conv
from striate.rewrite import read_pixels, rewrite
from striate.verify.tolerance import ALGEBRA

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALE, SHIFT = 1 / (255 * STD), -MEAN / STD
ODD = (Window(3, 2, 1, 1, 2), Window(5, 1, 2, 3, 0))
BARE = (Window(3, 2), Window(2, 1, 3))


def stem(windows, groups=1):
    return Layers().then("conv", Conv(3, 6, windows, groups)).then("relu", Activation("relu")).network()


def assert_reads_pixels(network, raw):
    x = np.random.default_rng(0).integers(0, 256, (2, *network.input_shape)).astype(np.float64)
    want = reference.run(network, x * SCALE[:, None, None] + SHIFT[:, None, None])
    got = reference.run(raw, x)
    for node in network:
        assert np.abs(got[node.name] - want[node.name]).max() <= ALGEBRA * np.abs(want[node.name]).max(), node.name


@pytest.mark.parametrize(
    ("windows", "groups", "layers"),
    [
        (BARE, 1, ["conv", "relu"]),
        (BARE, 3, ["conv", "relu"]),
        (ODD, 1, ["normalised", "conv", "relu"]),
        (ODD, 3, ["normalised", "conv", "relu"]),
    ],
)
def test_the_preparation_goes_into_the_stem_or_stands_before_its_padding(windows, groups, layers):
    network = stem(windows, groups)
    raw = read_pixels(network, SCALE, SHIFT)
    assert_reads_pixels(network, raw)
    done = rewrite(raw)
    assert [node.name for node in done.network] == layers
    assert done.refused == ()
    assert_reads_pixels(network, done.network)


def test_a_scale_alone_passes_any_padding():
    done = rewrite(read_pixels(stem(ODD, 3), SCALE, np.zeros(3)))
    assert [node.name for node in done.network] == ["conv", "relu"]


def test_every_reader_of_the_input_reads_the_prepared_one():
    net = Layers().then("a", Conv(3, 3, (Window(1),) * 2), INPUT).then("sum", Add(), "a", INPUT).network()
    raw = read_pixels(net, SCALE, SHIFT)
    assert [node.inputs for node in raw] == [(INPUT,), ("normalised",), ("a", "normalised")]
    assert_reads_pixels(net, raw)


def test_a_name_that_is_taken_gives_way():
    net = Layers().then("normalised", Conv(3, 3, (Window(1),) * 2), INPUT).network()
    assert [node.name for node in read_pixels(net, SCALE, SHIFT)] == ["normalised.2", "normalised"]


@pytest.mark.parametrize(("scale", "shift"), [(SCALE[:2], SHIFT), (SCALE, SHIFT[None]), (SCALE, SHIFT * np.nan)])
def test_numbers_that_fit_no_channel_are_refused(scale, shift):
    with pytest.raises(PassError, match=r"^net: scale and shift must be 3 finite numbers each, one an input channel$"):
        read_pixels(stem(ODD), scale, shift)
