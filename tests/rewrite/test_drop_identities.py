from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from rewrite.agree import Layers, left_alone
from strategies import networks
from striate.geometry import Window
from striate.graph import INPUT, Builder, reference
from striate.ops import Activation, AdaptiveAvgPool, Add, AvgPool, Dropout, Flatten, GlobalAvgPool, Identity, MaxPool
from striate.rewrite import Applied, Refused, drop_identities
from striate.rewrite.drop_identities import UNCHANGED_BY


@settings(max_examples=60)
@given(networks())
def test_the_result_is_the_same_bit_for_bit(network):
    dropped, notes = drop_identities(network)
    x = np.random.default_rng(1).standard_normal((2, *network.input_shape)).astype(np.float32)
    assert np.array_equal(reference.output(dropped, x), reference.output(network, x))
    assert not any(type(node.op) in (Identity, Dropout) for node in dropped)
    assert len(dropped) == len(network) - len(notes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *((Activation(first), Activation(second)) for second, befores in UNCHANGED_BY.items() for first in befores),
        (Activation("tanh"), MaxPool((Window(1), Window(1, dilation=3)))),
        (Activation("tanh"), AvgPool((Window(1), Window(1)))),
        (Activation("tanh"), AdaptiveAvgPool((7, 11))),
        (GlobalAvgPool(), Flatten()),
    ],
)
def test_a_layer_that_would_change_nothing_goes(first, second):
    network = Layers().then("first", first).then("second", second).network()
    dropped, notes = drop_identities(network)
    assert [node.name for node in dropped] == ["first"]
    assert notes == (Applied("drop_identities", "second", f"{second.kind} removed"),)
    x = 4 * np.random.default_rng(0).standard_normal((2, 3, 7, 11))
    assert np.array_equal(reference.output(dropped, x), reference.output(network, x))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Activation("leaky_relu"), Activation("relu")),
        (Activation("relu"), Activation("relu6")),
        (Activation("sigmoid"), Activation("sigmoid")),
        (Activation("tanh"), MaxPool((Window(1, stride=2), Window(1)))),
        (Activation("tanh"), AvgPool((Window(2), Window(1)))),
        (Activation("tanh"), AdaptiveAvgPool((7, 10))),
        (GlobalAvgPool(keep_axes=True), Flatten()),
    ],
)
def test_a_layer_that_changes_something_stays(first, second):
    left_alone(drop_identities, Layers().then("first", first).then("second", second).network())


def test_readers_read_through_a_chain():
    b = Builder("chain", (2, 3, 5))
    b.add(Identity(), INPUT, name="a")
    b.add(Dropout(0.3), "a", name="b")
    b.add(Activation("relu"), "b", name="relu")
    b.add(Dropout(), "relu", name="c")
    b.add(Add(), "c", "a", name="sum")
    b.add(Identity(), "sum", name="end")
    dropped, notes = drop_identities(b.build())
    assert [(node.name, node.inputs) for node in dropped] == [("relu", (INPUT,)), ("sum", ("relu", INPUT))]
    assert dropped.output == "sum"
    assert notes[:2] == (
        Applied("drop_identities", "a", "identity removed"),
        Applied("drop_identities", "b", "dropout removed"),
    )


def test_the_only_layer_stays():
    b = Builder("only", (2, 3, 5))
    b.add(Dropout(), INPUT, name="drop")
    dropped, notes = drop_identities(b.build())
    assert [node.name for node in dropped] == ["drop"]
    assert notes == (Refused("drop_identities", "drop", "is the result and reads the network's input"),)
