"""Convolutions without a non-linearity between them are one convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import ROUNDING, convolve, images, relative
from striate.geometry import Window
from striate.ops import Activation, Array


@dataclass(frozen=True, slots=True)
class Kernels:
    """Weights (O, C, K, K) and biases (O,) of one convolution."""

    weight: Array
    bias: Array


def collapse(first: Kernels, second: Kernels) -> Kernels:
    """The one convolution that equals `second` after `first`.

    W[o, c, t] = sum over m and u + v = t of W2[o, m, u] W1[m, c, v]
    b[o] = b2[o] + sum over m and u of W2[o, m, u] b1[m]
    """
    side = first.weight.shape[2] + second.weight.shape[2] - 1
    weight = np.zeros((len(second.weight), first.weight.shape[1], side, side))
    for u, v in np.ndindex(second.weight.shape[2:]):
        rows, columns = slice(u, u + first.weight.shape[2]), slice(v, v + first.weight.shape[3])
        weight[..., rows, columns] += np.einsum("om,mcij->ocij", second.weight[..., u, v], first.weight)
    return Kernels(weight, second.bias + second.weight.sum(axis=(2, 3)) @ first.bias)


def measure(one_for_two: Callable[[Kernels, Kernels], Kernels] = collapse) -> Finding:
    """`one_for_two` states the single convolution that equals two in a row."""
    rng = np.random.default_rng(7)
    first = Kernels(rng.normal(size=(6, 1, 3, 3)), rng.normal(size=6))
    second = Kernels(rng.normal(size=(4, 6, 5, 5)), rng.normal(size=4))
    x = images(10)[[9, 5, 8]]
    one = one_for_two(first, second)
    single = convolve(x, one.weight, one.bias, _same(7))
    middle = convolve(x, first.weight, first.bias, _same(3))
    linear = convolve(middle, second.weight, second.bias, _same(5))
    rectified = convolve(Activation("relu").forward([middle], {}), second.weight, second.bias, _same(5))
    inner = (..., slice(3, -3), slice(3, -3))
    inside, border = relative(single[inner], linear[inner]), relative(single, linear)
    with_relu = relative(single[inner], rectified[inner])
    scale = np.abs(linear).max()
    differences = {
        "without ReLU": np.abs(single - linear)[0].max(axis=0) / scale,
        "with ReLU": np.abs(single - rectified)[0].max(axis=0) / scale,
    }
    return Finding(
        inside <= ROUNDING and with_relu > 0.1,
        f"two convolutions against one of 7 × 7: {inside:.1e} in the interior, {border:.2f} in the border of 3 px, "
        f"where the second meets the zeros around the first's maps; with ReLU between them {with_relu:.2f}",
        {"differences": differences},
    )


def _same(kernel: int) -> tuple[Window, Window]:
    window = Window(kernel, pad_lo=kernel // 2, pad_hi=kernel // 2)
    return window, window


CLAIM = Claim(
    number=7,
    title="Depth needs a non-linearity",
    statement="A stack of convolutions without a non-linearity between them is a single linear operator.",
    formula="W2 ⋆ (W1 ⋆ x + b1) + b2  =  W ⋆ x + b,      W = W2 ∗ W1 (summed over the channels between),   b = b2 + "
    "Σ W2 · b1",
    method="A 3 × 3 and a 5 × 5 convolution, both padded to keep the size, are collapsed into one of 7 × 7 by the "
    "formula and compared on real images in float64. At the border there is a difference by right: the second layer "
    "is padded with zeros where the collapsed one, reading the image itself, would have computed something. Then a "
    "ReLU is put between the two.",
    expected="interior equal to rounding (1e-12); with ReLU more than 0.1 away",
    run=measure,
    caption="Where the two layers and the collapsed one differ, largest over channels, as a share of the largest "
    "output. Without a ReLU only in the border; with one, wherever there is something to see.",
)
