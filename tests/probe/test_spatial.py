"""Shifts, fields and answers against networks whose results are known on paper."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
import pytest

from striate.geometry import Window
from striate.graph import INPUT, Builder, Network, initialise
from striate.notation import read
from striate.ops import Conv
from striate.probe import consistency, equivariance, receptive_field
from striate.probe.consistency import wilson
from striate.probe.receptive_field import shortest_interval

SHAPE = (1, 24, 31)


def stack(weights: Sequence[np.ndarray], stride: int = 1, pad: int = 0, shape: tuple[int, ...] = SHAPE) -> Network:
    builder = Builder("stack", shape)
    x = INPUT
    for i, weight in enumerate(weights):
        windows = tuple(Window(k, stride, pad_lo=pad, pad_hi=pad) for k in weight.shape)
        x = builder.add(Conv(1, 1, windows, bias=False), x, name=f"conv{i}")
    net = builder.build()
    return net.with_weights({net.node(f"conv{i}").weights["weight"]: w[None, None] for i, w in enumerate(weights)})


def noise(count: int = 5, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, *shape))


def test_unpadded_convolution_has_rounding_only_inside() -> None:
    net = stack([np.random.default_rng(0).normal(size=(3, 5))])
    for one in equivariance(net, noise()).shifts:
        assert one.whole
        assert one.units == (22 - one.shift_px) * (27 - one.shift_px) or one.interior is None
        assert one.interior is None or one.interior < 1e-14


def test_pure_stride_on_noise_is_all_aliasing() -> None:
    found = equivariance(stack([np.ones((1, 1))], stride=2), noise(), shifts=(1, 2))
    rounding, _, aliasing = found.worst("conv0")
    assert rounding == 0
    assert aliasing == pytest.approx(np.sqrt(2), rel=0.05)  # two independent values of variance 1 differ by 2


def test_border_error_is_the_paddings_and_only_there() -> None:
    net = stack([np.ones((3, 3))], pad=1)
    one = equivariance(net, noise() + 10.0, shifts=(1,)).shifts[0]
    assert one.interior is not None
    assert one.interior < 1e-14
    assert one.border is not None
    assert one.border > 0.1


def test_turns_of_a_symmetric_and_of_a_lopsided_kernel() -> None:
    even = {t.transform: t.error for t in equivariance(stack([np.ones((3, 3))]), noise()).turns}
    assert even["rotated 90"] < 1e-14
    assert even["flipped left-right"] < 1e-14
    lopsided = np.zeros((3, 3))
    lopsided[1] = (1, 0, -1)
    odd = {t.transform: t.error for t in equivariance(stack([lopsided]), noise()).turns}
    assert odd["flipped left-right"] == pytest.approx(2)  # f(mirrored x) = -mirrored f(x)
    assert odd["flipped up-down"] < 1e-14


def test_turned_and_scaled_noise_differs_by_what_is_known_on_paper() -> None:
    gradient = np.zeros((3, 3))
    gradient[1] = (1, 0, -1)
    turned = {t.transform: t.error for t in equivariance(stack([gradient]), noise(8)).turns}
    # The slopes across and down of white noise are independent: their difference has twice the variance of one.
    assert turned["rotated 90"] == pytest.approx(np.sqrt(2), rel=0.05)

    found = {t.transform: t.error for t in equivariance(stack([np.ones((1, 1))]), noise(8)).turns}
    assert found["scaled x2"] == 0
    # Every second pixel of the enlarged image is the image; every second pixel of the image, enlarged, repeats one
    # of 4 pixels, so that 3 of 4 compare independent values.
    strided = stack([np.ones((1, 1))], stride=2, shape=(1, 24, 32))
    found = {t.transform: t.error for t in equivariance(strided, noise(8, (1, 24, 32))).turns}
    assert found["scaled x2"] == pytest.approx(np.sqrt(2 * 3 / 4), rel=0.05)
    # And a mirrored image of even size has its other pixels on the grid of stride 2.
    assert found["flipped left-right"] == pytest.approx(np.sqrt(2), rel=0.05)


def test_binomial_field_of_a_stack_of_ones() -> None:
    found = receptive_field(stack([np.ones((2, 3))] * 3), noise(), layers=("conv2",)).layers[0]
    rows, columns = found.share.sum(axis=1), found.share.sum(axis=0)
    want = np.array([comb(3, k) for k in range(4)]) / 8
    np.testing.assert_allclose(rows[rows > 0], want, rtol=1e-12)
    np.testing.assert_allclose(columns[columns > 0], np.array([1, 3, 6, 7, 6, 3, 1]) / 27, rtol=1e-12)
    assert found.seen == (4, 7)
    assert found.sides(0) == (2, 3)
    assert found.sides(2) == (4, 6)  # of the columns' 27 shares, 26 suffice


def test_identity_listens_to_one_pixel() -> None:
    found = receptive_field(stack([np.ones((1, 1))]), noise()).layers[0]
    assert found.pixels == (1, 1, 1)
    assert found.share[12, 15] == 1


def test_dead_network_says_why() -> None:
    assert receptive_field(stack([np.zeros((3, 3))]), noise()).why_not == ("conv0: no gradient arrives at the image",)


@pytest.mark.parametrize(("share", "want"), [(0.5, (2, 2)), (0.55, (1, 2)), (0.7, (2, 3)), (1.0, (1, 3))])
def test_shortest_interval(share: float, want: tuple[int, int]) -> None:
    assert shortest_interval(np.array([0, 0.1, 0.5, 0.4]), share) == want


def test_global_average_without_padding_artefacts_is_consistent_when_wrapped() -> None:
    net = initialise(read("3C1-R-GAP-4", SHAPE), 0).astype(np.float64)
    found = consistency(net, noise(20))
    assert all(one.same == 20 for one in found.agreements if one.protocol == "circular")


def test_place_reading_network_is_inconsistent() -> None:
    net = initialise(read("F-9", SHAPE), 0).astype(np.float64)
    found = consistency(net, noise(40), shifts=(3,))
    assert [one.protocol for one in found.agreements] == ["circular", "crop"]
    assert all(one.share < 0.6 for one in found.agreements)


def test_wilson_is_the_peers() -> None:
    from striate.train.evaluation.metrics import wilson_interval

    for same, images in ((0, 3), (3, 3), (17, 40)):
        assert wilson(same, images) == pytest.approx(wilson_interval(same, images))


def test_maps_as_output_and_networks_without_maps_say_why() -> None:
    assert consistency(stack([np.ones((1, 1))]), noise()).why_not == (
        "the output (1, 24, 31) is not two classes or more",
    )
    flat = initialise(read("F-9", SHAPE), 0)
    assert equivariance(flat, noise()).why_not == ("the network has no feature maps",)
    assert receptive_field(flat, noise()).why_not == ("the network has no feature maps",)
