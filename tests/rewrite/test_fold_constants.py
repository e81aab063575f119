from __future__ import annotations

import numpy as np
import pytest

from rewrite.agree import Layers, applied, left_alone, names
from striate.geometry import Transposed, Window
from striate.graph import INPUT, Builder
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
    Identity,
    Linear,
    MaxPool,
    Mul,
    Scale,
    Shift,
)
from striate.rewrite import fold_constants, rewrite

ODD = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))
SAME = (Window(3, pad_lo=1, pad_hi=1), Window(1))
DEAD = np.zeros((3, 3, 3, 1))


@pytest.mark.parametrize("op", [Scale((4, 1, 1)), Scale((1, 1, 1)), Shift((4, 1, 1)), Affine(1.7, -0.3)])
@pytest.mark.parametrize("before", [Conv(3, 4, ODD), ConvTranspose(3, 4, (Transposed(3, 2), Transposed(2))), "linear"])
def test_stored_numbers_go_into_the_layer_before(op, before):
    if before == "linear":
        net = Layers((5,)).then("w", Linear(5, 4, bias=False))
        op = op if isinstance(op, Affine) else type(op)(op.shape[:1])
    else:
        net = Layers().then("w", before)
    rewritten, what = applied(fold_constants, net.then("number", op).then("relu", Activation()).network())
    assert names(rewritten) == ["number", "relu"]
    kind = "linear" if before == "linear" else before.kind
    assert what == [f"folded into {kind} w"]


def test_two_numbers_in_a_row_are_one():
    net = Layers().then("relu", Activation()).then("a", Affine(2.0, 0.25)).then("b", Affine(-0.5, 3.0))
    rewritten, what = applied(fold_constants, net.network())
    assert rewritten.node("b").op == Affine(-1.0, 2.875)
    assert (names(rewritten), what) == (["relu", "b"], ["made one with affine a"])


def test_a_branch_with_gamma_zero_is_a_shift_and_then_nothing():
    """The residual branch that a network begins with, or that was pruned."""
    net = Layers().then("stem", Conv(3, 3, ODD)).then("c", Conv(3, 3, SAME)).then("bn", BatchNorm(3))
    net.then("relu", Activation()).then("sum", Add(), "stem", "relu").then("end", Activation("tanh"))
    network = net.network(bn__weight=np.zeros(3))
    rewritten, what = applied(fold_constants, network)
    assert names(rewritten) == ["stem", "sum", "end"]
    assert rewritten.node("sum").op == BatchNorm(3, eps=0.0)
    assert what == ["removed, since the result does not depend on it"] * 3 + ["1 known input of add sum computed"]
    assert names(rewrite(network).network) == ["sum", "end"]


@pytest.mark.parametrize(
    ("op", "bias", "left"),
    [(Add(), [0, 0, 0], "identity"), (Mul(), [1, 1, 1], "identity"), (Mul(), [0.5, 2, -1], "batch_norm")],
)
def test_what_a_known_input_leaves(op, bias, left):
    net = Layers().then("stem", Activation("tanh")).then("c", Conv(3, 3, SAME), "stem").then("m", op, "stem", "c")
    network = net.then("end", Activation()).network(c__weight=DEAD, c__bias=bias)
    rewritten, _ = applied(fold_constants, network)
    assert [node.op.kind for node in rewritten] == ["activation", left, "activation"]


def test_known_values_pass_what_keeps_them():
    net = Layers().then("stem", GlobalAvgPool(), INPUT).then("c", Conv(3, 3, SAME), INPUT)
    net.then("pool", MaxPool((Window(2), Window(3)))).then("gap", GlobalAvgPool(True)).then("flat", Flatten())
    net.then("sum", Add(), "stem", "flat")
    rewritten, _ = applied(fold_constants, net.network(c__weight=DEAD))
    assert names(rewritten) == ["stem", "sum"]


def test_three_inputs_of_which_one_is_zero():
    net = Layers().then("a", Activation()).then("b", Activation("tanh"), INPUT).then("c", Conv(3, 3, SAME), INPUT)
    network = net.then("sum", Add(), "a", "c", "b").network(c__weight=DEAD, c__bias=[0, 0, 0])
    rewritten, _ = applied(fold_constants, network)
    assert rewritten.node("sum").inputs == ("a", "b")


@pytest.mark.parametrize("op", [Add(), Mul()])
def test_where_all_inputs_are_known_one_of_them_takes_the_others(op):
    net = Layers().then("a", Conv(3, 3, SAME), INPUT).then("b", Conv(3, 3, SAME), INPUT)
    net.then("both", op, "a", "b").then("end", Activation("tanh"))
    rewritten, what = applied(fold_constants, net.network(a__weight=DEAD, b__weight=DEAD))
    assert [(node.name, node.op.kind) for node in rewritten] == [
        ("a", "conv"), ("both", "batch_norm"), ("end", "activation")
    ]  # fmt: skip
    assert what == ["removed, since the result does not depend on it", f"1 known input of {op.kind} both computed"]


@pytest.mark.parametrize("before", [Conv(3, 4, SAME), ConvTranspose(4, 4, (Transposed(1), Transposed(1)), groups=2)])
def test_what_holds_some_channels_and_what_holds_the_others_hold_all(before):
    """Three layers: a kernel of zeros, a gamma of zero before an activation, one behind it."""
    net = Layers((before.in_channels, 5, 7)).then("stem", Conv(before.in_channels, 4, SAME)).then("c", before, INPUT)
    net.then("bn", BatchNorm(4)).then("relu", Activation()).then("last", BatchNorm(4)).then(
        "sum", Add(), "stem", "last"
    )
    network = net.network(bn__weight=[1.5, 0, -2, 3], last__weight=[-1, 2, 0, 0])
    weight = network.weights["c.weight"].copy()
    weight[(slice(0, 2), 0) if isinstance(before, ConvTranspose) else 0] = 0
    rewritten, _ = applied(fold_constants, network.with_weights({**network.weights, "c.weight": weight}))
    assert names(rewritten) == ["stem", "sum"]
    weight = weight + 1e-9
    left_alone(fold_constants, network.with_weights({**network.weights, "c.weight": weight}))


def test_what_is_left_alone():
    net = Layers().then("a", Conv(3, 3, SAME)).then("b", Scale((3, 1, 1))).then("sum", Add(), "a", "b")
    left_alone(fold_constants, net.network())  # the convolution is read elsewhere
    left_alone(fold_constants, Layers().then("a", Conv(3, 3, SAME)).then("b", Scale((1, 7, 1))).network())
    left_alone(fold_constants, Layers().then("b", Scale((3, 1, 1))).network())
    infinite = (
        Layers().then("a", Conv(3, 3, SAME)).then("b", Scale((3, 1, 1))).network(b__weight=[[[1]], [[np.inf]], [[2]]])
    )
    left_alone(fold_constants, infinite)
    known = Layers().then("a", Conv(3, 3, SAME)).then("b", Activation(), INPUT).then("cat", Concat(), "a", "b")
    left_alone(fold_constants, known.network(a__weight=DEAD))


def test_a_layer_that_leads_nowhere_is_removed():
    b = Builder("net", (3, 7, 11))
    b.add(Identity(), INPUT, name="used")
    b.add(MaxPool((Window(2), Window(2))), "used", name="unused")
    rewritten, what = applied(fold_constants, b.build("used"))
    assert names(rewritten) == ["used"]
    assert what == ["removed, since the result does not depend on it"]
