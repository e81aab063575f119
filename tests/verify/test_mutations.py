"""The proof can fail: faults that folders have shipped, injected one at a time; each is found, at its layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from strategies import with_random_weights
from striate.geometry import Window
from striate.graph import INPUT, Builder, check
from striate.ops import Activation, Add, BatchNorm, Conv, GlobalAvgPool, Linear
from striate.rewrite import rewrite
from striate.verify import input_cases, prove

SAME = (Window(3, pad_lo=1, pad_hi=1),) * 2  # square, so that swapped axes still fit


def network():
    """Equal channels, square kernels, a shared convolution, a residual, a depthwise one: faults fit everywhere."""
    b = Builder("mutant", (3, 7, 11))
    x = b.add(Conv(3, 4, SAME, bias=False), INPUT, name="conv1")
    x = b.add(BatchNorm(4), x, name="bn1")
    skip = b.add(Activation("relu"), x, name="relu1")
    x = b.add(Conv(4, 4, SAME), skip, name="conv2")
    x = b.add(BatchNorm(4), x, name="bn2")
    x = b.add(Conv(4, 4, SAME), x, name="first", path="shared")
    x = b.add(BatchNorm(4), x, name="bn3")
    x = b.add(Conv(4, 4, SAME), x, name="second", path="shared")
    x = b.add(BatchNorm(4), x, name="bn4")
    x = b.add(Add(), x, skip, name="sum")
    x = b.add(Conv(4, 4, SAME, groups=4), x, name="depthwise")
    x = b.add(BatchNorm(4), x, name="bn5")
    x = b.add(Activation("relu"), x, name="relu5")
    x = b.add(GlobalAvgPool(), x, name="gap")
    x = b.add(Linear(4, 6, bias=False), x, name="hidden")
    x = b.add(BatchNorm(6), x, name="bn6")
    x = b.add(Activation("tanh"), x, name="tanh6")
    b.add(Linear(6, 5), x, name="logits")
    net = with_random_weights(b.build(), 8)
    rng = np.random.default_rng(8)
    sane = {name: calm(name, array, rng) for name, array in net.weights.items()}
    return net.with_weights(sane).astype(np.float64)


def calm(name, array, rng):
    """Batch normalisations in a state where every number matters: nothing zero, all channels different."""
    if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight", "bn4.weight", "bn5.weight")):
        return rng.uniform(0.5, 2.0, array.shape).astype(np.float32)
    return rng.standard_normal(array.shape).astype(np.float32) if "bn" in name else array


def with_weight(net, node, role, change):
    name = net.node(node).weights[role]
    return net.with_weights({**net.weights, name: change(net.weights[name])})


def with_node(net, name, **changes):
    nodes = tuple(replace(node, **changes) if node.name == name else node for node in net)
    return check(replace(net, nodes=nodes))


def folded_from(change):
    """What a folder gives that reads the original wrongly."""
    return lambda original, _: rewrite(change(original)).network


def in_the_fold(node, role, change):
    """What a folder gives that writes one folded tensor wrongly; `change` gets it and the original network."""
    return lambda original, done: with_weight(done, node, role, lambda w: change(w, original))


def scale_of_norm(original, name):
    bn = original.node(name)
    return bn.op.scale_shift(original.weights_of(bn))[0]


def bias_not_scaled(bias, original):
    """beta + b - mean s, where b should be scaled as well."""
    return bias + original.weights["conv2.bias"] * (1 - scale_of_norm(original, "bn2"))


def wrong_axis(weight, original):
    s = scale_of_norm(original, "bn2")
    return weight / s[:, None, None, None] * s[None, :, None, None]


def six_sigma(weight):
    changed = weight.copy()
    changed.flat[3] += 6 * weight.std()
    return changed


def one_nan(weight):
    changed = weight.copy()
    changed.flat[0] = np.nan
    return changed


UNBIASED = 2 * 77 / (2 * 77 - 1)

REWRITTEN_WRONGLY = {
    # fault: (layer at which it must be found, (original, correct rewriting) -> wrong rewriting)
    "epsilon lost": ("bn1", folded_from(lambda o: with_node(o, "bn1", op=BatchNorm(4, eps=0.0)))),
    "epsilon of another framework": ("bn6", folded_from(lambda o: with_node(o, "bn6", op=BatchNorm(6, eps=1e-3)))),
    "beta lost": ("bn2", folded_from(lambda o: with_weight(o, "bn2", "beta", np.zeros_like))),
    "gamma lost": ("bn5", folded_from(lambda o: with_weight(o, "bn5", "gamma", np.ones_like))),
    "unbiased variance": ("bn3", folded_from(lambda o: with_weight(o, "bn3", "running_var", lambda v: v * UNBIASED))),
    "variance for deviation": ("bn3", folded_from(lambda o: with_weight(o, "bn3", "running_var", np.square))),
    "mean's sign": ("bn1", folded_from(lambda o: with_weight(o, "bn1", "running_mean", np.negative))),
    "statistics of another norm": (
        "bn4",
        folded_from(lambda o: with_node(o, "bn4", weights=o.node("bn3").weights)),
    ),
    "scaled along the input axis": ("bn2", in_the_fold("bn2", "weight", wrong_axis)),
    "bias dropped": ("bn2", in_the_fold("bn2", "bias", lambda b, _: np.zeros_like(b))),
    "bias not scaled": ("bn2", in_the_fold("bn2", "bias", bias_not_scaled)),
    "stale weight": ("bn1", in_the_fold("bn1", "weight", lambda _, o: o.weights["conv1.weight"])),
    "stale name": (
        "bn4",
        lambda _, done: with_node(done, "bn4", weights=done.node("bn3").weights),
    ),
    "shared convolution folded twice": (
        "bn4",
        in_the_fold("bn4", "weight", lambda w, o: w * scale_of_norm(o, "bn3")[:, None, None, None]),
    ),
    "kernel axes swapped": ("bn1", in_the_fold("bn1", "weight", lambda w, _: w.transpose(0, 1, 3, 2))),
    "kernel flipped": ("bn5", in_the_fold("bn5", "weight", lambda w, _: w[..., ::-1, ::-1])),
    "depthwise channels in another order": ("bn5", in_the_fold("bn5", "weight", lambda w, _: w[::-1])),
    "residual dropped": ("sum", lambda _, done: with_node(done, "sum", inputs=("bn4", "bn4"))),
    "activation dropped": ("relu5", lambda _, done: with_node(done, "relu5", op=Activation("leaky_relu"))),
    "padding on one side": (
        "bn2",
        lambda _, done: with_node(done, "bn2", op=Conv(4, 4, (SAME[0], Window(3, pad_lo=2)))),
    ),
    "padding lost": (
        "bn5",
        lambda _, done: with_node(done, "bn5", op=Conv(4, 4, (Window(3), Window(3)), groups=4)),
    ),
    "momentum of the other convention": (
        "bn2",
        folded_from(lambda o: with_weight(o, "bn2", "running_var", lambda v: 0.9 + 0.1 * v)),
    ),
    "one weight by one part in a billion": ("bn6", in_the_fold("bn6", "weight", lambda w, _: w * (1 + 1e-9))),
}

SHIPPED_WRONGLY = {
    # fault: (layer at which it must be found, correct rewriting -> the network whose float32 form is shipped)
    "float16 rounding": ("bn1", lambda n: n.with_weights({k: np.float16(w) for k, w in n.weights.items()})),
    "one weight off by six sigma": ("bn6", lambda n: with_weight(n, "bn6", "weight", six_sigma)),
    "one bias off by a ten-thousandth": ("logits", lambda n: with_weight(n, "logits", "bias", lambda b: b + 1e-4)),
    "NaN": ("bn3", lambda n: with_weight(n, "bn3", "weight", one_nan)),
    "unfolded weights shipped": ("bn5", lambda n: with_weight(n, "bn5", "weight", lambda w: 1.5 * w)),
}


def proof_of(original, rewritten, shipped, engine):
    cases = input_cases((3, 7, 11), np.array([-2.0, -1.0, -0.5]), np.array([2.0, 3.0, 1.5]), seed=0)
    with np.errstate(invalid="ignore"):
        return prove(original, rewritten, engine(shipped), engine(original), cases, (1, 2, 7))


def test_the_correct_one_passes(engine):
    original = network()
    done = rewrite(original)
    assert done.refused == ()
    assert proof_of(original, done.network, done.network, engine).fault == ""


@pytest.mark.parametrize("fault", REWRITTEN_WRONGLY)
def test_a_wrong_rewriting_is_found_at_its_layer(fault, numpy_engine):
    layer, mutate = REWRITTEN_WRONGLY[fault]
    original = network()
    wrong = mutate(original, rewrite(original).network)
    found = proof_of(original, wrong, wrong, numpy_engine).fault
    assert found.partition(": ")[0] == layer, found
    assert found.startswith((f"{layer}: algebra: ", f"{layer}: the rewritten network in float64 has shape "))


@pytest.mark.parametrize("fault", SHIPPED_WRONGLY)
def test_a_wrong_file_is_found_at_its_layer(fault, numpy_engine):
    layer, mutate = SHIPPED_WRONGLY[fault]
    original = network()
    done = rewrite(original).network
    found = proof_of(original, done, mutate(done), numpy_engine).fault
    assert found.partition(": ")[0] == layer, found
    assert found.startswith((f"{layer}: rounding: ", f"{layer}: the shipped network gives values"))
