"""At test time batch normalisation is an affine map, and an image's output is its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, images, network, relative, tiny
from striate.graph import Network, reference
from striate.ops import Array, BatchNorm

NOTATION = "8C3-BN-R-MP2-12C3-BN-R-GAP-10"
COMPANIES = 20
Run = Callable[[Network, Array], dict[str, Array]]


def run_at_test_time(net: Network, x: Array) -> dict[str, Array]:
    """Every tensor of the network, with the running statistics."""
    return reference.run(net, x)


def measure(run: Run = run_at_test_time) -> Finding:
    """`run` gives every tensor of a network for a batch at test time."""
    net = settled(network(NOTATION))
    pool = images(400)
    rng = np.random.default_rng(20)
    logits, training = [], []
    for _ in range(COMPANIES):
        batch = np.concatenate([pool[:1], pool[1 + rng.permutation(399)[:15]]])
        logits.append(run(net, batch)[net.output][0])
        training.append(reference.run(net, batch, training=True)[net.output][0])
    spread = np.ptp(logits, axis=0).max() / np.abs(logits[0]).max()
    in_training = np.ptp(training, axis=0).max() / np.abs(training[0]).max()
    affine = affine_error(net, run, pool[:8], pool[8:16])
    return Finding(
        bool(spread <= ROUNDING and affine <= ROUNDING),
        f"logits of one image with {COMPANIES} sets of 15 batch mates: spread {tiny(spread)} of the largest (in "
        f"training mode {in_training:.2f}); the layer is affine to {affine:.1e}",
        {"test": np.array(logits), "training": np.array(training)},
    )


def settled(net: Network) -> Network:
    """The network with the statistics of 200 real images as its running ones, in place of 0 and 1."""
    values = reference.run(net, images(200, "train"), training=True)
    settled = dict(net.weights)
    for node in net:
        if isinstance(node.op, BatchNorm):
            mean, var = node.op.batch_statistics(values[node.inputs[0]])
            settled[node.weights["running_mean"]], settled[node.weights["running_var"]] = mean, var
    return net.with_weights(settled)


def affine_error(net: Network, run: Run, a: Array, b: Array) -> float:
    """How far the first batch normalisation is from f(0.3 a + 0.7 b) = 0.3 f(a) + 0.7 f(b)."""
    first = next(node for node in net if node.op.kind == "batch_norm")
    before = next(node for node in net if node.name == first.inputs[0])
    assert before.op.kind == "conv"  # noqa: S101 - itself affine, so that the two together must be
    mixed, of_a, of_b = (run(net, x)[first.name] for x in (0.3 * a + 0.7 * b, a, b))
    return relative(mixed, 0.3 * of_a + 0.7 * of_b)


CLAIM = Claim(
    number=20,
    title="Batch normalisation at test time",
    statement="At test time the running statistics are constants: the output depends on the input alone, "
    "deterministically, and the layer is an affine map.",
    formula="y = a x + c,      a = γ / √(v_run + ε),      c = β − a μ_run",
    method=f"`{NOTATION}` reads one real image in the company of 20 random sets of 15 others, and its logits are "
    "compared. The first normalisation, with the convolution before it, is tested on a mixture of two images: an "
    "affine map of the mixture is the mixture of the maps.",
    expected="logits the same in every company, and the layer affine, to rounding (1e-12)",
    run=measure,
    caption="The ten logits of one image in 20 different batches. At test time (blue) they are the same in all; in "
    "training mode (orange) they depend on who else is in the batch.",
)
