"""A network as a torch module: the same function, the same names, and training that the reference agrees with."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.op_examples import ALL
from strategies import random_network
from striate.errors import CaptureError, NetworkError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise, reference
from striate.graph.from_torch import capture
from striate.graph.to_torch import to_module
from striate.notation import read
from striate.ops import Add, AvgPool, BlurPool, Conv, Flatten, Linear, MaxPool, Reshape

torch = pytest.importorskip("torch")

NETS = [
    ("8C3-BN-R-MP3s2p1-[16C3s2-BN-R-16C3-BN|16C1s2-BN]-R-DW3-BN-SiLU-GAP-10", (3, 29, 31)),
    ("6C3p1:2-BN-LR-AP2-F-7", (2, 12, 13)),
    ("6C3-BN-R-MP2s1-BP3s2-DW3-BP4p1:2-GAP-7", (2, 12, 13)),
    ("4C3x5s2x1p1:0x2g2-ELU-AAP3x2-F-D0.3-5-SM", (2, 17, 11)),
    ("mobilenet_v2", (3, 32, 40)),
    ("resnet18", (3, 65, 47)),
]


def exact(net, shape):
    return initialise(read(net, shape), 0).astype(np.float64)


@pytest.mark.parametrize(("net", "shape"), NETS)
def test_it_computes_what_the_reference_computes(net, shape):
    network = exact(net, shape)
    x = np.random.default_rng(1).standard_normal((2, *shape))
    want = reference.output(network, x)
    with torch.inference_mode():
        got = to_module(network).eval()(torch.from_numpy(x)).numpy()
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-12 * np.abs(want).max()


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_random_networks_keep_their_function_through_torch_and_back(seed):
    network = random_network(seed)
    try:
        module = to_module(network)
    except NetworkError as fault:
        assert "has no torch layer" in str(fault)  # noqa: PT017 - said, not passed over
        return
    x = np.random.default_rng(seed).standard_normal((2, *network.input_shape))
    want = reference.output(network.astype(np.float64), x)
    allowed = 1e-12 * max(1e-300, np.abs(want).max())
    module = module.double().eval()
    with torch.inference_mode():
        assert np.abs(module(torch.from_numpy(x)).numpy() - want).max() <= allowed
    try:
        back = capture(module, network.input_shape, name=network.name)
    except CaptureError as fault:
        assert "ones_like" in str(fault)  # noqa: PT017 - an average of uneven padding that counts pixels only
        return
    assert np.abs(reference.output(back.astype(np.float64), x) - want).max() <= allowed


@pytest.mark.parametrize(("net", "shape"), NETS)
def test_the_state_dict_has_the_networks_names_in_their_order(net, shape):
    network = exact(net, shape)
    keys = [key for key in to_module(network).state_dict() if not key.endswith("num_batches_tracked")]
    assert keys == list(network.weight_specs())


def test_training_follows_the_reference_gradients_and_running_averages():
    network = exact("6C3s2-BN-R-[6C3-BN-R-6C3-BN]-R-MP2-F-5", (2, 11, 13))
    module = to_module(network).train()
    rng = np.random.default_rng(0)
    x, seed_grad = rng.standard_normal((7, 2, 11, 13)), rng.standard_normal((7, 5))
    values = reference.run(network, x, training=True)
    _, grads = reference.gradient(network, values, seed_grad, training=True)
    result = module(torch.from_numpy(x))
    result.backward(torch.from_numpy(seed_grad))
    assert np.abs(result.detach().numpy() - values[network.output]).max() < 1e-12
    got = dict(module.named_parameters())
    assert set(got) == set(grads)
    for name, grad in grads.items():
        assert np.abs(got[name].grad.numpy() - grad).max() < 1e-10, name
    trained = module.trained()
    for name, average in reference.running_averages(network, values).items():
        assert np.abs(trained.weights[name] - average).max() < 1e-12, name


def test_a_shared_layer_is_one_module_and_stays_shared():
    build = Builder("shared", (3, 8, 9))
    conv = Conv(3, 3, (Window(3, pad_lo=1, pad_hi=1),) * 2)
    first = build.add(conv, INPUT, name="one")
    second = build.add(conv, first, name="two", weights={"weight": "one.weight", "bias": "one.bias"})
    build.add(Add(), first, second, name="sum")
    build.add(Flatten(), "sum", name="flat")
    build.add(Linear(3 * 72, 4), "flat", name="fc")
    network = initialise(build.build(), 0).astype(np.float64)
    module = to_module(network)
    assert sum(isinstance(part, torch.nn.Conv2d) for part in module.modules()) == 1
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 9))
    with torch.inference_mode():
        assert np.abs(module(torch.from_numpy(x)).numpy() - reference.output(network, x)).max() < 1e-13
    assert module.trained().parameters() == network.parameters() == 3 * 3 * 9 + 3 + 3 * 72 * 4 + 4


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((Window(3, 2, 1, 2, 0), Window(2, 1, 1, 0, 1))),
        MaxPool((Window(3, 2, 1, 2, 2, ceil_mode=True), Window(2, 3, 1, 1, 1, ceil_mode=True))),
        MaxPool((Window(3, 2, 1, 1, 1, ceil_mode=True), Window(2, 3, 1, 1, 1))),
        AvgPool(
            (Window(3, 2, 1, 1, 1, ceil_mode=True), Window(2, 3, 1, 0, 1, ceil_mode=True)), count_include_pad=False
        ),
        AvgPool((Window(3, 2, 1, 1, 0), Window(2, 1, 1, 0, 1)), count_include_pad=True),
        AvgPool((Window(3, 2, 1, 1, 0), Window(2, 1, 1, 0, 1)), count_include_pad=False),
        BlurPool((Window(3, 2, 1, 1, 1), Window(4, 1, 1, 2, 1))),
    ],
)
def test_pools_with_uneven_padding(op):
    build = Builder("pool", (3, 9, 7))
    build.add(op, INPUT, name="pool")
    network = build.build()
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 7))
    with torch.inference_mode():
        got = to_module(network)(torch.from_numpy(x)).numpy()
    assert np.abs(got - reference.output(network, x)).max() < 1e-14


@pytest.mark.parametrize("example", ALL, ids=lambda e: e.title)
def test_every_layer_is_a_torch_layer_and_is_captured_as_itself(example):
    build = Builder("one", example.shapes[0])
    reads = [INPUT]  # the second input of a sum, say, is made from the first
    for i, shape in enumerate(example.shapes[1:]):
        total = int(np.prod(example.shapes[0]))
        flat = build.add(Flatten(), INPUT, name=f"flat{i}") if len(example.shapes[0]) > 1 else INPUT
        dense = build.add(Linear(total, int(np.prod(shape))), flat, name=f"dense{i}")
        reads.append(build.add(Reshape(shape), dense, name=f"shape{i}"))
    build.add(example.op, *reads, name="layer")
    network = initialise(build.build(), 3).astype(np.float64)
    arrays = {f"layer.{role}": array for role, array in example.weights().items()}
    own = {name: arrays.get(f"layer.{role}", network.weights[name])
           for node in network for role, name in node.weights.items()}  # fmt: skip
    network = network.with_weights(own)
    x = example.inputs()[0]
    want = reference.output(network, x)
    try:
        module = to_module(network).eval()
    except NetworkError as fault:
        assert "layer: " in str(fault)  # noqa: PT017 - uneven cropping, overhanging averages
        assert example.op.kind in ("conv_transpose", "avg_pool")
        return
    rtol = 1e-10 if example.op.kind == "div" else 1e-12  # a divisor near 0 is a sum that has lost digits
    with torch.inference_mode():
        np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), want, rtol=rtol, atol=1e-12)
    if example.op.kind in ("avg_pool", "identity", "flatten"):
        return  # one that pads unevenly is several functions of torch; nothing at all is no network
    back = capture(module, example.shapes[0])
    np.testing.assert_allclose(reference.output(back, x), want, rtol=1e-12, atol=1e-12)


def test_nothing_of_a_blur_is_trained_or_stored():
    module = to_module(exact("4C3-R-BP3s2-GAP-3", (2, 9, 8)))
    assert set(module.state_dict()) == {"conv1.weight", "conv1.bias", "fc1.weight", "fc1.bias"}
    assert len(list(module.parameters())) == 4


def test_a_recipes_batch_norm_settings_reach_the_trained_network():
    module = to_module(exact("4C3-BN-R-GAP-3", (2, 9, 8)))
    module.bn1.eps, module.bn1.momentum = 1e-3, 0.25
    op = module.trained().node("bn1").op
    assert (op.eps, op.momentum) == (1e-3, 0.25)


def test_a_layer_that_is_replaced_is_the_one_that_runs():
    module = to_module(exact("4C3-BN-R-GAP-3", (2, 9, 8))).eval()
    with torch.device("meta"):
        head = torch.nn.Linear(4, 5)
    module.fc1 = head.to_empty(device="cpu").double()
    with torch.inference_mode():
        module.fc1.weight.zero_()
        module.fc1.bias.fill_(2.0)
        assert module(torch.zeros(1, 2, 9, 8, dtype=torch.float64)).tolist() == [[2.0] * 5]


def test_it_draws_no_random_number_and_copies_whole():
    network = exact(*NETS[0])
    state = torch.get_rng_state()
    module = to_module(network)
    assert torch.equal(state, torch.get_rng_state())
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.conv1.weight.zero_()
    assert module.conv1.weight.abs().sum() > 0
    assert not twin.trained().weights["conv1.weight"].any()


def test_torch_fx_traces_it():
    network = exact(*NETS[0])
    module = to_module(network).eval()
    x = torch.randn(2, 3, 29, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.fx.symbolic_trace(module)(x), module(x))


def test_a_network_without_weights_says_what_to_do():
    with pytest.raises(NetworkError, match=r"^8C3-GAP-3: has no weights to train from; initialise the network first$"):
        to_module(read("8C3-GAP-3", (1, 9, 9)))
