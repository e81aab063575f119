"""In a CNN the statistics go over batch and positions: one set a channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, images, network, relative
from striate.graph import reference
from striate.ops import Array, BatchNorm
from striate.ops.base import spread

CHANNELS = 6
EPS = BatchNorm(CHANNELS).eps
Statistics = Callable[[Array], tuple[Array, Array]]


def layer_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and variance that the layer normalises with."""
    return BatchNorm(x.shape[1]).batch_statistics(x)


def measure(statistics: Statistics = layer_statistics) -> Finding:
    """`statistics` are what the layer normalises (N, C, H, W) with."""
    x = reference.output(network(f"{CHANNELS}C3"), images(12))[..., 2:25, 3:20]
    mean, var = statistics(x)
    by_hand = [x[:, c].ravel() for c in range(CHANNELS)]  # all values of one channel in a heap
    want = np.array([v.sum() / len(v) for v in by_hand]), np.array([((v - v.mean()) ** 2).mean() for v in by_hand])
    error = max(relative(mean, want[0]), relative(var, want[1]))
    numbers = sum(int(np.prod(spec.shape)) for spec in BatchNorm(CHANNELS).weight_specs())
    normal = normalised(x, mean, var)
    rolled = np.roll(x, (5, 3), axis=(2, 3))  # every value at another position
    alike = relative(normalised(rolled, *statistics(rolled)), np.roll(normal, (5, 3), axis=(2, 3)))
    torch_error = relative(normal, _torch(x))
    return Finding(
        error <= ROUNDING and alike <= ROUNDING and torch_error <= ROUNDING and numbers == 4 * CHANNELS,
        f"{x.size // CHANNELS:,} values a channel: statistics off the heap's by {error:.1e}, output off torch's by "
        f"{torch_error:.1e}; maps moved before and after agree to {alike:.1e}; {numbers} numbers for {CHANNELS} "
        "channels",
    )


def normalised(x: Array, mean: Array, var: Array) -> Array:
    """(x - m) / sqrt(v + eps), one pair a channel."""
    return (x - spread(mean, x.ndim)) / np.sqrt(spread(var, x.ndim) + EPS)


def _torch(x: Array) -> Array:
    from torch import from_numpy
    from torch.nn.functional import batch_norm

    return batch_norm(from_numpy(x), None, None, training=True, eps=EPS).numpy()


CLAIM = Claim(
    number=27,
    title="Batch normalisation in CNNs",
    statement="In a CNN batch normalisation goes over batch and both spatial dimensions: one (mean, variance, γ, β) "
    "for each channel, so a feature map is treated alike everywhere.",
    formula="m[c] = (1 / NHW) Σ_(n,i,j) x[n,c,i,j]      v[c] = (1 / NHW) Σ_(n,i,j) (x[n,c,i,j] − m[c])²",
    method="Feature maps of real images: all values of one channel are put on one heap, whose mean and variance are "
    "compared with the layer's; the normalised maps are compared with torch's; and every map is rolled around by 5 "
    "rows and 3 columns before and after the layer, which must be the same: no position is special. Anything else "
    "would break the equivariance of statement 2.",
    expected="equal to rounding (1e-12), also when moved; 4 numbers a channel, 2 of them learnt",
    run=measure,
)
