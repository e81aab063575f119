from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from strategies import networks
from striate.graph import INPUT, Builder, reference
from striate.ops import Activation, Add, Dropout, Identity
from striate.rewrite import Applied, Refused, drop_identities


@settings(max_examples=60)
@given(networks())
def test_the_result_is_the_same_bit_for_bit(network):
    dropped, notes = drop_identities(network)
    x = np.random.default_rng(1).standard_normal((2, *network.input_shape)).astype(np.float32)
    assert np.array_equal(reference.output(dropped, x), reference.output(network, x))
    assert not any(type(node.op) in (Identity, Dropout) for node in dropped)
    assert len(dropped) == len(network) - len(notes)


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
