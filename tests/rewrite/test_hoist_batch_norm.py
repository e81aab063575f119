from __future__ import annotations

import pytest

from rewrite.agree import Layers, applied, names, positive, refusal
from striate.geometry import Window
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    MaxPool,
    Scale,
    Shift,
)
from striate.rewrite import hoist_batch_norm, rewrite

ODD = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))
PADDED = (Window(3, 2, pad_lo=1, pad_hi=1), Window(2, 1, pad_lo=1))
CROSSED = {
    "max pool": MaxPool(PADDED),
    "avg pool": AvgPool((Window(3, 2), Window(2))),
    "avg pool past the end": AvgPool((Window(2, 2, ceil_mode=True), Window(3, 2, ceil_mode=True))),
    "padded avg pool that counts pixels": AvgPool(PADDED, count_include_pad=False),
    "adaptive": AdaptiveAvgPool((2, 3)),
    "global": GlobalAvgPool(),
    "global, with axes": GlobalAvgPool(keep_axes=True),
    "dropout": Dropout(0.1),
    "identity": Identity(),
}


def conv_then(op):
    return Layers().then("conv", Conv(3, 4, ODD)).then("over", op).then("bn", BatchNorm(4))


@pytest.mark.parametrize("case", CROSSED)
def test_over_every_layer_it_commutes_with(case):
    network = positive(conv_then(CROSSED[case]).network())
    hoisted, what = applied(hoist_batch_norm, network)
    assert names(hoisted) == ["conv", "bn.before", "bn"]
    assert hoisted.node("bn").op == CROSSED[case]
    assert what == [f"moved before {CROSSED[case].kind} over"]
    assert not any(isinstance(node.op, BatchNorm) for node in rewrite(network).network)


@pytest.mark.parametrize("op", [Scale((4, 1, 1)), Shift((4, 1, 1)), Affine(2.0, -0.25)], ids=str)
def test_stored_factors_and_summands_move_as_norms_and_are_folded(op):
    layers = Layers().then("conv", Conv(3, 4, ODD)).then("over", AvgPool((Window(3, 2), Window(2)))).then("number", op)
    hoisted, what = applied(hoist_batch_norm, layers.network())
    assert [(node.name, node.op.kind) for node in hoisted] == [
        ("conv", "conv"), ("number.before", "batch_norm"), ("number", "avg_pool")
    ]  # fmt: skip
    assert what == ["moved before avg_pool over"]
    assert [node.op.kind for node in rewrite(layers.network()).network] == ["conv", "avg_pool"]


def test_over_several_at_once_then_into_the_convolution():
    layers = (
        Layers()
        .then("conv", Conv(3, 4, ODD))
        .then("max", MaxPool((Window(2), Window(2))))
        .then("gap", GlobalAvgPool(True))
    )
    network = positive(layers.then("flat", Flatten()).then("bn", BatchNorm(4)).network())
    hoisted, what = applied(hoist_batch_norm, network)
    assert [type(node.op) for node in hoisted] == [Conv, BatchNorm, MaxPool, GlobalAvgPool, Flatten]
    assert len(what) == 3


def test_each_branch_of_a_concatenation_takes_its_part():
    layers = Layers().then("a", Conv(3, 2, ODD)).then("b", Conv(3, 4, ODD), "input").then("pool", MaxPool(PADDED))
    network = layers.then("c", Conv(3, 3, ODD), "input").then("pool2", MaxPool(PADDED))
    network = positive(network.then("cat", Concat(), "pool", "pool2").then("bn", BatchNorm(7)).network())
    hoisted, _ = applied(hoist_batch_norm, network)
    assert hoisted.node("bn").op == Concat()
    assert sorted(node.op.channels for node in hoisted if isinstance(node.op, BatchNorm)) == [3, 4]
    assert not any(isinstance(node.op, BatchNorm) for node in rewrite(network).network)


def test_a_negative_scale_turns_maxima_into_minima():
    network = conv_then(MaxPool(PADDED)).network(bn__weight=[1, 0, -0.5, 2])
    assert refusal(hoist_batch_norm, network) == "max_pool over does not commute with the negative scale of channel 2"


def test_a_scale_of_zero_is_not_negative():
    applied(hoist_batch_norm, conv_then(MaxPool(PADDED)).network(bn__weight=[1, 0, 0.5, 2]))


def test_a_padded_zero_that_counts_is_not_shifted():
    network = conv_then(AvgPool(PADDED)).network()
    assert refusal(hoist_batch_norm, network) == "avg_pool over counts padded zeros, which the shift must not reach"


def test_a_flattened_map_has_a_norm_for_each_position():
    layers = Layers().then("conv", Conv(3, 4, ODD)).then("flat", Flatten())
    network = layers.then("bn", BatchNorm(layers.shape("flat")[0])).network()
    assert refusal(hoist_batch_norm, network) == "flatten flat gives every position of a channel its own norm"


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (Layers().then("over", MaxPool(PADDED)), "no layer that could take it stands before"),
        (
            Layers().then("relu", Activation()).then("over", MaxPool(PADDED)),
            "would have to cross activation relu, with which it does not commute",
        ),
    ],
)
def test_no_move_where_nothing_could_take_it(layers, reason):
    assert refusal(hoist_batch_norm, positive(layers.then("bn", BatchNorm(3)).network())) == reason


def test_a_pool_that_is_read_elsewhere_keeps_its_values():
    network = positive(conv_then(MaxPool(PADDED)).then("sum", Add(), "bn", "over").network())
    reason = "would have to cross over, whose result is needed elsewhere as well"
    assert refusal(hoist_batch_norm, network) == reason
