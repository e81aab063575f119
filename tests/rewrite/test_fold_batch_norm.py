from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from strategies import networks, random_network, with_random_weights
from striate.errors import NetworkError
from striate.geometry import Transposed, Window
from striate.graph import INPUT, Builder, Network, infer_shapes, reference
from striate.ops import Activation, Add, BatchNorm, Conv, ConvTranspose, Linear
from striate.rewrite import Applied, Refused, fold_batch_norm
from striate.verify import propagate
from striate.verify.tolerance import ALGEBRA

ODD = (Window(3, 2, 1, 0, 2), Window(2, 1, 3, 1, 0))  # another size, stride, dilation, padding on each axis


def conv_norm(groups: int = 1, bias: bool = True, eps: float = 1e-5, affine: bool = True) -> Network:
    b = Builder("pair", (4, 7, 11))
    b.add(Conv(4, 8, ODD, groups, bias), INPUT, name="conv")
    b.add(BatchNorm(8, eps, affine=affine), "conv", name="bn")
    return with_random_weights(b.build(), seed=3).astype(np.float64)


def images(network: Network, seed: int = 0, n: int = 2):
    return np.random.default_rng(seed).standard_normal((n, *network.input_shape))


def norms(network: Network) -> list[str]:
    return [node.name for node in network if isinstance(node.op, BatchNorm)]


@settings(max_examples=150)
@given(networks())
def test_every_layer_that_is_left_computes_what_it_did(network):
    network = network.astype(np.float64)
    folded, _ = fold_batch_norm(network)
    before = reference.run(network, images(network))
    kept = {INPUT, *(node.name for node in folded)}
    after, _ = propagate(folded, {name: before[name] for name in kept}, 2**-53)
    for name, got in after.items():
        scale = np.abs(before[name]).max(initial=1e-30)
        assert got.shape == before[name].shape
        assert np.abs(got - before[name]).max() <= ALGEBRA * scale, name


@settings(max_examples=100)
@given(networks())
def test_shapes_stay_and_what_is_left_has_a_reason(network):
    folded, notes = fold_batch_norm(network.astype(np.float64))
    shapes = infer_shapes(network)
    assert all(shapes[name] == shape for name, shape in infer_shapes(folded).items())
    assert folded.output == network.output
    assert norms(folded) == [note.at for note in notes if isinstance(note, Refused)]
    assert len(notes) == len(norms(network))


