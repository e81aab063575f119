from __future__ import annotations

import pytest

from striate.errors import NetworkError, ShapeError
from striate.geometry import Window
from striate.graph import INPUT, Network, Node, check, infer_shapes
from striate.ops import Activation, Add, Conv, Flatten, Linear, MaxPool

RELU = Activation("relu")
CONV = Conv(3, 4, (Window(3), Window(5)), bias=False)
POOL = MaxPool((Window(2, 2), Window(2, 2)))


def network(*nodes: Node, output: str | None = None, shape=(3, 7, 11)) -> Network:
    return Network("net", shape, nodes, output or nodes[-1].name)


def test_a_legal_network_is_returned_and_its_shapes_are_known():
    legal = network(
        Node("conv", CONV, (INPUT,), {"weight": "conv.weight"}),
        Node("act", RELU, ("conv",)),
        Node("sum", Add(), ("conv", "act", "conv")),
        Node("pool", POOL, ("sum",)),
        Node("flat", Flatten(), ("pool",)),
    )
    assert check(legal) is legal
    assert infer_shapes(legal) == {
        INPUT: (3, 7, 11),
        "conv": (4, 5, 7),
        "act": (4, 5, 7),
        "sum": (4, 5, 7),
        "pool": (4, 2, 3),
        "flat": (24,),
    }
    assert infer_shapes(legal, (3, 12, 14))["pool"] == (4, 5, 5)


FAULTS = {
    "name twice": (
        network(Node("a", RELU, (INPUT,)), Node("a", RELU, (INPUT,))),
        "a: two layers have this name, or it is the input's; give each its own",
    ),
    "the input's name": (
        network(Node(INPUT, RELU, (INPUT,))),
        "input: two layers have this name, or it is the input's; give each its own",
    ),
    "out of order": (
        network(Node("a", RELU, ("b",)), Node("b", RELU, (INPUT,))),
        "a: reads 'b', which is not written before it; order the layers so that it is",
    ),
    "a cycle": (
        network(Node("a", RELU, ("a",))),
        "a: reads 'a', which is not written before it; order the layers so that it is",
    ),
    "too many inputs": (
        network(Node("a", RELU, (INPUT, INPUT))),
        "a: activation reads 1 inputs, got 2",
    ),
    "too few inputs": (
        network(Node("a", Add(), (INPUT,))),
        "a: add reads 2 or more inputs, got 1",
    ),
    "a weight missing": (
        network(Node("a", CONV, (INPUT,))),
        "a: conv has weights ['weight'], got []",
    ),
    "a weight too many": (
        network(Node("a", CONV, (INPUT,), {"weight": "w", "bias": "b"})),
        "a: conv has weights ['weight'], got ['bias', 'weight']",
    ),
    "shared of another shape": (
        network(
            Node("a", CONV, (INPUT,), {"weight": "w"}),
            Node("b", Conv(4, 4, (Window(3), Window(5)), bias=False), ("a",), {"weight": "w"}),
        ),
        "b: shares 'w' of shape (4, 3, 3, 5), needs (4, 4, 3, 5)",
    ),
    "no such output": (
        network(Node("a", RELU, (INPUT,)), output="z"),
        "net: output 'z' is not a layer; name one of its layers",
    ),
    "the input as output": (
        network(Node("a", RELU, (INPUT,)), output=INPUT),
        "net: output 'input' is not a layer; name one of its layers",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named(fault):
    illegal, message = FAULTS[fault]
    with pytest.raises(NetworkError) as error:
        check(illegal)
    assert str(error.value) == message


def test_a_shape_that_does_not_fit_names_its_layer_whichever_room_refuses_it():
    deep = network(
        Node("conv", CONV, (INPUT,), {"weight": "w"}), Node("p1", POOL, ("conv",)), Node("p2", POOL, ("p1",))
    )
    assert check(deep) is deep
    with pytest.raises(ShapeError) as error:
        infer_shapes(deep, (3, 5, 11))
    assert str(error.value) == (
        "p2: a window of 2 px does not fit 1 px padded by 0 and 0; the input must be at least 2 px"
    )
    with pytest.raises(ShapeError) as error:
        check(network(Node("flat", Flatten(), (INPUT,)), Node("fc", Linear(230, 2), ("flat",), {
            "weight": "w", "bias": "b",
        })))  # fmt: skip
    assert str(error.value) == "fc: linear got 231 features, needs 230; the input image's size decides this"
