"""Move a batch normalisation up, over layers without weights, to a convolution or dense layer that can take it.

It commutes, channel by channel, with

- max pooling, also global or adaptive, where no scale is negative (a negative one turns maxima into minima);
- average pooling of every kind and blurring, where no padded zero is counted (a zero is not shifted);
- resizing, by the nearest pixel or linearly: the shares of the pixels add up to 1;
- slices, channel and pixel shuffles and other moves, where each channel's values stay in one channel;
- concatenation, where each branch receives its part of the channels;
- identity, dropout, and flattening of 1 x 1 maps.

Legal: on the whole way up nothing else reads a tensor whose values change, none of them is the network's result, and
at the end of every branch stands a convolution or dense layer. A move that nothing could take would only make the
batch normalisation larger. Stored factors and summands, one a channel, move likewise and become norms. Keeps: function.
The layer that is crossed now writes what the batch normalisation wrote, so it takes its name.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from striate.graph import Network, Node
from striate.ops import Array, Concat, Conv, ConvTranspose, Flatten, Linear
from striate.rewrite.affine import as_norm, fault
from striate.rewrite.crossing import CROSSED, SEVERAL, channels_before, clash
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "hoist_batch_norm"


def hoist_batch_norm(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with batch normalisations at the layers that can take them, and what became of each."""
    return everywhere(network, NAME, _hoist)


def _hoist(view: View, bn: Node) -> Change | str | None:
    norm, crossed = as_norm(view, bn), view.source(bn)
    if norm is None or crossed is None or not isinstance(crossed.op, (*CROSSED, Concat)):
        return None
    op, weights = norm
    if reason := fault(op, weights) or _obstacle(view, bn.inputs[0], *op.scale_shift(weights)):
        return reason
    moved, arrays = [], dict[str, Array]()
    for i, (name, channels) in enumerate(zip(crossed.inputs, _parts(view, crossed), strict=True)):
        called = view.free(f"{bn.name}.before.{i}" if len(crossed.inputs) > 1 else f"{bn.name}.before")
        branch = {role: array[channels] for role, array in weights.items()}
        node, named = view.weighted(called, replace(op, channels=len(channels)), (name,), branch, bn)
        moved.append(node)
        arrays |= named
    after = replace(crossed, name=bn.name, inputs=tuple(node.name for node in moved))
    what = f"moved before {crossed.op.kind} {crossed.name}"
    return Change(bn.name, what, {crossed.name: (), bn.name: (*moved, after)}, arrays)


def _parts(view: View, node: Node) -> list[Array]:
    """For each input of a layer, the channel of its result that each of the input's channels becomes part of.

    A channel that nothing reads may get any norm; it gets the last one's.
    """
    if isinstance(node.op, Concat):
        ends = np.cumsum([0, *(view.shapes[name][0] for name in node.inputs)])
        return [np.arange(start, stop) for start, stop in pairwise(ends)]
    return [channels_before(node.op, view.shapes[node.inputs[0]], view.shapes[node.name])]


def _obstacle(view: View, name: str, scale: Array, shift: Array) -> str:
    """Why a norm cannot move up from the tensor `name` to a layer that takes it; empty if it can."""
    node = view.nodes.get(name)
    if node is None:
        return "no layer that could take it stands before"
    if view.owner(name) is None:
        return f"would have to cross {name}, whose result is needed elsewhere as well"
    if isinstance(node.op, Conv | ConvTranspose | Linear):
        return ""
    if not isinstance(node.op, (*CROSSED, Concat)):
        return f"would have to cross {node.op.kind} {name}, with which it does not commute"
    parts = _parts(view, node)
    if reason := clash(node.op, name, scale, shift) or _parted(node, parts):
        return reason
    ways = zip(node.inputs, parts, strict=True)
    return next((why for i, part in ways if (why := _obstacle(view, i, scale[part], shift[part]))), "")


def _parted(node: Node, parts: list[Array]) -> str:
    if not any((channels == SEVERAL).any() for channels in parts):
        return ""
    how = "gives every position of a channel its own norm" if isinstance(node.op, Flatten) else "parts channels"
    return f"{node.op.kind} {node.name} {how}"
