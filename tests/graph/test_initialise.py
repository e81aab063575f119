from __future__ import annotations

import numpy as np
import pytest

from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.ops import BatchNorm, Conv, Flatten, Linear


def build(extra=False):
    b = Builder("net", (6, 7, 11))
    x = INPUT
    if extra:
        x = b.add(Conv(6, 6, (Window(1), Window(1))), x, name="extra")
    x = b.add(Conv(6, 240, (Window(3), Window(5)), groups=2), x, name="conv")
    x = b.add(BatchNorm(240), x, name="bn")
    x = b.add(Flatten(), x, name="flat")
    x = b.add(Linear(240 * 35, 12), x, name="hidden")
    b.add(Linear(12, 5000), x, name="classes")
    return b.build()


def test_weights_follow_from_the_seed_alone():
    one, again, other = (initialise(build(), seed).weights for seed in (3, 3, 4))
    for name, array in one.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(one["conv.weight"], other["conv.weight"])


def test_a_layer_more_changes_no_other():
    one, more = initialise(build(), 3).weights, initialise(build(extra=True), 3).weights
    assert set(more) - set(one) == {"extra.weight", "extra.bias"}
    for name, array in one.items():
        np.testing.assert_array_equal(array, more[name])


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("conv.weight", 2 / (3 * 3 * 5)),  # fan-in: 3 of 6 channels a kernel, 3 x 5 taps
        ("hidden.weight", 2 / 8400),
        ("classes.weight", 1 / 12),  # the last dense layer: no ReLU follows
    ],
)
def test_variances(name, variance):
    draws = initialise(build(), 0).weights[name].astype(np.float64).ravel()
    # The variance of n normal draws scatters by sqrt(2 / n) around the true one; the mean by 1 / sqrt(n).
    assert abs(draws.var() / variance - 1) < 4 * np.sqrt(2 / draws.size)
    assert abs(draws.mean()) < 4 * np.sqrt(variance / draws.size)


def test_layers_of_equal_shape_do_not_start_equal():
    b = Builder("net", (3, 7, 11))
    conv = Conv(3, 3, (Window(1), Window(1)))
    b.add(conv, b.add(conv, INPUT, name="a"), name="b")
    weights = initialise(b.build(), 0).weights
    assert abs(np.corrcoef(weights["a.weight"].ravel(), weights["b.weight"].ravel())[0, 1]) < 0.9


def test_everything_else_starts_at_zero_or_one():
    weights = initialise(build(), 0).weights
    for name in ("conv.bias", "bn.bias", "bn.running_mean", "hidden.bias", "classes.bias"):
        assert not weights[name].any(), name
    for name in ("bn.weight", "bn.running_var"):
        assert (weights[name] == 1).all(), name
