from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given

from notation.strategies import buildable
from striate.errors import NotationError
from striate.graph import infer_shapes
from striate.notation import build, expand, parse
from striate.notation.build import smallest_input
from striate.ops import AvgPool, BatchNorm, Conv, MaxPool


def network(text, shape=(3, 20, 33)):
    return build(parse(text), shape)


def test_the_example_of_the_papers():
    net = network("32C3-BN-R-MP2-64C3s2-BN-R-2x(64C3-BN-R)-GAP-10", (1, 28, 30))
    shapes = infer_shapes(net)
    assert [(n.name, n.op.kind, shapes[n.name]) for n in net if n.op.kind not in ("batch_norm", "activation")] == [
        ("conv1", "conv", (32, 28, 30)),
        ("pool1", "max_pool", (32, 14, 15)),
        ("conv2", "conv", (64, 7, 8)),
        ("conv3", "conv", (64, 7, 8)),
        ("conv4", "conv", (64, 7, 8)),
        ("pool2", "global_avg_pool", (64,)),
        ("fc1", "linear", (10,)),
    ]
    # by hand: weights without bias, gamma and beta of 32 + 3 x 64 channels, the dense layer
    assert net.parameters() == 32 * 9 + 64 * 32 * 9 + 2 * 64 * 64 * 9 + 2 * (32 + 3 * 64) + 64 * 10 + 10
    assert net.name == "32C3-BN-R-MP2-64C3s2-BN-R-2x(64C3-BN-R)-GAP-10"


def test_names_count_each_sort_within_its_group():
    net = network("8C3-R6-[8C3-BN-[R-R]-8C3|8C1-BN]-R-[R]-MP2-AP2-AAP2x3-DW3-F-D0.5-9-SM")
    assert [n.name for n in net] == [
        "conv1",
        "relu6_1",
        *("block1.conv1", "block1.bn1", "block1.block1.relu1", "block1.block1.relu2", "block1.block1.add"),
        *("block1.conv2", "block1.shortcut.conv1", "block1.shortcut.bn1", "block1.add"),
        *("relu1", "block2.relu1", "block2.add", "pool1", "pool2", "pool3", "conv2", "flatten1", "dropout1"),
        *("fc1", "softmax1"),
    ]
    assert net.node("block1.add").inputs == ("block1.conv2", "block1.shortcut.bn1")
    assert net.node("block2.add").inputs == ("block2.relu1", "relu1")
    assert list(net.weight_specs())[:6] == [
        *("conv1.weight", "conv1.bias"),
        *("block1.conv1.weight", "block1.bn1.weight", "block1.bn1.bias", "block1.bn1.running_mean"),
    ]


def test_names_do_not_depend_on_how_repetition_is_written():
    once, twice = network("4C3-[4C3-R]-4C3-[4C3-R]"), network("2x(4C3-[4C3-R])")
    assert [n.name for n in once] == [n.name for n in twice]


def test_a_bias_is_left_out_only_directly_before_batch_normalisation():
    net = network("4C3-R-BN-4C3-BN-4C3b-BN-4C3nb-DW3-BN-[4C3]-BN-2x(4C3)-BN-F-7-BN-5")
    biases = {n.name: n.op.bias for n in net if n.op.kind in ("conv", "linear")}
    assert biases == {
        "conv1": True,
        "conv2": False,
        "conv3": True,
        "conv4": False,
        "conv5": False,
        "block1.conv1": True,
        "conv6": True,
        "conv7": False,
        "fc1": False,
        "fc2": True,
    }


def test_depthwise_and_grouped_convolutions():
    net = network("6C3-DW5x3s2-12C1g3", (3, 11, 13))
    depthwise, grouped = net.nodes[1].op, net.nodes[2].op
    assert (depthwise.in_channels, depthwise.out_channels, depthwise.groups, depthwise.kernel) == (6, 6, 6, (5, 3))
    assert (grouped.in_channels, grouped.out_channels, grouped.groups) == (6, 12, 3)
    assert infer_shapes(net)["conv2"] == (6, 6, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "8C3-BN-R-10",
            (
                "notation: fc1 ('10') is a dense layer on feature maps 8x20x33; put F (keeps every position) or GAP "
                "(averages each map) before it"
            ),
        ),
        (
            "8C3-5x(MP2)-GAP-10",
            (
                "notation: pool5 ('MP2') needs 2x2 px and gets 1x2: the network is too deep for its 20x33 input; give "
                "it at least 32x32, or take out a stride or pooling before this layer"
            ),
        ),
        (
            "MP3-MP2-[8C3-8C9x5pv|8C9x5pv]-GAP",
            (
                "notation: block1.conv2 ('8C9x5pv') needs 9x5 px and gets 3x5: the network is too deep for its 20x33 "
                "input; give it at least 54x30, or take out a stride or pooling before this layer"
            ),
        ),
        ("8C3g2", "notation: conv1 ('8C3g2'): conv: groups=2 does not divide in_channels=3; use one of (1, 3)"),
        (
            "GAP-8C3",
            "notation: conv1 ('8C3'): conv got shape (3,), needs feature maps (C, H, W); put it before the flattening",
        ),
        (
            "[16C3s2-BN-R-16C3-BN]-R",
            (
                "notation: block1 turns 3x20x33 into 16x10x17, which cannot be added to its own input; make them "
                "equal, as the shortcut in [...|16C1s2-BN] does"
            ),
        ),
        (
            "4C3-[[6C3s1x2]]",
            (
                "notation: block1.block1 turns 4x20x33 into 6x20x17, which cannot be added to its own input; make them "
                "equal, as the shortcut in [...|6C1s1x2] does"
            ),
        ),
        (
            "[8C3s2-BN|8C1]",
            (
                "notation: block1: the body gives 8x10x17 and the shortcut 8x20x33, which cannot be added; make them "
                "equal, as the shortcut in [...|8C1s2-BN] does"
            ),
        ),
        (
            "[8C3p2]",
            "notation: block1 turns 3x20x33 into 8x22x35, which cannot be added to its own input; make them equal",
        ),
        ("[GAP]", "notation: block1 turns 3x20x33 into 3, which cannot be added to its own input; make them equal"),
    ],
)
def test_a_fault_names_the_layer_its_notation_and_the_change(text, message):
    with pytest.raises(NotationError) as caught:
        network(text)
    assert str(caught.value) == message


