"""MACs by counting products, memory by simulation and by what autograd saves, sharing by hand."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from contracts.op_examples import EXAMPLES
from measure.random_graphs import random_graph
from strategies import random_network
from striate.errors import NetworkError
from striate.geometry import Window
from striate.graph import INPUT, Builder, infer_shapes, initialise
from striate.graph.to_torch import to_module
from striate.measure import costs, flops, kept_for_training, peak_activation_bytes, schedule
from striate.notation import read
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Softmax,
)

WINDOWS = (Window(3, 2, 1, 1, 0), Window(2, 1, 3, 0, 2))
SEEDS = range(24)


def products(op: Conv, shape: tuple[int, ...]) -> tuple[int, int]:
    """All products of a convolution, one by one, and those of them whose pixel is real."""
    every = real = 0
    channels = op.in_channels // op.groups
    for place in product(*(range(n) for n in op.out_shape(shape)[1:])):
        for tap in product(*(range(w.kernel) for w in op.windows)):
            at = [i * w.stride - w.pad_lo + m * w.dilation for i, m, w in zip(place, tap, op.windows, strict=True)]
            every += op.out_channels * channels
            real += op.out_channels * channels * all(0 <= t < n for t, n in zip(at, shape[1:], strict=True))
    return every, real


def test_macs_are_the_products_of_the_definition():
    op = Conv(6, 4, WINDOWS, groups=2)
    net = Builder("one", (6, 7, 11))
    net.add(op, INPUT, name="conv")
    cost = costs(net.build())["conv"]
    assert (cost.macs, cost.macs_on_pixels) == products(op, (6, 7, 11))
    assert cost.macs_on_pixels < cost.macs


@pytest.mark.parametrize("seed", SEEDS)
def test_macs_are_what_torchs_counter_sees(seed):
    network = random_network(seed)
    try:
        module = to_module(network).eval()
    except NetworkError as fault:
        pytest.skip(str(fault))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.ones(1, *network.input_shape))
    assert sum(c.macs for c in costs(network).values()) == counter.get_total_flops() // 2


@pytest.mark.parametrize("seed", SEEDS)
def test_pixel_macs_are_the_products_that_are_not_zero(seed):
    network = random_graph(seed)
    shapes = infer_shapes(network)
    for node in network:
        if isinstance(node.op, Conv):
            shape = shapes[node.inputs[0]]
            cost = costs(network)[node.name]
            assert (cost.macs, cost.macs_on_pixels) == products(node.op, shape)


def test_a_shared_weight_counts_once_and_its_macs_each_time():
    net = Builder("shared", (3, 5, 7))
    conv = Conv(3, 3, (Window(3, pad_lo=1, pad_hi=1),) * 2)
    x = net.add(conv, INPUT, name="first", path="conv")
    net.add(conv, x, name="second", path="conv")
    first, second = costs(net.build()).values()
    assert (first.parameters, second.parameters) == (3 * 3 * 9 + 3, 0)
    assert first.macs == second.macs == 3 * 3 * 9 * 35


def test_running_averages_are_no_parameters_but_are_moved():
    net = Builder("norm", (3, 2, 5))
    net.add(BatchNorm(3), INPUT, name="bn")
    cost = costs(net.build())["bn"]
    assert cost.parameters == 6
    assert cost.moved_bytes == 4 * (30 + 30 + 12)


@pytest.mark.parametrize(
    ("op", "shapes", "expected"),
    [
        (Conv(3, 4, WINDOWS), [(3, 7, 11)], 2 * 4 * 3 * 10 * 3 * 6),
        (Linear(7, 3), [(7,)], 42),
        (BatchNorm(3), [(3, 2, 5)], 60),
        (Activation("silu"), [(3, 2, 5)], 30),
        (Softmax(), [(7,)], 35),
        (Add(), [(3, 2, 5)] * 3, 60),
        (MaxPool((Window(2, 2), Window(3, 3))), [(2, 4, 9)], 2 * 2 * 3 * 5),
        (AvgPool((Window(2, 2), Window(3, 3))), [(2, 4, 9)], 2 * 2 * 3 * 6),
        (GlobalAvgPool(), [(2, 4, 9)], 72),
        (AdaptiveAvgPool((2, 3)), [(2, 5, 7)], 2 * (3 + 3) * (3 + 3 + 3)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_flops_are_two_a_mac_and_the_elementwise_steps(op, shapes, expected):
    assert flops(op, shapes, op.out_shape(*shapes)) == expected


def simulated_peak(network) -> int:
    """Tensors alive at each step, found by asking of every tensor whether anything later reads it."""
    shapes = infer_shapes(network)
    nodes = list(network)
    peak = prod(shapes[INPUT])
    for now in range(len(nodes)):
        written = [INPUT, *(node.name for node in nodes[: now + 1])]
        needed = {name for node in nodes[now:] for name in node.inputs} | {network.output, nodes[now].name}
        kept = [name for name in written if name in needed]
        peak = max(peak, sum(prod(shapes[name]) for name in kept))
    return 4 * peak


@pytest.mark.parametrize("seed", SEEDS)
def test_the_peak_is_that_of_a_simulation(seed):
    for network in (random_network(seed), random_graph(seed)):
        moments = list(schedule(network))
        assert peak_activation_bytes(network) == simulated_peak(network)
        assert [moment.layer for moment in moments] == [node.name for node in network]
        assert all(4 * sum(prod(infer_shapes(network)[t]) for t in m.tensors) == m.bytes for m in moments)


TRAINED = (
    "4C3-BN-R-MP2-6C3-BN-R-AP2-F-10",
    "4C3-R6-4C3-LR-4C3-ELU-4C3-S-4C3-T-4C3-SiLU-4C3-HSig-4C3-HS-GAP-5",
    "4C3-[4C3-BN-R-4C3-BN]-R-D0.5-AAP2x3-F-7-SM",
    "4C3-BN-R-MP2s1-BP3s2-6C3-BP5-R-GAP-4",
    "4C3g1-R-AP3-DW3-SiLU-GAP-3",
    "6C3s2-MP3s2p1-[6C1-R-6C3|6C1]-R-F-12-R-4",
)


@pytest.mark.parametrize("text", TRAINED)
@pytest.mark.usefixtures("seeded")
def test_what_training_keeps_is_what_autograd_saves(text):
    network = initialise(read(text, (3, 13, 14)), 0)
    module, images = to_module(network), 3
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(torch.rand(images, *network.input_shape))
    # Neither the statistics of a batch, which are vectors, nor the kernel of a blur grow with the batch.
    kept = [t for key, t in saved.items() if key not in own and t.ndim > 1 and len(t) == images]
    assert sum(t.untyped_storage().nbytes() for t in kept) == images * sum(kept_for_training(network).values())


def test_bytes_moved_and_intensity_by_hand():
    net = Builder("one", (3, 5, 7))
    net.add(Conv(3, 4, (Window(3), Window(3))), INPUT, name="conv")
    cost = costs(net.build())["conv"]
    assert cost.moved_bytes == 4 * (3 * 35 + 4 * 15 + 4 * 27 + 4)
    assert cost.output_bytes == 4 * 60
    assert np.isclose(cost.macs / cost.moved_bytes, 4 * 15 * 27 / cost.moved_bytes)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_of_layer_has_its_flops_defined(kind):
    for op, shapes in EXAMPLES[kind]:
        count = flops(op, shapes, op.out_shape(*shapes))
        assert count is not None
        assert count >= 2 * op.macs(*shapes) >= 2 * op.macs_on_pixels(*shapes) >= 0
