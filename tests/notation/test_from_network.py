from __future__ import annotations

import re

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from notation.strategies import buildable
from striate.errors import NotationError
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.graph.from_onnx import from_onnx
from striate.notation import build, canonical, from_network, write
from striate.ops import (
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Mul,
)


@given(buildable())
def test_a_built_network_says_its_notation(case):
    chain, shape = case
    assert from_network(build(chain, shape)) == canonical(chain)


@given(buildable())
def test_a_network_read_back_and_built_again_is_the_same(case):
    first = build(*case)
    second = build(from_network(first), case[1])
    assert [(n.name, n.op, n.inputs, n.weights) for n in second] == [(n.name, n.op, n.inputs, n.weights) for n in first]


def built(*layers, shape=(4, 8, 9)):
    """A network of `layers`: each an op, or (op, inputs); names a, b, c..."""
    net = Builder("net", shape)
    x = INPUT
    for name, layer in zip("abcdefgh", layers, strict=False):
        op, inputs = layer if isinstance(layer, tuple) else (layer, (x,))
        x = net.add(op, *inputs, name=name)
    return net.build()


def square(kernel, **settings):
    return (Window(kernel, **settings),) * 2


RELU, TANH = Activation("relu"), Activation("tanh")


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ((RELU, (Add(), ("a", INPUT))), "[R]"),
        ((RELU, (Add(), (INPUT, "a"))), "[R]"),
        ((RELU, (TANH, (INPUT,)), (Add(), ("b", "a"))), "[T|R]"),
        ((RELU, TANH, (Add(), ("b", "a")), (Add(), ("c", "a"))), "R-[[T]]"),
        ((Identity(), RELU, Identity(), (Add(), ("c", "a"))), "[R]"),
        ((RELU, Identity()), "R"),
        ((GlobalAvgPool(keep_axes=True), Flatten(), Linear(4, 3)), "GAP-3"),
        ((GlobalAvgPool(), Flatten(), Linear(4, 3)), "GAP-F-3"),
        ((AvgPool(square(2, stride=2), count_include_pad=False),), "AP2"),
        ((Conv(4, 4, square(3), groups=4, bias=False), BatchNorm(4)), "DW3pv-BN"),
        ((Conv(4, 8, square(3), groups=4),), "8C3pvg4"),
        ((Conv(4, 8, square(1), bias=False), BatchNorm(8), Conv(8, 8, square(1), bias=False)), "8C1-BN-8C1nb"),
    ],
)
def test_a_network_says(layers, text):
    assert write(from_network(built(*layers))) == text


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((RELU, TANH, (Mul(), ("a", "b"))), "c: {}it is mul, for which it has no letters"),
        ((RELU, TANH, (Concat(), ("a", "b"))), "c: {}it is concat, for which it has no letters"),
        ((RELU, TANH, (Add(), (INPUT, "a", "b"))), "c: {}it adds 3 branches, and a group has two"),
        ((RELU, (Add(), ("a", "a"))), "b: {}it adds a tensor to itself"),
        ((BatchNorm(4, eps=1e-3),), "a: {}it has eps 0.001, momentum 0.1, affine True"),
        ((BatchNorm(4, affine=False),), "a: {}it has eps 1e-05, momentum 0.1, affine False"),
        (
            (GlobalAvgPool(keep_axes=True), RELU),
            "a: {}it keeps 1x1 maps that are not flattened",
        ),
        (
            (AvgPool((Window(3, pad_lo=1), Window(3)), count_include_pad=False),),
            "a: {}it leaves its padding out of the average",
        ),
        (
            (Dropout(0.5, whole_channels=True),),
            "a: {}it drops whole channels",
        ),
        (
            (RELU, TANH, (TANH, ("a",)), (Add(), ("b", "c")), (Add(), ("d", "b"))),
            "a: {}it writes 'a', whose 2 readers are not the two branches of a sum",
        ),
        (
            (RELU, TANH, (RELU, (INPUT,))),
            "a: {}it reads 'input', whose 2 readers are not the two branches of a sum",
        ),
    ],
)
def test_what_it_cannot_say_is_named(layers, message):
    message = message.format("the notation cannot say this layer: ") + "; keep the network itself"
    with pytest.raises(NotationError) as caught:
        from_network(built(*layers))
    assert str(caught.value) == message


def test_ceil_mode_and_one_axis_are_named():
    with pytest.raises(NotationError, match=r"^a: .*ceil_mode"):
        from_network(built(MaxPool(square(3, stride=2, ceil_mode=True))))
    with pytest.raises(NotationError, match=r"^a: .*1 spatial axes instead of two"):
        from_network(built(Conv(4, 4, (Window(3),)), shape=(4, 9)))


def test_shared_weights_are_named():
    net = Builder("net", (4, 8, 9))
    conv = Conv(4, 4, square(1), bias=False)
    net.add(conv, INPUT, name="a")
    net.add(conv, "a", name="b", path="a")
    message = (
        "b: the notation cannot say this layer: it shares the weight 'a.weight' with an earlier layer; "
        "keep the network itself"
    )
    with pytest.raises(NotationError, match=f"^{re.escape(message)}$"):
        from_network(net.build())


@st.composite
def graphs(draw):
    """Sums and distinguishable layers wired at random: most are no notation."""
    net = Builder("net", (2, 3, 5))
    tensors = [INPUT]
    for i in range(draw(st.integers(1, 9))):
        recent = st.sampled_from(tensors[-3:])
        name = f"n{i}"
        if draw(st.booleans()):
            net.add(Add(), draw(recent), draw(recent), name=name)
        else:
            net.add(Dropout(i / 100), draw(recent), name=name)
        tensors.append(name)
    return net.build()


def meaning(network):
    """The output as a term over the input; a sum does not depend on the order of its branches."""
    terms = {INPUT: "x"}
    for node in network:
        inputs = sorted(terms[name] for name in node.inputs)
        terms[node.name] = f"{node.op.kind}{node.op.describe()}({','.join(inputs)})"
    return terms[network.output]


@settings(max_examples=500)
@given(graphs())
def test_any_graph_is_said_exactly_or_refused(network):
    """Never a notation that means another network: same function, same layers, none twice."""
    try:
        chain = from_network(network)
    except NotationError as fault:
        named = str(fault).partition(":")[0]
        event("refused")
    else:
        named = ""
    if named:
        assert named in {node.name for node in network}
        return
    event(f"said, groups: {'[' in write(chain)}")
    again = build(chain, network.input_shape)
    assert meaning(again) == meaning(network)
    assert len(again) == len(network)


def test_a_published_network_whose_shortcuts_have_no_letters(shared_data):
    """A CIFAR-10 ResNet-20 as somebody else exported it: its shortcuts take every second pixel and pad channels."""
    network = from_onnx(shared_data / "pretrained" / "resnet20_cifar10.onnx")
    with pytest.raises(
        NotationError, match=r"cannot say this layer: it is slice, for which it has no letters; keep the"
    ):
        from_network(network)
