"""Let a network read raw pixels: the scaling and shifting of its input becomes its first layer.

For f and the preparation scale x + shift, the result computes g(x) = f(scale x + shift), so that an artifact takes the
pixels as they are, 0 to 255. The preparation is an affine map of each channel, which is what a batch normalisation is
at test time: written as one, the passes fold it like any other, and a proof compares with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.errors import PassError
from striate.graph import INPUT, Network, Node, fresh
from striate.ops import Array
from striate.rewrite.affine import norm_of
from striate.rewrite.edit import rebuilt

NORMALISED = "normalised"


def read_pixels(network: Network, scale: Array, shift: Array) -> Network:
    """The network g with g(x) = network(scale x + shift), in the dtype of its weights, by a norm called "normalised".

    scale, shift: one number an input channel (C,)
    Raises: PassError where they are not.
    """
    channels = network.input_shape[0]
    scale, shift = np.asarray(scale), np.asarray(shift)
    if scale.shape != (channels,) or shift.shape != (channels,) or not np.isfinite([scale, shift]).all():
        raise PassError(f"{network.name}: scale and shift must be {channels} finite numbers each, one an input channel")
    dtype = next(array.dtype for array in network.weights.values())
    name = fresh(NORMALISED, {INPUT, *(node.name for node in network)})
    op, arrays = norm_of(scale.astype(dtype), np.zeros(channels, dtype), shift.astype(dtype))
    names = {role: fresh(f"{name}.{role}", network.weights) for role in arrays}
    first = Node(name, op, (INPUT,), names)
    others = [replace(node, inputs=tuple(name if i == INPUT else i for i in node.inputs)) for node in network]
    weights = {**network.weights, **{names[role]: array for role, array in arrays.items()}}
    return rebuilt(network, (first, *others), weights, network.output)
