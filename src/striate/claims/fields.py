"""Receptive fields measured three ways, for the claims that predict them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from striate.geometry import Window
from striate.graph import Builder, Network, reference
from striate.measure import views
from striate.ops import Conv

Stack = Sequence[tuple[int, int]]
"""Kernel and stride of each layer along one axis."""


def convolutions(rows: Stack, columns: Stack, shape: tuple[int, int]) -> Network:
    """Unpadded convolutions of one channel with all weights 1, on an image of `shape` (H, W)."""
    builder = Builder("stack", (1, *shape))
    x = "input"
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        conv = Conv(1, 1, (Window(*row), Window(*column)), bias=False)
        x = builder.add(conv, x, name=f"conv{i}")
    net = builder.build()
    return net.with_weights({name: np.ones(spec.shape) for name, spec in net.weight_specs().items()})


def by_geometry(net: Network) -> tuple[int, ...]:
    """Size of the field of the output's units on each axis, from the exact index maps."""
    seen = (axis.sight.interval(0) for axis in views(net)[net.output])
    return tuple(0 if s is None else s[1] - s[0] + 1 for s in seen)


def by_gradient(net: Network) -> tuple[int, ...]:
    """The same, as the rows and columns of the image that the gradient of the first unit reaches."""
    x = np.zeros((1, *net.input_shape))
    values = reference.run(net, x)
    one = np.zeros_like(values[net.output])
    one[..., 0, 0] = 1.0
    reached = reference.gradient(net, values, one)[0][0, 0] != 0
    return tuple(int(np.ptp(np.flatnonzero(reached.any(axis=axis)))) + 1 for axis in (1, 0))
