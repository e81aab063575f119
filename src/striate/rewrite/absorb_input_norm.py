"""Fold a batch normalisation of the network's input forward into stems that pad with zeros, by a channel that is 1.

As in `constant_channel`, the scale folds into the weights, and a channel that is 1 on every pixel carries the shift,
which the padding must not get. No layer takes a stored constant as an input, so a 1 x 1 convolution [x] -> [x, 1]
makes the channel. Its C (C + 1) multiply-accumulates a pixel are the price; a stem of 32 kernels of 3 x 3 on 3 channels
has 864.

Legal: all that reads the norm are convolutions (a transposed one pads, with zeros between its pixels) or dense layers,
of which those that pad are not grouped; the norm is not the network's result. Where none of them pads,
`push_batch_norm` does it without a channel.
Keeps: function. Every layer keeps its name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.geometry import Window
from striate.graph import INPUT, Network, Node
from striate.ops import Array, BatchNorm, Conv, ConvTranspose, Linear
from striate.rewrite.affine import after_affine, fault, pads
from striate.rewrite.constant_channel import ONE_GROUP, taking_one
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note
from striate.rewrite.push_batch_norm import unique

NAME = "absorb_input_norm"


def absorb_input_norm(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with norms of its input in the layers that read them, and what became of each."""
    return everywhere(network, NAME, _absorb)


def _absorb(view: View, bn: Node) -> Change | str | None:
    if not isinstance(bn.op, BatchNorm) or bn.inputs[0] != INPUT:
        return None
    weights = view.weights(bn)
    readers = unique(view.readers[bn.name])
    if reason := fault(bn.op, weights) or _obstacle(view, bn, readers):
        return reason
    padded = [node for node in readers if pads(node.op)]
    if not padded:
        return None  # push_batch_norm's
    scale, shift = bn.op.scale_shift(weights)
    ones = view.free(f"{bn.name}.and_one")
    first, arrays = _and_one(view, ones, bn)
    places: dict[str, tuple[Node, ...]] = {bn.name: (first,)}
    for node in readers:
        taken, named = _padded(view, node, ones, scale, shift) if node in padded else _plain(view, node, scale, shift)
        places[node.name] = (taken,)
        arrays |= named
    what = f"batch_norm {bn.name} of the input folded through the padding, with a constant channel from conv {ones}"
    return Change(padded[0].name, what, places, arrays)


def _obstacle(view: View, bn: Node, readers: list[Node]) -> str:
    if bn.name == view.network.output:
        return "is the network's result"
    for node in readers:
        if not isinstance(node.op, Conv | ConvTranspose | Linear):
            return f"is read by {node.op.kind} {node.name}, which has no weights that could take it"
        if not isinstance(node.op, Linear) and node.op.groups > 1 and pads(node.op):
            return f"is read by the grouped {node.op.kind} {node.name}, {ONE_GROUP}"
    return ""


def _plain(view: View, node: Node, scale: Array, shift: Array) -> tuple[Node, dict[str, Array]]:
    assert isinstance(node.op, Conv | Linear)  # noqa: S101 - `_obstacle` has seen to it
    arrays = after_affine(node.op, view.weights(node), scale, shift)
    return view.weighted(node.name, replace(node.op, bias=True), (INPUT,), arrays, node)


def _padded(view: View, node: Node, ones: str, scale: Array, shift: Array) -> tuple[Node, dict[str, Array]]:
    assert isinstance(node.op, Conv | ConvTranspose)  # noqa: S101 - only these pad
    op = replace(node.op, in_channels=node.op.in_channels + 1)
    return view.weighted(node.name, op, (ones,), taking_one(node.op, view.weights(node), scale, shift), node)


def _and_one(view: View, name: str, bn: Node) -> tuple[Node, dict[str, Array]]:
    """The 1 x 1 convolution [x] -> [x, 1]."""
    channels, *axes = view.network.input_shape
    dtype = view.weights(bn)["running_mean"].dtype
    weight = np.eye(channels + 1, channels, dtype=dtype).reshape(channels + 1, channels, *(1,) * len(axes))
    arrays = {"weight": weight, "bias": np.eye(1, channels + 1, channels, dtype=dtype)[0]}
    op = Conv(channels, channels + 1, tuple(Window(1) for _ in axes))
    return view.weighted(name, op, (INPUT,), arrays, replace(bn, path=""))
