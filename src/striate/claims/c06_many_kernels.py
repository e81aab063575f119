"""As many output channels as kernels, each kernel with its own bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, convolve, stacked
from striate.geometry import Window
from striate.ops import Array, Conv


def measure(layer: Callable[[Array, Array, Array, Sequence[Window]], Array] = convolve) -> Finding:
    """`layer` convolves images (N, C, H, W) with kernels (O, C, Kh, Kw), biases (O,) and one window an axis."""
    rng = np.random.default_rng(6)
    pictures = stacked(1, 3)[..., 6:17, 8:15]
    settings, wrong = 0, []
    for kernels, channels, rows, columns in product(range(1, 9), (1, 2, 3), (1, 2, 3), (1, 3)):
        x = pictures[:, :channels]
        windows = (Window(rows, stride=2), Window(columns, pad_lo=1))
        weight, bias = rng.normal(size=(kernels, channels, rows, columns)), rng.normal(size=kernels)
        y = layer(x, weight, bias, windows)
        own = y - layer(x, weight, np.zeros(kernels), windows)
        parameters = sum(int(np.prod(s.shape)) for s in Conv(channels, kernels, windows).weight_specs())
        settings += 1
        each_its_own = y.shape[1] == kernels and np.abs(own - bias[:, None, None]).max() <= ROUNDING
        if not each_its_own or parameters != kernels * (channels * rows * columns + 1):
            wrong.append(f"C_out={kernels} C_in={channels} K={rows}x{columns}")
    first = f", first at {wrong[0]}" if wrong else ""
    return Finding(not wrong, f"{settings} settings: disagreement in {len(wrong)}{first}")


CLAIM = Claim(
    number=6,
    title="Many kernels, many maps",
    statement="The number of output channels equals the number of kernels; each has its own bias.",
    formula="C_out = number of kernels      parameters = C_out · (C_in · H_K · W_K + 1)",
    method="All settings of 1 to 8 kernels, 1 to 3 input channels and six kernel sizes on a real image: output "
    "channels are counted, learnable numbers are counted, and the output is compared with that of the same layer "
    "without biases: map o must lie higher by exactly b[o], everywhere.",
    expected="no disagreement in any setting",
    run=measure,
)
