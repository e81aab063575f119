"""One kernel gives one feature map, one value for each position."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from striate.claims.claim import Claim, Finding
from striate.claims.instruments import convolve, images
from striate.geometry import Window
from striate.ops import Activation, Array

KERNELS = {
    "brighter to the right": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "brighter downwards": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "rising diagonal": [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
    "brighter than around": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "average": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
}


def measure(layer: Callable[[Array, Array, Array, Sequence[Window]], Array] = convolve) -> Finding:
    """`layer` convolves images (N, C, H, W) with kernels (O, C, Kh, Kw), biases (O,) and one window an axis."""
    x = images(10)[[9, 5]]
    weight = np.array(list(KERNELS.values()), np.float64)[:, None]
    bias = np.zeros(len(weight))
    windows = (Window(3), Window(3, pad_lo=1, pad_hi=1))
    maps = layer(x, weight, bias, windows)
    leaks = 0
    for k in range(len(weight)):
        other = weight.copy()
        other[k] *= -3
        changed = (layer(x, other, bias, windows) != maps).any(axis=(0, 2, 3))
        leaks += int(changed.sum() - changed[k]) + int(not changed[k])
    positions = tuple(w.out_size(n) for w, n in zip(windows, x.shape[2:], strict=True))
    one_value_each = maps.shape == (len(x), len(weight), *positions)
    activations = Activation("relu").forward([maps], {})
    return Finding(
        leaks == 0 and one_value_each,
        f"{len(weight)} kernels gave {maps.shape[1]} maps of {maps.shape[2]} × {maps.shape[3]} values; changing a "
        f"kernel changed another map, or not its own, {leaks} times",
        {"image": x[0, 0], "maps": dict(zip(KERNELS, activations[0], strict=True))},
    )


CLAIM = Claim(
    number=5,
    title="One kernel, one feature map",
    statement="One kernel gives one feature map, with one value (activation) for each position.",
    formula="feature map o = { y[o, i, j] : 0 ≤ i < H_out, 0 ≤ j < W_out }",
    method="Five kernels that a person would draw read real images. Then each kernel in turn is changed, and the maps "
    "that change with it are counted: its own, and no other.",
    expected="as many maps as kernels, H_out × W_out values each; a kernel reaches its own map only",
    run=measure,
    caption="A boot, and the feature maps of five kernels after ReLU: each map says where in the image its kernel "
    "finds what it looks for. Dark is a strong activation.",
)