def test_the_advice_of_the_errors_works():
    network("[16C3s2-BN-R-16C3-BN|16C1s2-BN]-R")
    network("4C3-[[6C3s1x2|6C1s1x2]|6C1s1x2]")
    network("8C3-5x(MP2)-GAP-10", (3, 32, 32))
    network("MP3-MP2-[8C3-8C9x5pv|8C9x5pv]-GAP", (3, 54, 30))


@pytest.mark.parametrize("shape", [(3, 20), (20,), (3, 0, 5), (3, 4, 5, 6)])
def test_an_input_that_is_no_image_is_refused(shape):
    message = f"notation: input shape {shape} is not (channels, height, width), each at least 1"
    with pytest.raises(NotationError, match=f"^{re.escape(message)}$"):
        network("8C3", shape)


def test_nothing_is_no_network():
    with pytest.raises(NotationError, match=r"^notation: a network needs at least one layer$"):
        build((), (3, 20, 33))


@pytest.mark.parametrize(
    "text",
    [
        "8C3-5x(MP2)-GAP-10",
        "8C7s2x3pv-MP3s2-DW5d2pv-F-10",
        "8C4x2p0:2x1:0s3-AP3x2-MP2x3s1",
        "[8C3s2-8C3|8C1s2]-[8C5x3s3|8C1s3]-4C3pv",
        "4C9pv-AAP5-4C5pv",
        "3C3p5-2C9x20pv",
        "3C3p5-MP2",
        "[8C3s2|MP2-8C1]-GAP",
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_the_smallest_input_is_the_smallest_that_builds(text, axis):
    def fits(size):
        shape = [3, 200, 200]
        shape[1 + axis] = size
        try:
            network(text, tuple(shape))
        except NotationError as fault:
            if "too deep" not in str(fault):
                raise
            return False
        return True

    least = next(size for size in range(1, 200) if fits(size))
    assert smallest_input(expand(parse(text)), axis) == least


@given(buildable())
def test_what_is_written_to_fit_builds_with_unique_names(case):
    chain, shape = case
    net = build(chain, shape)
    names = [n.name for n in net] + list(net.weight_specs())
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"((block\d+|shortcut)\.)*[a-z]+(_[a-z]+)*\d*_?\d+|.*\.add", n.name) for n in net)


def test_the_network_computes_what_the_notation_says(seeded):
    """Side by side with the same layers in torch."""
    torch = pytest.importorskip("torch")
    from torch import nn

    from striate.graph.reference import output

    net = network("4C3x5s2p1:0x2-BN-R-[DW3-6C1|6C1]-MP3s2p1-F-5", (2, 7, 11))
    rng = np.random.default_rng(5)
    values = {name: rng.uniform(0.2, 1, spec.shape) for name, spec in net.weight_specs().items()}
    x = rng.standard_normal((3, 2, 7, 11))
    conv, norm = nn.Conv2d(2, 4, (3, 5), 2, bias=False), nn.BatchNorm2d(4)
    deep, wide, skip = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1)
    head = nn.Linear(6 * 2 * 3, 5)
    names = ["conv1", "bn1", "block1.conv1", "block1.conv2", "block1.shortcut.conv1", "fc1"]
    with torch.no_grad():
        for name, module in zip(names, (conv, norm, deep, wide, skip, head), strict=True):
            module.double().eval()
            for key, tensor in module.state_dict().items():
                if key != "num_batches_tracked":
                    tensor.copy_(torch.from_numpy(values[f"{name}.{key}"]))
        y = norm(conv(nn.functional.pad(torch.from_numpy(x), (2, 2, 1, 0)))).relu()
        y = nn.functional.max_pool2d(wide(deep(y)) + skip(y), 3, 2, 1)
        expected = head(y.flatten(1)).numpy()
    assert np.abs(output(net.with_weights(values), x) - expected).max() < 1e-12 * np.abs(expected).max()


def test_settings_that_the_notation_leaves_out_are_torchs_defaults():
    net = network("4C3-BN-MP2-AP2")
    conv, norm, largest, mean = (n.op for n in net)
    assert isinstance(conv, Conv)
    assert norm == BatchNorm(4, eps=1e-5, momentum=0.1, affine=True)
    assert largest == MaxPool(mean.windows)
    assert mean == AvgPool(largest.windows, count_include_pad=True)
