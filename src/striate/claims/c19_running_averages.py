"""Running averages follow their formula, and its conventions convert."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, images, network
from striate.graph import reference
from striate.ops import Array, BatchNorm
from striate.ops.batch_norm import kept_share, new_share

BATCH, STEPS, CHANNELS = 20, 50, 6
Update = Callable[[BatchNorm, Array, dict[str, Array]], tuple[Array, Array]]


def layer_update(layer: BatchNorm, x: Array, weights: dict[str, Array]) -> tuple[Array, Array]:
    """The running mean and variance after the training batch `x`."""
    return layer.running_averages(x, weights)


def measure(update: Update = layer_update) -> Finding:
    """`update` gives the running mean and variance after a batch."""
    layer = BatchNorm(CHANNELS)
    batches = np.split(reference.output(network(f"{CHANNELS}C3"), images(BATCH * STEPS)), STEPS)
    weights = {"running_mean": np.zeros(CHANNELS), "running_var": np.ones(CHANNELS)}
    traces = []
    for x in batches:
        mean, var = update(layer, x, weights)
        weights = {"running_mean": mean, "running_var": var}
        traces.append((mean, var))
    of_batch = [(x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3), ddof=1)) for x in batches]
    error = max(
        float(np.abs(traced - closed_form([one[k] for one in of_batch[: t + 1]], float(k), layer.momentum)).max())
        for t, pair in enumerate(traces)
        for k, traced in enumerate(pair)
    )
    torch_error = _difference_from_torch(layer, batches, weights)
    converted = kept_share(layer.momentum) == 1 - layer.momentum and new_share(kept_share(0.25)) == 0.25
    return Finding(
        error <= ROUNDING and torch_error <= ROUNDING and converted,
        f"{STEPS} batches of {BATCH} images, share of the new batch {layer.momentum}: trace off the closed form by at "
        f"most {error:.1e}, off torch's by {torch_error:.1e}; as ONNX and Keras count it (share kept) "
        f"{kept_share(layer.momentum)}",
        {"batch means": [m[0] for m, _ in of_batch], "running means": [m[0] for m, _ in traces]},
    )


def closed_form(values: list[Array], start: float, share: float) -> Array:
    """(1 - b)^T start + sum over t of b (1 - b)^(T - 1 - t) value_t: the recursion unrolled."""
    ages = np.arange(len(values))[::-1]
    weighted = (share * (1 - share) ** age * value for age, value in zip(ages, values, strict=True))
    total: Array = (1 - share) ** len(values) * start + np.sum(list(weighted), axis=0)
    return total


def _difference_from_torch(layer: BatchNorm, batches: list[Array], weights: dict[str, Array]) -> float:
    from torch import float64, from_numpy, nn

    peer = nn.BatchNorm2d(CHANNELS, eps=layer.eps, momentum=layer.momentum, affine=False, dtype=float64)
    for x in batches:
        peer(from_numpy(x))
    pairs = ((peer.running_mean, "running_mean"), (peer.running_var, "running_var"))
    return max(float(np.abs(p.numpy() - weights[role]).max()) for p, role in pairs if p is not None)


CLAIM = Claim(
    number=19,
    title="Running averages",
    statement="For the test the means and variances are averaged while training: μ ← (1 − β) μ + β μ_batch, likewise "
    "v, with β = 0.1.",
    formula="μ_T = (1 − β)^T μ_0 + Σ_t β (1 − β)^(T−1−t) m_t",
    method="Fifty batches of feature maps of real images pass a layer in float64; after each, the running mean and "
    "variance are compared with the recursion written out as a sum, and in the end with torch's. β is called momentum, "
    "and the libraries disagree on which share it is: torch counts the new batch (0.1), ONNX and Keras what is kept "
    "(0.9). The variance that enters is the unbiased one, as in torch, though the batch itself is normalised by the "
    "biased one.",
    expected="equal to the closed form and to torch to rounding (1e-12); 0.1 converts to 0.9 and back",
    run=measure,
    caption="One channel: the mean of each batch (dots), and the running average, which starts at 0, needs about 30 "
    "batches to arrive, and then hardly moves.",
)
