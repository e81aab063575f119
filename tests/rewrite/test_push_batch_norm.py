from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers, applied, names, refusal
from striate.geometry import Transposed, Window
from striate.graph import reference
from striate.ops import (
    Activation,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Flatten,
    GlobalAvgPool,
    Linear,
    Op,
    Scale,
    Shift,
)
from striate.rewrite import push_batch_norm

VALID = (Window(3, 2), Window(2, 1, 3))
PADDED = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))


def norm(shape=(6, 7, 11)):
    """ReLU first: nothing before the norm can take it."""
    return Layers(shape).then("relu", Activation()).then("bn", BatchNorm(shape[0]))


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_into_a_convolution_without_padding(groups, bias):
    pushed, what = applied(push_batch_norm, norm().then("conv", Conv(6, 12, VALID, groups, bias)).network())
    assert names(pushed) == ["relu", "conv"]
    assert what == ["batch_norm bn folded forward into conv conv"]


def test_into_a_dense_layer_behind_a_flattening_channel_by_channel():
    layers = norm().then("flat", Flatten()).then("fc", Linear(6 * 7 * 11, 5))
    pushed, _ = applied(push_batch_norm, layers.network())
    assert names(pushed) == ["relu", "flat.unnormed", "fc"]


def test_into_a_dense_layer_behind_a_global_average():
    pushed, _ = applied(push_batch_norm, norm().then("gap", GlobalAvgPool()).then("fc", Linear(6, 5)).network())
    assert names(pushed) == ["relu", "gap.unnormed", "fc"]


def test_into_every_reader():
    layers = norm().then("a", Conv(6, 4, VALID)).then("b", Conv(6, 2, VALID, 2), "bn").then("cat", Concat(), "a", "b")
    pushed, what = applied(push_batch_norm, layers.network())
    assert names(pushed) == ["relu", "a", "b", "cat"]
    assert what == ["batch_norm bn folded forward into conv a, conv b"]


def test_a_hand_computed_pair():
    layers = Layers((2,)).then("bn", BatchNorm(2, eps=1.0)).then("fc", Linear(2, 1))
    given = {"bn__weight": [2, 6], "bn__bias": [1, 2], "bn__running_mean": [3, 4], "bn__running_var": [3, 8]}
    pushed, _ = push_batch_norm(layers.network(**given, fc__weight=[[5, 7]], fc__bias=[9]))
    # scale 1 and 2, shift -2 and -6: 5 (x - 2) + 7 (2 y - 6) + 9
    assert [pushed.weights[n].tolist() for n in pushed.node("fc").weights.values()] == [[[5.0, 14.0]], [-43.0]]


def number(op: Op):
    return Layers((6, 7, 11)).then("relu", Activation()).then("number", op)


@pytest.mark.parametrize("op", [Scale((6, 1, 1)), Shift((6, 1, 1)), Shift((1, 1, 1)), Affine(2.0, -0.25)], ids=str)
def test_stored_factors_and_summands_likewise(op):
    pushed, what = applied(push_batch_norm, number(op).then("conv", Conv(6, 4, VALID, 2)).network())
    assert names(pushed) == ["relu", "conv"]
    assert what == [f"{op.kind} number folded forward into conv conv"]


def test_a_stored_factor_passes_padding_and_a_summand_does_not():
    pushed, _ = applied(push_batch_norm, number(Scale((6, 1, 1))).then("conv", Conv(6, 4, PADDED)).network())
    assert names(pushed) == ["relu", "conv"]
    network = number(Shift((6, 1, 1))).then("conv", Conv(6, 4, PADDED)).network()
    assert refusal(push_batch_norm, network) == "is read by conv conv, whose zero padding the shift must not reach"


def test_zero_padding_stops_a_shift():
    network = norm().then("conv", Conv(6, 4, PADDED)).network()
    assert refusal(push_batch_norm, network) == "is read by conv conv, whose zero padding the shift must not reach"


def test_zero_padding_does_not_stop_a_scale():
    layers = norm().then("conv", Conv(6, 4, PADDED, 2))
    pushed, _ = applied(push_batch_norm, layers.network(bn__bias=np.zeros(6), bn__running_mean=np.zeros(6)))
    assert names(pushed) == ["relu", "conv"]


UP = (Transposed(3, 2, 1, 1, 0, 1), Transposed(2, 1, 3))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_takes_a_scale(groups, bias):
    layers = norm().then("up", ConvTranspose(6, 12, UP, groups, bias))
    pushed, what = applied(push_batch_norm, layers.network(bn__bias=np.zeros(6), bn__running_mean=np.zeros(6)))
    assert names(pushed) == ["relu", "up"]
    assert pushed.node("up").op == ConvTranspose(6, 12, UP, groups, bias)
    assert what == ["batch_norm bn folded forward into conv_transpose up"]


def test_a_transposed_convolution_takes_no_shift():
    reason = "is read by conv_transpose up, whose zeros between and around the pixels the shift must not reach"
    for windows in (UP, (Transposed(2, 2), Transposed(2, 2)), (Transposed(3), Transposed(3))):
        network = norm().then("up", ConvTranspose(6, 4, windows)).network()
        assert refusal(push_batch_norm, network) == reason
        # And rightly: what a shift adds is not the same at every place, so no bias could be it.
        added = reference.output(network, np.zeros((1, 6, 7, 11))) - network.weights["up.bias"].reshape(1, 4, 1, 1)
        assert np.ptp(added, axis=(2, 3)).min() > 1e-3


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (norm(), "is the network's result"),
        (norm().then("act", Activation()), "is read by activation act, which has no weights that could take it"),
        (
            norm().then("flat", Flatten()),
            "is read by flatten flat, whose result is needed elsewhere or is the network's",
        ),
        (
            norm().then("conv", Conv(6, 6, (Window(1),) * 2)).then("sum", Add(), "conv", "bn"),
            "is read by add sum, which has no weights that could take it",
        ),
    ],
)
def test_where_it_stays(layers, reason):
    assert refusal(push_batch_norm, layers.network()) == reason
