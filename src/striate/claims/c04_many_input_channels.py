"""A kernel spans all input channels and slides over two dimensions only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, convolve, relative, stacked
from striate.geometry import Window
from striate.ops import Conv, Shape


def layer_macs(conv: Conv, shape: Shape) -> int:
    """Multiply-accumulates of a layer on one image of `shape` (C, H, W)."""
    return conv.macs(shape)


def measure(macs: Callable[[Conv, Shape], int] = layer_macs) -> Finding:
    """`macs` says what a convolution costs."""
    rng = np.random.default_rng(4)
    pictures = stacked(1, 5)[..., 5:18, 8:19]
    settings, worst, wrong = 0, 0.0, []
    for channels, kernels, rows, columns in product((1, 2, 3, 5), (1, 4), (1, 3), (2, 4)):
        x = pictures[:, :channels]
        weight, bias = rng.normal(size=(kernels, channels, rows, columns)), np.zeros(kernels)
        windows = (Window(rows, stride=2), Window(columns))
        y = convolve(x, weight, bias, windows)
        by_channel = sum(convolve(x[:, [c]], weight[:, [c]], bias, windows) for c in range(channels))
        worst = max(worst, relative(y, np.asarray(by_channel)))
        products = y.size * np.count_nonzero(weight[0])  # every output is one product for each tap of its kernel
        stated = macs(Conv(channels, kernels, windows), x.shape[1:])
        settings += 1
        if y.ndim != x.ndim or y.shape[1] != kernels or stated != products:
            wrong.append(f"C={channels} K={rows}x{columns}: {stated:,} MACs for {products:,} products")
    first = f" ({wrong[0]})" if wrong else ""
    return Finding(
        worst <= ROUNDING and not wrong,
        f"{settings} settings: output = sum over single-channel convolutions to {worst:.1e}; always two spatial axes; "
        f"shape or cost wrong in {len(wrong)}{first}",
    )


CLAIM = Claim(
    number=4,
    title="Many input channels, still two dimensions",
    statement="The kernel spans all C_in channels and slides over two dimensions only: still a 2-D operation.",
    formula="W: (C_out, C_in, H_K, W_K)      y = Σ_c  W[:, c] ⋆ x[c]      MACs = H_out · W_out · C_out · C_in · H_K "
    "· W_K",
    method="Real images are stacked as 1, 2, 3 and 5 channels. The layer's output is compared with the sum of as many "
    "convolutions of one channel each, its axes are counted, and its stated cost is compared with a count of products. "
    "Nothing slides along the channels: their order is a matter of naming, not of space.",
    expected="equal to the sum to rounding (1e-12); two spatial axes; cost equal to the count, in every setting",
    run=measure,
)
