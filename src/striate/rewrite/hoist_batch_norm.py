"""Move a batch normalisation up, over layers without weights, to a convolution or dense layer that can take it.

It commutes, channel by channel, with

- max pooling, where no scale is negative (a negative one turns maxima into minima);
- average pooling of every kind, where no padded zero is counted (a zero is not shifted);
- concatenation, where each branch receives its part of the channels;
- identity, dropout, and flattening of 1 x 1 maps.

Legal: on the whole way up nothing else reads a tensor whose values change, none of them is the network's result, and
at the end of every branch stands a convolution or dense layer. A move that nothing could take would only make the
batch normalisation larger. Keeps: function. The layer that is crossed now writes what the batch normalisation
wrote, so it takes its name.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from striate.graph import Network, Node
from striate.ops import (
    AdaptiveAvgPool,
    Array,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
)
from striate.rewrite.affine import averages_only_pixels, fault
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "hoist_batch_norm"
CROSSED = (MaxPool, AvgPool, AdaptiveAvgPool, GlobalAvgPool, Concat, Flatten, Identity)  # a dropout is an Identity


def hoist_batch_norm(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with batch normalisations at the layers that can take them, and what became of each."""
    return everywhere(network, NAME, _hoist)


def _hoist(view: View, bn: Node) -> Change | str | None:
    if not isinstance(bn.op, BatchNorm):
        return None
    crossed = view.source(bn)
    if crossed is None or not isinstance(crossed.op, CROSSED):
        return None
    weights = view.weights(bn)
    if reason := fault(bn.op, weights) or _obstacle(view, bn.inputs[0], bn.op.scale_shift(weights)[0]):
        return reason
    widths = [view.shapes[name][0] for name in crossed.inputs]
    ends = np.cumsum([0, *widths])
    moved, arrays = [], dict[str, Array]()
    for i, (name, (start, stop)) in enumerate(zip(crossed.inputs, pairwise(ends), strict=True)):
        called = view.free(f"{bn.name}.before.{i}" if len(widths) > 1 else f"{bn.name}.before")
        branch = {role: array[start:stop] for role, array in weights.items()}
        node, named = view.weighted(called, replace(bn.op, channels=widths[i]), (name,), branch, bn)
        moved.append(node)
        arrays |= named
    after = replace(crossed, name=bn.name, inputs=tuple(node.name for node in moved))
    what = f"moved before {crossed.op.kind} {crossed.name}"
    return Change(bn.name, what, {crossed.name: (), bn.name: (*moved, after)}, arrays)


def _obstacle(view: View, name: str, scale: Array) -> str:
    """Why a norm with these scales cannot move up from the tensor `name` to a layer that takes it; empty if it can."""
    node = view.nodes.get(name)
    if node is None:
        return "no layer that could take it stands before"
    if view.owner(name) is None:
        return f"would have to cross {name}, whose result is needed elsewhere as well"
    if isinstance(node.op, Conv | ConvTranspose | Linear):
        return ""
    if not isinstance(node.op, CROSSED):
        return f"would have to cross {node.op.kind} {name}, with which it does not commute"
    if reason := _clash(view, node, scale):
        return reason
    ends = np.cumsum([view.shapes[i][0] for i in node.inputs])[:-1]
    branches = zip(node.inputs, np.split(scale, ends), strict=True)
    return next((why for i, part in branches if (why := _obstacle(view, i, part))), "")


def _clash(view: View, node: Node, scale: Array) -> str:
    """Why the layer itself does not commute with the norm; empty if it does."""
    if isinstance(node.op, MaxPool) and (scale < 0).any():
        return f"max_pool {node.name} does not commute with the negative scale of channel {int(np.argmax(scale < 0))}"
    if isinstance(node.op, AvgPool) and not averages_only_pixels(node.op):
        return f"avg_pool {node.name} counts padded zeros, which the shift must not reach"
    if isinstance(node.op, Flatten) and len(scale) != view.shapes[node.inputs[0]][0]:
        return f"flatten {node.name} gives every position of a channel its own norm"
    return ""
