from __future__ import annotations

import numpy as np

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.ops import Activation, Add, BatchNorm
from striate.rewrite import merge_batch_norms


def test_a_row_becomes_one_under_the_last_name():
    net = Layers().then("a", BatchNorm(3, affine=False)).then("b", BatchNorm(3, 1e-3)).then("c", BatchNorm(3))
    merged, what = applied(merge_batch_norms, net.then("relu", Activation()).network())
    assert names(merged) == ["c", "relu"]
    assert what == ["merged with batch_norm a", "merged with batch_norm b"]


def test_a_hand_computed_pair():
    numbers = {"a__weight": 2, "a__bias": 5, "a__running_mean": 1, "a__running_var": 3}
    numbers |= {"b__weight": 6, "b__bias": 7, "b__running_mean": 4, "b__running_var": 8}
    net = Layers((1, 2, 3)).then("a", BatchNorm(1, eps=1)).then("b", BatchNorm(1, eps=1))
    merged, _ = merge_batch_norms(net.network(**{name: [value] for name, value in numbers.items()}))
    got = {role: merged.weights[name].tolist() for role, name in merged.node("b").weights.items()}
    assert got == {"gamma": [2.0], "beta": [9.0], "running_mean": [1.0], "running_var": [1.0]}


def test_a_large_mean_is_subtracted_before_anything_is_scaled():
    """x is within 1e-3 of a mean of 1e6: scale x + shift would lose nine digits."""
    net = Layers((1, 2, 3)).then("a", BatchNorm(1)).then("b", BatchNorm(1))
    merged, _ = merge_batch_norms(net.network(a__running_mean=[1e6], a__running_var=[1e-6]))
    assert merged.weights[merged.node("b").weights["running_mean"]] == [1e6]


def test_a_norm_that_is_read_elsewhere_stays():
    net = Layers().then("a", BatchNorm(3)).then("b", BatchNorm(3)).then("sum", Add(), "a", "b")
    assert refusal(merge_batch_norms, net.network()) == "follows a, whose result is needed elsewhere as well"


def test_a_variance_that_is_none_is_refused():
    net = Layers().then("a", BatchNorm(3)).then("b", BatchNorm(3)).network(a__running_var=[1, -2, 1])
    with np.errstate(invalid="ignore"):
        assert refusal(merge_batch_norms, net) == "running_var + eps is -1.99999 in channel 1, not positive"


def test_a_single_norm_is_no_business():
    left_alone(merge_batch_norms, Layers().then("a", BatchNorm(3)).then("relu", Activation()).network())
