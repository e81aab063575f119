"""What networks call convolution is cross-correlation: the layer against its definition, and against the flip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, convolve, images, relative, stacked
from striate.geometry import Window
from striate.ops import Array

SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def measure(layer: Callable[[Array, Array, Array, Sequence[Window]], Array] = convolve) -> Finding:
    """`layer` convolves images (N, C, H, W) with kernels (O, C, Kh, Kw), biases (O,) and one window an axis."""
    x = stacked(2, 3)[..., 7:20, 9:19]  # every size differs from every other: a swapped axis cannot hide
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(4, 3, 5, 2)), rng.normal(size=4)
    windows = (Window(5, stride=2, pad_lo=1, pad_hi=2), Window(2, stride=1, dilation=3, pad_lo=2))
    got = layer(x, weight, bias, windows)
    error = relative(got, direct_sum(x, weight, bias, windows))
    flipped = relative(got, direct_sum(x, weight[..., ::-1, ::-1], bias, windows))
    boot = images(10)[9:]
    plain = (Window(3), Window(3))
    pictures = [layer(boot, kernel[None, None], np.zeros(1), plain)[0, 0] for kernel in (SOBEL, SOBEL[::-1, ::-1])]
    return Finding(
        error <= ROUNDING and flipped > 0.1,
        f"{got.size:,} outputs: the layer differs from the sum by {error:.1e} of the largest output, and from the sum "
        f"with flipped kernels by {flipped:.2f}",
        {"image": boot[0, 0], "kernel": SOBEL, "layer": pictures[0], "flipped": pictures[1]},
    )


def direct_sum(x: Array, weight: Array, bias: Array, windows: Sequence[Window]) -> Array:
    """The definition, one product at a time; taps outside the image multiply zero."""
    out = [w.out_size(n) for w, n in zip(windows, x.shape[2:], strict=True)]
    y = np.empty((len(x), len(weight), *out))
    for n, o, i, j in np.ndindex(y.shape):
        total = bias[o]
        for c, u, v in np.ndindex(weight.shape[1:]):
            row = windows[0].stride * i + windows[0].dilation * u - windows[0].pad_lo
            column = windows[1].stride * j + windows[1].dilation * v - windows[1].pad_lo
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                total += weight[o, c, u, v] * x[n, c, row, column]
        y[n, o, i, j] = total
    return y


CLAIM = Claim(
    number=1,
    title="Convolution is cross-correlation",
    statement="What networks call convolution is cross-correlation: the kernel is not flipped.",
    formula="y[n,o,i,j] = b[o] + Σ_c Σ_u Σ_v  W[o,c,u,v] · x[n,c, S·i + D·u − P, S·j + D·v − P]",
    method="The layer runs on crops of real images, three of them stacked as channels, with a kernel, stride, dilation "
    "and padding that differ on the two axes. The same outputs are computed by the triple sum, one product at a time, "
    "in float64; and once more with every kernel turned by 180 degrees, as a mathematician's convolution has it. "
    "A network that learns its kernels does not care, since it would learn the flipped ones; whoever copies weights "
    "from a signal-processing library does.",
    expected="equal to the sum to rounding (1e-12); more than 0.1 away from the flipped one",
    run=measure,
    caption="A kernel that answers left-to-right brightening, and what the layer makes of a boot: blue is positive. "
    "Flipped, the same kernel answers darkening: every sign changes.",
)
