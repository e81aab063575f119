"""Average and global pooling: the same family with another function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, relative, stacked
from striate.geometry import Window
from striate.ops import Array, AvgPool, Conv, GlobalAvgPool, MaxPool, Op

CHANNELS, SIDES = 5, (7, 4)


def measure(forward: Callable[[Op, Array], Array] | None = None) -> Finding:
    """`forward` runs a pooling layer on images (N, C, H, W)."""
    forward = forward or (lambda op, x: op.forward([x], {}))
    x = stacked(2, CHANNELS)
    windows = tuple(Window(side, stride=side) for side in SIDES)
    averaged = forward(AvgPool(windows), x)
    weights = {"weight": np.full((CHANNELS, 1, *SIDES), 1 / (SIDES[0] * SIDES[1]))}
    fixed = Conv(CHANNELS, CHANNELS, windows, groups=CHANNELS, bias=False).forward([x], weights)
    as_convolution = relative(averaged, fixed)
    whole = forward(GlobalAvgPool(), x)
    global_error = relative(whole, averaged.mean(axis=(2, 3)))
    order = np.array([3, 0, 4, 1, 2])
    commutes = np.array_equal(forward(GlobalAvgPool(), x[:, order]), whole[:, order])
    parameters = len(AvgPool(windows).weight_specs()) + len(GlobalAvgPool().weight_specs())
    boot = stacked(10, 1)[9:]
    small = (Window(4, stride=4), Window(4, stride=4))
    pictures = {
        "image": boot,
        "max 4 × 4": forward(MaxPool(small), boot),
        "average 4 × 4": forward(AvgPool(small), boot),
    }
    return Finding(
        as_convolution <= ROUNDING and global_error <= ROUNDING and commutes and parameters == 0,
        f"average pooling = depthwise convolution with weights 1/(H_K W_K) to {as_convolution:.1e}; global pooling = "
        f"mean of the averages to {global_error:.1e}; {parameters} parameters; channels "
        f"{'kept' if commutes else 'mixed'}",
        {"pictures": {name: picture[0, 0] for name, picture in pictures.items()}},
    )


CLAIM = Claim(
    number=15,
    title="Average and global pooling",
    statement="Average and global pooling belong to the same family: no parameters, each channel on its own.",
    formula="average: y = (1 / H_K W_K) Σ_window x      global: y[n, c] = (1 / HW) Σ_(i,j) x[n, c, i, j]",
    method="Average pooling is compared with what it is: a convolution of each channel with one fixed, flat kernel. "
    "Global pooling is the same with a kernel as large as the map, so it must equal the mean of the averages.",
    expected="equal to rounding (1e-12); 0 parameters; permuting channels commutes exactly",
    run=measure,
    caption="A boot, the largest of each 4 × 4 window, and the average of each. The maximum keeps what is bright, the "
    "average what is common.",
)