@settings(max_examples=100)
@given(networks())
def test_folding_twice_is_folding_once(network):
    once, _ = fold_batch_norm(network.astype(np.float64))
    twice, notes = fold_batch_norm(once)
    assert twice.nodes == once.nodes
    assert all(np.array_equal(twice.weights[name], array) for name, array in once.weights.items())
    assert not any(isinstance(note, Applied) for note in notes)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_it_agrees_with_torch_on_the_weights(groups, bias):
    torch = pytest.importorskip("torch")
    network = conv_norm(groups, bias)
    w = network.weights
    expected_weight, expected_bias = torch.nn.utils.fusion.fuse_conv_bn_weights(
        torch.tensor(w["conv.weight"]),
        torch.tensor(w["conv.bias"]) if bias else None,
        torch.tensor(w["bn.running_mean"]),
        torch.tensor(w["bn.running_var"]),
        1e-5,
        torch.tensor(w["bn.weight"]),
        torch.tensor(w["bn.bias"]),
    )
    folded, notes = fold_batch_norm(network)
    assert notes == (Applied("fold_batch_norm", "bn", "folded into conv conv"),)
    got = folded.weights_of(folded.node("bn"))
    np.testing.assert_allclose(got["weight"], expected_weight.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(got["bias"], expected_bias.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_numbers_by_hand():
    """4 x + 1, then 3 (y - 5) / sqrt(3 + 1) + 7, is 6 x + 1."""
    b = Builder("hand", (1,))
    b.add(Linear(1, 1), INPUT, name="fc")
    b.add(BatchNorm(1, eps=1.0), "fc", name="bn")
    values = {"fc.weight": [[4.0]], "fc.bias": [1.0], "bn.weight": [3.0], "bn.bias": [7.0], "bn.running_mean": [5.0]}
    network = b.build().with_weights({k: np.array(v) for k, v in {**values, "bn.running_var": [3.0]}.items()})
    folded, _ = fold_batch_norm(network)
    assert {name: array.tolist() for name, array in folded.weights.items()} == {
        "bn.folded.weight": [[6.0]],
        "bn.folded.bias": [1.0],
    }


@pytest.mark.parametrize(("channels", "out", "groups"), [(4, 4, 1), (4, 6, 2), (6, 6, 3), (5, 5, 5), (3, 7, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_of_any_groups(channels, out, groups, bias):
    """With as many channels in as out, a scale on the wrong axis fits and is silently wrong."""
    windows = (Transposed(3, 2, 1, 1, 0), Transposed(2, 3, 2, 0, 1))
    b = Builder("transposed", (channels, 4, 5))
    b.add(ConvTranspose(channels, out, windows, groups, bias), INPUT, name="up")
    b.add(BatchNorm(out), "up", name="bn")
    network = with_random_weights(b.build(), 6).astype(np.float64)
    folded, notes = fold_batch_norm(network)
    assert [note.what for note in notes] == ["folded into conv_transpose up"]
    x = images(network)
    want = reference.output(network, x)
    assert np.abs(reference.output(folded, x) - want).max() <= ALGEBRA * np.abs(want).max()


def test_a_shared_convolution_is_copied_for_each_of_its_uses():
    b = Builder("shared", (4, 6, 5))
    conv = Conv(4, 4, (Window(3, pad_lo=1, pad_hi=1),) * 2)
    b.add(conv, INPUT, name="first", path="conv")
    b.add(BatchNorm(4), "first", name="bn1")
    b.add(conv, "bn1", name="second", path="conv")
    b.add(BatchNorm(4), "second", name="bn2")
    b.add(conv, "bn2", name="third", path="conv")
    network = with_random_weights(b.build(), 1).astype(np.float64)
    folded, _ = fold_batch_norm(network)
    assert [node.weights["weight"] for node in folded] == [
        "bn1.folded.weight",
        "bn2.folded.weight",
        "conv.weight",
    ]
    assert np.array_equal(folded.weights["conv.weight"], network.weights["conv.weight"])
    x = images(network)
    want = reference.output(network, x)
    assert np.abs(reference.output(folded, x) - want).max() <= ALGEBRA * np.abs(want).max()


def test_new_weights_never_take_a_name_that_is_in_use():
    network = conv_norm()
    node = replace(network.node("conv"), weights={"weight": "bn.folded.bias", "bias": "bn.folded.weight"})
    w = network.weights
    taken = replace(
        network,
        nodes=(node, network.node("bn")),
        weights={**w, "bn.folded.bias": w["conv.weight"], "bn.folded.weight": w["conv.bias"]},
    )
    folded, _ = fold_batch_norm(taken)
    assert folded.node("bn").weights == {"weight": "bn.folded.weight.2", "bias": "bn.folded.bias.2"}
    plainly, _ = fold_batch_norm(network)
    assert np.array_equal(reference.output(folded, images(network)), reference.output(plainly, images(network)))


def test_two_norms_in_a_row_both_fold():
    b = Builder("double", (3, 5, 6))
    b.add(Conv(3, 2, ODD, bias=False), INPUT, name="conv")
    b.add(BatchNorm(2, affine=False), "conv", name="bn1")
    b.add(BatchNorm(2), "bn1", name="bn2")
    folded, notes = fold_batch_norm(with_random_weights(b.build(), 5).astype(np.float64))
    assert [node.name for node in folded] == ["bn2"]
    assert [note.what for note in notes] == ["folded into conv conv", "folded into conv bn1"]


def refusal(network: Network) -> str:
    folded, notes = fold_batch_norm(network)
    (note,) = notes
    assert note == Refused("fold_batch_norm", "bn", note.reason)
    assert folded.nodes == network.nodes
    return note.reason


def test_a_norm_on_the_input_stays():
    b = Builder("n", (3, 5, 6))
    b.add(BatchNorm(3), INPUT, name="bn")
    assert refusal(with_random_weights(b.build(), 0)) == "reads the network's input; no layer before it can take it"


def test_a_norm_after_an_activation_stays():
    b = Builder("n", (3, 5, 6))
    b.add(Activation("relu"), INPUT, name="relu")
    b.add(BatchNorm(3), "relu", name="bn")
    assert (
        refusal(with_random_weights(b.build(), 0)) == "follows activation relu, which has no weights that could take it"
    )


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["act"], "follows conv, which act reads as well"),
        (["act", "other"], "follows conv, which act, other read as well"),
    ],
)
def test_a_norm_whose_convolution_is_read_elsewhere_stays(extra, reason):
    b = Builder("n", (3, 5, 6))
    b.add(Conv(3, 2, ODD), INPUT, name="conv")
    b.add(BatchNorm(2), "conv", name="bn")
    for name in extra:
        b.add(Activation("tanh"), "conv", name=name)
    b.add(Add(), "bn", *extra, name="sum")
    assert refusal(with_random_weights(b.build(), 0)) == reason


def test_a_norm_whose_convolution_is_the_result_stays():
    network = replace(conv_norm(), output="conv")
    assert refusal(network) == "follows conv, whose own result is the network's"


@pytest.mark.parametrize(
    ("role", "value", "reason"),
    [
        ("bn.running_var", -1e-5, "running_var + eps is 0 in channel 5, not positive"),
        ("bn.running_var", -2.0, "running_var + eps is -1.99999 in channel 5, not positive"),
        ("bn.running_var", np.nan, "running_var is not finite in channel 5"),
        ("bn.running_mean", np.inf, "running_mean is not finite in channel 5"),
        ("bn.weight", np.nan, "gamma is not finite in channel 5"),
    ],
)
def test_impossible_statistics_are_refused(role, value, reason):
    network = conv_norm()
    broken = network.weights[role].copy()
    broken[5] = value
    assert refusal(network.with_weights({**network.weights, role: broken})) == reason


def test_without_weights_there_is_nothing_to_fold():
    network = replace(conv_norm(), weights={})
    with pytest.raises(
        NetworkError, match=r"^bn: weight 'bn\.weight' has no values; initialise or load the network first$"
    ):
        fold_batch_norm(network)


def test_the_network_it_was_given_is_untouched():
    network = random_network(7).astype(np.float64)
    nodes, copies = network.nodes, {name: array.copy() for name, array in network.weights.items()}
    fold_batch_norm(network)
    assert network.nodes == nodes
    assert all(np.array_equal(network.weights[name], copy) for name, copy in copies.items())
