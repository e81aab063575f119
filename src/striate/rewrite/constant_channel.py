"""Fold a batch normalisation forward into a convolution that pads with zeros, by a channel that is always 1.

The scale folds as everywhere: W'[o, c] = W[o, c] s[c]. The shift t belongs to the pixels and not to the padding. One
more input channel, 1 on every pixel, carries it: with the weights sum over c of W[o, c, k] t[c], it adds the shift
where a tap meets a pixel and nothing where it meets a zero, so the border comes out exactly, at any size. A transposed
convolution, which has such zeros between the pixels too, takes the channel likewise.

The channel costs one more kernel in the convolution *before* the batch normalisation: weights 0, bias 1. What stands
between must leave 1 as it is: ReLU and its kin, max pooling, averages over pixels alone, identity.

Legal: that convolution exists; neither it nor the one that pads is grouped; nothing else reads a tensor on the way,
and none is the network's result. Keeps: function. The convolution that pads keeps its name; all on the way has a
channel more, so it has a new name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.graph import Network, Node
from striate.ops import Activation, Array, BatchNorm, Conv, ConvTranspose, Flatten, Identity, MaxPool, Op
from striate.rewrite.affine import averages_only_pixels, bias_of, by_slot, fault, pads
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "constant_channel"
ONE_GROUP = "of which one group alone would see a constant channel"


def constant_channel(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with norms folded through zero padding, and what became of each before a padded layer."""
    return everywhere(network, NAME, _fold)


def _fold(view: View, bn: Node) -> Change | str | None:
    reader = view.owner(bn.name)
    if not isinstance(bn.op, BatchNorm) or reader is None or not pads(reader.op):
        return None
    assert isinstance(reader.op, Conv | ConvTranspose)  # noqa: S101 - only these pad; this tells the type checker
    weights = view.weights(bn)
    if reason := fault(bn.op, weights):
        return reason
    if reader.op.groups > 1:
        return f"is read by the grouped {reader.op.kind} {reader.name}, {ONE_GROUP}"
    way = _way_up(view, bn)
    if isinstance(way, str):
        return way
    nodes, arrays = _with_one(view, way)
    taken = taking_one(reader.op, view.weights(reader), *bn.op.scale_shift(weights))
    op = replace(reader.op, in_channels=reader.op.in_channels + 1)
    last, named = view.weighted(reader.name, op, (nodes[-1].name,), taken, reader)
    gone: dict[str, tuple[Node, ...]] = {node.name: () for node in (*way, bn)}
    what = f"batch_norm {bn.name} folded through the padding, with a constant channel from conv {way[0].name}"
    return Change(reader.name, what, {**gone, reader.name: (*nodes, last)}, {**arrays, **named})


def taking_one(op: Conv | ConvTranspose, weights: dict[str, Array], scale: Array, shift: Array) -> dict[str, Array]:
    """Weights of the convolution of [x, 1] that equals `op` of scale x + shift, zero padding included."""
    weight, inputs = weights["weight"], 0 if isinstance(op, ConvTranspose) else 1  # the axis of what is read
    ones = (weight * by_slot(op, shift, weight.ndim)).sum(axis=inputs, keepdims=True)
    return {**weights, "weight": np.concatenate([weight * by_slot(op, scale, weight.ndim), ones], axis=inputs)}


def keeps_one(op: Op) -> bool:
    """Whether a layer gives 1 for a channel that is 1 everywhere."""
    if isinstance(op, Activation):
        return bool(op.forward([np.ones(1)], {})[0] == 1)
    return isinstance(op, MaxPool | Identity) or averages_only_pixels(op)


def _way_up(view: View, bn: Node) -> list[Node] | str:
    """From the convolution that can make the channel down to what the norm reads; or why there is no such way."""
    way: list[Node] = []
    name = bn.inputs[0]
    while node := view.nodes.get(name):
        if view.owner(name) is None:
            return f"would need a constant channel in {name}, whose result is needed elsewhere as well"
        way.insert(0, node)
        if isinstance(node.op, Conv):
            return way if node.op.groups == 1 else f"the grouped conv {name} before it cannot make a constant channel"
        if isinstance(node.op, Flatten) or not keeps_one(node.op):
            return f"{node.op.kind} {name} would not keep a constant channel"
        name = node.inputs[0]
    return "no convolution that could make a constant channel stands before"


def _with_one(view: View, way: list[Node]) -> tuple[list[Node], dict[str, Array]]:
    """The way with the constant channel, and the arrays of its convolution."""
    conv, *rest = way
    assert isinstance(conv.op, Conv)  # noqa: S101 - `_way_up` has seen to it; this tells the type checker
    weights = view.weights(conv)
    weight, bias = weights["weight"], bias_of(conv.op, weights)
    arrays = {
        "weight": np.concatenate([weight, np.zeros_like(weight[:1])]),
        "bias": np.concatenate([bias, np.ones_like(bias[:1])]),
    }
    op = replace(conv.op, out_channels=conv.op.out_channels + 1, bias=True)
    first, named = view.weighted(view.free(f"{conv.name}.and_one"), op, conv.inputs, arrays, conv)
    nodes = [first]
    for node in rest:
        nodes.append(replace(node, name=view.free(f"{node.name}.and_one"), inputs=(nodes[-1].name,)))
    return nodes, named
