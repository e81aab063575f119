"""Batch normalisation in training: zero mean, unit variance, and gradients through the statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, images, network, relative
from striate.graph import reference
from striate.ops import Array, BatchNorm

CHANNELS = 6
STEP = 1e-5
FINITE_DIFFERENCES = 1e-7
"""Central differences of step 1e-5 in float64: step^2 of truncation and 2^-53 / step of rounding leave about 1e-9."""


def measure(layer: BatchNorm | None = None) -> Finding:
    """`layer` normalises 6 channels."""
    layer = layer or BatchNorm(CHANNELS)
    x = reference.output(network(f"{CHANNELS}C3"), images(4))[..., 10:17, 9:14]
    plain = {"gamma": np.ones(CHANNELS), "beta": np.zeros(CHANNELS)}
    normal = train_forward(layer, x, plain)
    mean_error = np.abs(normal.mean(axis=(0, 2, 3))).max()
    var = x.var(axis=(0, 2, 3))
    var_error = np.abs(normal.var(axis=(0, 2, 3)) - var / (var + layer.eps)).max()
    learnt = sum(spec.learnable * int(np.prod(spec.shape)) for spec in layer.weight_specs())
    error = gradient_error(layer, x)
    right = mean_error <= ROUNDING and var_error <= ROUNDING and learnt == 2 * CHANNELS
    return Finding(
        bool(right and error <= FINITE_DIFFERENCES),
        f"{x.size // CHANNELS} values a channel: mean off 0 by {mean_error:.1e}, variance off v/(v + ε) by "
        f"{var_error:.1e}; {learnt} learnable numbers for {CHANNELS} channels; gradients off finite differences by "
        f"{error:.1e}",
        _histograms(layer),
    )


def train_forward(layer: BatchNorm, x: Array, weights: dict[str, Array]) -> Array:
    """The layer with the statistics of the batch `x`."""
    return layer.forward([x], layer.with_batch_statistics(x, weights))


def gradient_error(layer: BatchNorm, x: Array) -> float:
    """Largest relative difference between the layer's gradients and central differences, over x, gamma and beta."""
    rng = np.random.default_rng(17)
    weights = {"gamma": rng.normal(1, 0.3, CHANNELS), "beta": rng.normal(0, 0.3, CHANNELS)}
    direction = rng.normal(size=x.shape)  # the loss is a random linear function of the output
    (dx,), grads = layer.backward_through_statistics(direction, x, weights)

    def loss(x: Array, gamma: Array, beta: Array) -> float:
        return float((direction * train_forward(layer, x, {"gamma": gamma, "beta": beta})).sum())

    at = (x, weights["gamma"], weights["beta"])
    errors = []
    for k, exact in enumerate((dx, grads["gamma"], grads["beta"])):
        probes = rng.integers(at[k].size, size=40)
        slopes = []
        for i in probes:
            up, down = ([a.copy() for a in at] for _ in range(2))
            up[k].flat[i] += STEP
            down[k].flat[i] -= STEP
            slopes.append((loss(*up) - loss(*down)) / (2 * STEP))
        errors.append(relative(exact.reshape(-1)[probes], np.array(slopes)))
    return max(errors)


def _histograms(layer: BatchNorm) -> dict[str, Array]:
    """Values of each channel over 200 images, before and after."""
    x = reference.output(network(f"{CHANNELS}C3"), images(200))
    plain = {"gamma": np.ones(CHANNELS), "beta": np.zeros(CHANNELS)}
    after = train_forward(replace(layer), x, plain)
    return {"before": x.swapaxes(0, 1).reshape(CHANNELS, -1), "after": after.swapaxes(0, 1).reshape(CHANNELS, -1)}


CLAIM = Claim(
    number=17,
    title="Batch normalisation in training",
    statement="Over a batch of D-dimensional activations: four differentiable steps (mean, biased variance, "
    "normalise with epsilon, scale and shift) with 2D learnable parameters gamma and beta.",
    formula="m = avg(x)      v = avg((x − m)²)      x̂ = (x − m) / √(v + ε)      y = γ x̂ + β",
    method="Feature maps of real images are normalised in float64 with γ = 1, β = 0. The variance is then v/(v + ε), "
    "not quite 1, and it is the biased one: with n − 1 in place of n it would miss by 1/n. Gradients with respect to "
    "input, γ and β are compared with central finite differences of a random linear loss at 40 places each.",
    expected="mean 0 and variance v/(v + ε) to rounding (1e-12); 2D parameters; gradients equal to 1e-7",
    run=measure,
    caption="The values of six channels over 200 images before and after: whatever a channel's place and width, it "
    "leaves with mean 0 and variance 1. Its shape stays its own.",
)
