from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers, applied, left_alone, names, refusal
from striate.ops import Activation, Add, Affine, BatchNorm, Scale, Shift
from striate.rewrite import merge_batch_norms


def test_a_row_becomes_one_under_the_last_name():
    net = Layers().then("a", BatchNorm(3, affine=False)).then("b", BatchNorm(3, 1e-3)).then("c", BatchNorm(3))
    merged, what = applied(merge_batch_norms, net.then("relu", Activation()).network())
    assert names(merged) == ["c", "relu"]
    assert what == ["merged with batch_norm a", "merged with batch_norm b"]


@pytest.mark.parametrize(
    "row",
    [
        [BatchNorm(3, affine=False), Scale((3, 1, 1)), Shift((3, 1, 1))],  # Caffe's
        [Shift((3, 1, 1)), BatchNorm(3)],
        [Scale((3, 1, 1)), Affine(2.0, -0.5)],
        [Affine(0.25), Scale((1, 1, 1)), Shift((3, 1, 1)), Affine(1.0, 3.0)],
    ],
    ids=lambda row: " ".join(op.kind for op in row),
)
def test_stored_factors_and_summands_are_norms_too(row):
    net = Layers().then("before", Activation("tanh"))
    for i, op in enumerate(row):
        net.then(f"row{i}", op)
    merged, what = applied(merge_batch_norms, net.then("after", Activation()).network())
    assert [(node.name, node.op.kind) for node in merged][1:-1] == [(f"row{len(row) - 1}", "batch_norm")]
    assert what[0] == f"merged with {row[0].kind} row0"


@pytest.mark.parametrize("second", [Scale((3, 7, 1)), Shift((1, 1, 11)), Activation("tanh")], ids=lambda op: op.kind)
def test_what_differs_from_pixel_to_pixel_is_none(second):
    left_alone(merge_batch_norms, Layers().then("a", BatchNorm(3)).then("b", second).network())


def test_two_plain_numbers_stay_numbers():
    left_alone(
        merge_batch_norms,
        Layers().then("a", Affine(2.0)).then("b", Affine(1.0, 0.5)).then("c", Scale((3, 7, 1))).network(),
    )


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
