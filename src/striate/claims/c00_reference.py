"""The measuring instrument itself: the NumPy reference alone trains a network as torch does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.c18_bias_before_norm import cross_entropy
from striate.claims.claim import Claim, Finding
from striate.claims.instruments import labelled, network
from striate.graph import Network, reference
from striate.ops import Array

NOTATION = "6C3-BN-R-MP2-8C3-BN-R-MP2-F-10"
STEPS, BATCH, RATE = 50, 20, 0.1
AGREEMENT = 1e-9
"""Fifty steps amplify the rounding of float64, 1e-16, by what each step's sensitivity is; a fault shows far above."""

Losses = tuple[list[float], Network]
Trainer = Callable[[Network, Array, Array], Losses]


def train_in_numpy(net: Network, x: Array, labels: Array) -> Losses:
    """SGD by the reference alone: forward, loss, gradient, running averages, update. The whole of a trainer."""
    losses = []
    for rows in batches(len(x)):
        values = reference.run(net, x[rows], training=True)
        loss, at_scores = cross_entropy(values[net.output], labels[rows])
        _, grads = reference.gradient(net, values, at_scores, training=True)
        stepped = {name: net.weights[name] - RATE * grad for name, grad in grads.items()}
        net = net.with_weights({**net.weights, **stepped, **reference.running_averages(net, values)})
        losses.append(loss)
    return losses, net


def train_in_torch(net: Network, x: Array, labels: Array) -> Losses:
    """The same by torch, in float64."""
    import torch

    from striate.graph.to_torch import to_module

    module, losses = to_module(net), []
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    for rows in batches(len(x)):
        scores = module(torch.from_numpy(x[rows]))
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[rows]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses, module.trained()


def batches(count: int) -> list[slice]:
    """Which images each step reads: the set in order, again and again."""
    starts = [(step * BATCH) % count for step in range(STEPS)]
    return [slice(start, start + BATCH) for start in starts]


def measure(trainer: Trainer = train_in_numpy) -> Finding:
    """`trainer` trains a network on images and labels for 50 steps."""
    net = network(NOTATION)
    x, labels = labelled(400, "train")
    ours, trained = trainer(net, x, labels)
    peers, peer = train_in_torch(net, x, labels)
    error = float(np.abs(np.array(ours) - peers).max())
    weights = max(float(np.abs(trained.weights[name] - peer.weights[name]).max()) for name in peer.weights)
    learnt = ours[-1] < 0.5 * ours[0]
    return Finding(
        error <= AGREEMENT and weights <= 100 * AGREEMENT and learnt,
        f"{STEPS} steps of {BATCH} images: loss {ours[0]:.3f} to {ours[-1]:.3f}; largest difference from torch in the "
        f"loss {error:.1e}, in any weight or running statistic {weights:.1e}",
        {"losses": ours, "differences": np.abs(np.array(ours) - peers)},
    )


CLAIM = Claim(
    number=0,
    title="The instrument",
    statement="The reference is a whole CNN: forward, gradient, running averages and SGD in NumPy train a network as "
    "torch does.",
    formula="w ← w − η ∂L/∂w      |L_numpy(t) − L_torch(t)| ≤ 1e-9  for t = 1..50",
    method="Most numbers on this page come from a reference in plain NumPy, one file a layer. So it is tested first: "
    f"it trains `{NOTATION}` on real images in float64, and torch trains the same network with its own code.",
    expected="losses equal to 1e-9 at each of 50 steps, and the loss at least halved",
    run=measure,
    caption="The loss over 50 steps (left), and how far the two implementations are apart (right): rounding, amplified "
    "slowly from step to step.",
)
