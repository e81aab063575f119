"""Pooling has nothing to learn and keeps every channel to itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import stacked
from striate.geometry import Window
from striate.ops import Array, AvgPool, MaxPool, Op

WINDOWS = (Window(3, stride=2, pad_lo=1, pad_hi=1), Window(2, stride=3))
Pool = Callable[[Op, Array], Array]


def pool_forward(op: Op, x: Array) -> Array:
    """The output of a layer without weights."""
    return op.forward([x], {})


def measure(forward: Pool = pool_forward) -> Finding:
    """`forward` runs a pooling layer on images (N, C, H, W)."""
    x = stacked(2, 5)[..., 3:26, 5:24]
    order = np.array([3, 0, 4, 1, 2])
    broken, parameters = [], 0
    for op in (MaxPool(WINDOWS), AvgPool(WINDOWS)):
        y = forward(op, x)
        lone = x.copy()
        lone[:, 1:] = 0  # the first channel alone must not notice
        commutes = np.array_equal(forward(op, x[:, order]), y[:, order])
        apart = np.array_equal(forward(op, lone)[:, 0], y[:, 0])
        parameters += sum(int(np.prod(spec.shape)) for spec in op.weight_specs())
        if not (commutes and apart and y.shape[1] == x.shape[1]):
            broken.append(op.kind)
    return Finding(
        parameters == 0 and not broken,
        f"max and average pooling: {parameters} parameters; channels mixed, lost or reordered by "
        f"{', '.join(broken) or 'none'} of them (differences are exactly 0)",
    )


CLAIM = Claim(
    number=13,
    title="Pooling has nothing to learn",
    statement="Pooling has a prespecified kernel, chosen a priori, and no learnable parameters; it works on each "
    "channel on its own, so C_out = C_in.",
    formula="y[n, c, i, j] = pool of x[n, c, window at (i, j)]",
    method="Max and average pooling read five real images stacked as channels. Parameters are counted; the channels "
    "are permuted before and after; and all channels but one are blanked to see whether that one notices.",
    expected="0 parameters; permuting channels commutes exactly; no channel sees another",
    run=measure,
)
