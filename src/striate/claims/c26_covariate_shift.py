"""Internal covariate shift, measured: how each layer's input changes while the layers before it learn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.training import Material, Plan, fresh, material, seeds_text, train
from striate.graph import Network, reference
from striate.ops import Array

WITH = "8C3s2-BN-R-16C3-BN-R-16C3s2-BN-R-32C3-BN-R-GAP-10"
WITHOUT = WITH.replace("-BN", "")
PROBE = 100
Statistics = tuple[Array, Array]
Watch = Callable[[Network, Array], list[Statistics]]


def inputs_of_layers(net: Network, x: Array) -> list[Statistics]:
    """Mean and standard deviation, channel by channel, of what each layer with a kernel reads, in training mode."""
    values = reference.run(net, x, training=True)
    read = [values[node.inputs[0]] for node in net if node.op.kind in ("conv", "linear")]
    axes = [(0, *range(2, one.ndim)) for one in read]
    return [(one.mean(axis=over), one.std(axis=over)) for one, over in zip(read, axes, strict=True)]


def measure(watch: Watch = inputs_of_layers, *, full: bool = False) -> Finding:
    """`watch` gives mean and standard deviation of each layer's input, channel by channel, for a batch."""
    seeds = range(3) if full else range(1)
    data = material(5000 if full else 2000, full=full)
    plan = Plan(rate=0.1, epochs=2 if full else 1)
    shifts = np.array([[record(n, data, plan, seed, watch) for seed in seeds] for n in (WITH, WITHOUT)])
    by_layer = shifts.mean(axis=(1, 2))  # (2, layers)
    first, later = by_layer[:, 0], by_layer[:, 1:]
    words = [", ".join(f"{v:.4f}" for v in row) for row in later]
    return Finding(
        bool((first == 0).all() and (later > 0).all()),
        f"shift a step in standard deviations, layers 2 to {by_layer.shape[1]} ({seeds_text(len(seeds))}, "
        f"{shifts.shape[2]} steps): with BN {words[0]}; without {words[1]}; layer 1, which reads the image, "
        f"{first.max():.0f} in both. BN's is {'smaller' if later[0].mean() < later[1].mean() else 'not smaller'} on "
        f"average ({later[0].mean() / later[1].mean():.2f} times the plain network's)",
        {"with BN": shifts[0].transpose(1, 2, 0), "without": shifts[1].transpose(1, 2, 0)},  # (steps, layers, seeds)
    )


def record(notation: str, data: Material, plan: Plan, seed: int, watch: Watch) -> Array:
    """The shift of each layer's input at each step of a training run.  Shape (steps, layers)."""
    from striate.train.norms.shift import distance

    net, probe = fresh(notation, seed), data.test[:PROBE]
    seen = [watch(net, probe)]
    train(net, data, plan, seed, lambda _, now: seen.append(watch(now, probe)))
    return np.array([[distance(*pair) for pair in zip(*two, strict=True)] for two in pairwise(seen)])


CLAIM = Claim(
    number=26,
    title="Internal covariate shift",
    statement="While earlier parameters change, the distributions of activations that later layers read change too.",
    formula="d² = avg_c [ (m'_c − m_c)² + (s'_c − s_c)² ] / s_c²      between the inputs of a layer before and after "
    "a step",
    method="Two networks, with and without BN, are trained at the same rate. After every step 100 test images pass the "
    "network in training mode, and for the input of each layer the mean and width of every channel are compared with "
    "those before the step. The verdict is only that the shift exists: no shift where nothing before the layer learns "
    "(layer 1 reads the image), some everywhere else. Whether BN reduces it, and whether that is why BN helps, is "
    "disputed: Santurkar et al. 2018 (arXiv:1805.11604) find BN's networks with as much shift or more, and a smoother "
    "loss instead. So this page says what was measured here, and no more.",
    expected="layer 1: exactly 0; every later layer: above 0; BN against plain is reported",
    run=measure,
    quick=False,
    caption="Shift of each layer's input from step to step, smoothed over 10 steps; line: mean over "
    "seeds, band: their range; blue with BN, orange without.",
)
