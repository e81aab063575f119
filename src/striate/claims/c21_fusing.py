"""Batch normalisation folds into the layer before it: no cost at test time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from striate.claims.c20_test_time import settled
from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, images, network, relative
from striate.graph import Network, reference
from striate.ops import Array
from striate.rewrite import rewrite

NOTATION = "16C3-BN-R-[16C3-BN-R-16C3-BN]-R-24C3s2-BN-R-DW3-BN-R-32C1-BN-R-F-20-BN-R-10"
ROUNDS = 15


def fold(net: Network) -> Network:
    """The network with every batch normalisation folded that can be."""
    return rewrite(net).network


def measure(folding: Callable[[Network], Network] = fold) -> Finding:
    """`folding` takes the batch normalisations out of a network."""
    net = _unsettled(settled(network(NOTATION)))
    folded = folding(net)
    x = images(50)
    error = relative(reference.output(folded, x), reference.output(net, x))
    before, after = norms(net), norms(folded)
    times = _times(net, folded, images(32).astype(np.float32))
    return Finding(
        before > 0 and after == 0 and error <= ROUNDING,
        f"{before} batch normalisations before, {after} after; outputs differ by {error:.1e} in float64; torch on 32 "
        f"images takes {times[0]:.1f} ms before, {times[1]:.1f} ms after (median of {ROUNDS}, one thread; not part of "
        "the verdict)",
        {"ms": {"with BN": times[0], "folded": times[1]}},
    )


def norms(net: Network) -> int:
    """How many batch normalisations a network has."""
    return sum(node.op.kind == "batch_norm" for node in net)


def _unsettled(net: Network) -> Network:
    """With gammas and betas as training might leave them: some negative, one zero."""
    rng = np.random.default_rng(21)
    learnt = {name: s for name, s in net.weight_specs().items() if s.role in ("gamma", "beta")}
    return net.with_weights({**net.weights, **{name: rng.normal(0.5, 0.8, s.shape) for name, s in learnt.items()}})


def _times(before: Network, after: Network, x: Array) -> tuple[float, float]:
    """Median milliseconds of torch on the two networks, taken in turn."""
    import torch

    from striate.graph.to_torch import to_module
    from striate.train.machine import quiet_machine

    modules = [to_module(net.astype(np.float32)).eval() for net in (before, after)]
    batch, laps = torch.from_numpy(x), np.empty((ROUNDS, 2))
    with quiet_machine(threads=1), torch.inference_mode():
        for lap in laps:
            for k, module in enumerate(modules):
                start = time.perf_counter()
                module(batch)
                lap[k] = 1000 * (time.perf_counter() - start)
    first, second = np.median(laps[1:], axis=0)  # the first lap warms up
    return float(first), float(second)


CLAIM = Claim(
    number=21,
    title="Batch normalisation costs nothing at test time",
    statement="At test time batch normalisation folds into the layer before it: no cost.",
    formula="W' = a W,      b' = β + (b − μ_run) a,      a = γ / √(v_run + ε)",
    method=f"`{NOTATION}`, with convolutions full, strided, depthwise and pointwise, a residual block and a dense "
    "layer, is rewritten by striate's own fold. What is left is counted, and its output is compared with the "
    "original's on real images in float64. Time is measured too, but does not decide: it belongs to the machine.",
    expected="no batch normalisation left; outputs equal to rounding (1e-12)",
    run=measure,
)
