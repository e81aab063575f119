"""What a table shows of a layer beside its kind, and the small helpers behind the layers."""

from __future__ import annotations

import pytest

from striate.geometry import Window
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    Linear,
    MaxPool,
    kept_share,
    new_share,
)
from striate.ops.base import describe_pads, rounding_growth, span
from striate.ops.conv import divisors

W = Window


@pytest.mark.parametrize(
    ("op", "settings"),
    [
        (Conv(3, 64, (W(3, pad_lo=1, pad_hi=1), W(3, pad_lo=1, pad_hi=1))), "64C3 p1"),
        (Conv(8, 64, (W(3, 2, 2, 1, 1), W(5, 1, 3, 2, 2)), groups=4), "64C3x5 s2x1 p1x2 d2x3 g4"),
        (Conv(8, 64, (W(3, pad_hi=1), W(3, pad_hi=1))), "64C3 p0:1"),
        (Conv(8, 64, (W(3, pad_lo=1, pad_hi=2), W(3, pad_hi=1))), "64C3 p1:2x0:1"),
        (Linear(7, 10), "10"),
        (BatchNorm(7), ""),
        (BatchNorm(7, affine=False), "no affine"),
        (Activation("hard_swish"), "hard_swish"),
        (MaxPool((W(2, 2), W(2, 2))), "2"),
        (MaxPool((W(3, 2, 1, 1, 1, True), W(3, 2, 1, 1, 1, True))), "3 s2 p1 ceil"),
        (AvgPool((W(2, 2, 3), W(3, 3, 1))), "2x3 d3x1"),
        (AdaptiveAvgPool((7, 5)), "to 7x5"),
        (Dropout(0.25), "0.25"),
        (Flatten(), ""),
        (Add(), ""),
    ],
)
def test_settings_in_the_fields_shorthand(op, settings):
    assert op.describe() == settings


def test_axes_are_written_once_where_they_agree():
    assert [span((3, 3)), span((3, 5)), span((2, 2, 7))] == ["3", "3x5", "2x2x7"]
    assert describe_pads((0, 0), (0, 0)) == ""
    assert describe_pads((-1, 0), (-1, 0)) == "p-1x0"


def test_divisors():
    assert divisors(12) == (1, 2, 3, 4, 6, 12)
    assert divisors(7) == (1, 7)


def test_the_two_conventions_of_momentum_are_each_others_inverse():
    assert kept_share(0.1) == 0.9
    assert new_share(0.99) == pytest.approx(0.01)
    assert new_share(kept_share(0.25)) == 0.25


def test_rounding_growth_is_highams_gamma():
    assert rounding_growth(10, 2.0**-24) == 10 * 2.0**-24 / (1 - 10 * 2.0**-24)
