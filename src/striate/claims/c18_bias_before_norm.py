"""A bias before batch normalisation receives no gradient, because the statistics are differentiated through."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, labelled, network, tiny
from striate.graph import Network, reference
from striate.ops import Array, BatchNorm

NOTATION = "6C3b-BN-R-MP2-8C3b-BN-R-GAP-10"
STEPS, RATE = 60, 0.5
Gradient = Callable[[Network, Mapping[str, Array], Array], Mapping[str, Array]]


def through_statistics(net: Network, values: Mapping[str, Array], grad: Array) -> Mapping[str, Array]:
    """The true gradient in training, at every weight."""
    return reference.gradient(net, values, grad, training=True)[1]


def statistics_as_constants(net: Network, values: Mapping[str, Array], grad: Array) -> Mapping[str, Array]:
    """What a careless implementation computes: mean and variance of the batch taken as given."""
    frozen = dict(net.weights)
    for node in net:
        if isinstance(node.op, BatchNorm):
            mean, var = node.op.batch_statistics(values[node.inputs[0]])
            frozen[node.weights["running_mean"]], frozen[node.weights["running_var"]] = mean, var
    return reference.gradient(net.with_weights(frozen), values, grad)[1]


def measure(gradient: Gradient = through_statistics) -> Finding:
    """`gradient` is taken of the loss in training, at every weight."""
    x, labels = labelled(40, "train")
    net = network(NOTATION)
    biases = [node.weights["bias"] for node in net if node.op.kind == "conv"]
    values = reference.run(net, x, training=True)
    grads = gradient(net, values, cross_entropy(values[net.output], labels)[1])
    largest = max(float(np.abs(g).max()) for g in grads.values())
    at_bias = max(float(np.abs(grads[name]).max()) for name in biases)
    moved = net.with_weights({**net.weights, biases[0]: net.weights[biases[0]] + 1.0})
    before, after = (cross_entropy(_scores(n, x), labels)[0] for n in (net, moved))
    traces = {
        name: _train(net, rule, biases, x, labels)
        for name, rule in (("through the statistics", gradient), ("statistics as constants", statistics_as_constants))
    }
    return Finding(
        at_bias <= ROUNDING * largest and abs(after - before) <= ROUNDING,
        f"largest gradient at a bias before BN {at_bias:.1e}, at any weight {largest:.2f}; adding 1 to such a bias "
        f"changes the loss by {tiny(abs(after - before))}; {STEPS} steps of SGD move it by "
        f"{traces['through the statistics'][-1]:.1e} (with statistics as constants by "
        f"{traces['statistics as constants'][-1]:.2f})",
        {"traces": traces},
    )


def cross_entropy(scores: Array, labels: Array) -> tuple[float, Array]:
    """Mean cross-entropy of scores (N, K) and its gradient at the scores."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    shares = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(shares[rows, labels]).mean())
    shares[rows, labels] -= 1
    return loss, shares / len(labels)


def _scores(net: Network, x: Array) -> Array:
    return reference.run(net, x, training=True)[net.output]


def _train(net: Network, gradient: Gradient, biases: list[str], x: Array, labels: Array) -> list[float]:
    """How far SGD on these biases alone has moved the farthest of them after each step."""
    start, moved = net, []
    for _ in range(STEPS):
        values = reference.run(net, x, training=True)
        grads = gradient(net, values, cross_entropy(values[net.output], labels)[1])
        net = net.with_weights({**net.weights, **{name: net.weights[name] - RATE * grads[name] for name in biases}})
        moved.append(max(float(np.abs(net.weights[name] - start.weights[name]).max()) for name in biases))
    return moved


CLAIM = Claim(
    number=18,
    title="Optimisation cannot undo the normalisation",
    statement="Because the statistics are differentiated through, a step on a preceding bias changes nothing.",
    formula="∂L/∂b = Σ ∂L/∂x = 0,      since ∂L/∂x is orthogonal to 1 (and to x̂) in every channel",
    method=f"`{NOTATION}` reads 40 real images in float64. The gradient at the biases of its convolutions is compared "
    "with the largest gradient anywhere, and the loss before with the loss after 1 is added to such a bias. Then SGD "
    "is run on these biases alone: with the true gradient, and with the one that takes mean and variance as "
    "constants, which pushes the bias on and on while the loss stays where it is (Ioffe & Szegedy 2015, section 2).",
    expected="gradient at the bias, and change of the loss, zero to rounding (1e-12)",
    run=measure,
    caption="How far the biases have moved over 60 steps of SGD. With the true gradient they stay (rounding); with the "
    "statistics taken as constants they wander off, and the output does not change for it.",
)
