from __future__ import annotations

import numpy as np
import pytest

from striate.errors import NetworkError
from striate.geometry import Window
from striate.graph import INPUT, Builder, Network, Node, initialise
from striate.ops import Activation, Add, BatchNorm, Conv, Linear


def shared_kernels() -> Network:
    b = Builder("twice", (3, 7, 11))
    conv = Conv(3, 3, (Window(3, pad_lo=1, pad_hi=1), Window(1)))
    first = b.add(conv, INPUT, name="first")
    second = b.add(conv, first, name="second", path="first")
    b.add(BatchNorm(3), b.add(Add(), INPUT, second, name="sum"), name="bn")
    return b.build()


def test_a_node_is_found_by_name_and_a_missing_one_names_those_there_are():
    network = shared_kernels()
    assert network.node("sum").inputs == (INPUT, "second")
    assert len(network) == 4
    with pytest.raises(NetworkError) as fault:
        network.node("third")
    assert str(fault.value) == "twice has no layer 'third'; its layers are first, second, sum, bn"


def test_consumers_lists_who_reads_each_tensor():
    readers = {name: [node.name for node in nodes] for name, nodes in shared_kernels().consumers().items()}
    assert readers == {INPUT: ["first", "sum"], "first": ["second"], "second": ["sum"], "sum": ["bn"], "bn": []}


def test_shared_weights_and_running_averages_are_counted_once_or_not_at_all():
    network = shared_kernels()
    assert list(network.weight_specs()) == [
        "first.weight", "first.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
    ]  # fmt: skip
    assert network.parameters() == 3 * 3 * 3 + 3 + 2 * 3


def test_weights_are_read_only_complete_and_of_the_right_shape():
    network = initialise(shared_kernels(), 0)
    with pytest.raises(ValueError, match="read-only"):
        network.weights["first.weight"][0] = 1.0
    arrays = dict(network.weights)
    with pytest.raises(NetworkError) as fault:
        network.with_weights({name: a for name, a in arrays.items() if name != "bn.bias"})
    assert str(fault.value) == ("twice: weight 'bn.bias' is missing; the file must hold every weight of the network")
    with pytest.raises(NetworkError) as fault:
        network.with_weights(arrays | {"first.weight": np.zeros((3, 3, 1, 3))})
    assert str(fault.value) == "twice: weight 'first.weight' has shape (3, 3, 1, 3), needs (3, 3, 3, 1)"


def test_an_architecture_without_weights_says_so():
    network = shared_kernels()
    with pytest.raises(NetworkError) as fault:
        network.weights_of(network.node("first"))
    assert str(fault.value) == "first: weight 'first.weight' has no values; initialise or load the network first"


def test_weights_come_by_role_and_in_any_dtype():
    network = initialise(shared_kernels(), 0).astype(np.float64)
    weights = network.weights_of(network.node("bn"))
    assert list(weights) == ["gamma", "beta", "running_mean", "running_var"]
    assert {a.dtype for a in network.weights.values()} == {np.dtype(np.float64)}


def test_the_builder_names_the_layer_at_fault():
    b = Builder("net", (3, 7, 11))
    with pytest.raises(NetworkError) as fault:
        b.add(Activation("relu"), "stem", name="r")
    assert str(fault.value) == "r: reads 'stem', which is not written before it; order the layers so that it is"
    with pytest.raises(NetworkError) as fault:
        b.add(Add(), INPUT, name="sum")
    assert str(fault.value) == "sum: add reads 2 or more inputs, got 1"
    with pytest.raises(Exception, match=r"^fc: linear got shape \(3, 7, 11\), needs a vector; flatten or pool "):
        b.add(Linear(231, 10), INPUT, name="fc")
    assert b.build.__self__._nodes == []  # a refused layer leaves nothing behind


def test_the_builder_follows_shapes_and_the_state_dicts_names():
    b = Builder("net", (3, 7, 11))
    b.add(BatchNorm(3), INPUT, name="n", path="stem.bn")
    assert b.shape() == b.shape("n") == (3, 7, 11)
    assert b.build().node("n") == Node(
        "n",
        BatchNorm(3),
        (INPUT,),
        {
            "gamma": "stem.bn.weight",
            "beta": "stem.bn.bias",
            "running_mean": "stem.bn.running_mean",
            "running_var": "stem.bn.running_var",
        },
        "stem.bn",
    )
