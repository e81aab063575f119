"""Remove channels whose value is known beforehand, and the weights that read them.

A channel is known

- where all its weights are 0 (a batch normalisation with gamma 0 folds to that): it is its bias b everywhere;
- where ReLU follows and nothing positive can reach it: what the layer reads is never negative, and no weight and
  not the bias is positive. Then it is 0.

The value v goes through what follows (ReLU, pooling, flattening) to the next layer with weights, whose bias takes it:
b'[o] = b[o] + sum over k of W[o, c, k] v.

Legal: up to that layer nothing else reads a tensor on the way, and none is the network's result; the layer is not
grouped, nor is the next; v is 0, or no zero padding is counted on the way: a padded zero is no v. One channel always
stays, since a layer without channels is none.
Keeps: function. The next layer keeps its name; what has fewer channels has a new one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.graph import Network, Node
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    Array,
    AvgPool,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Mul,
    Softmax,
)
from striate.rewrite.affine import averages_only_pixels, bias_of, by_slot, pads, resized, weights_in, weights_out
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "drop_dead_channels"
NEVER_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid")
PASSED = (Activation, MaxPool, AvgPool, AdaptiveAvgPool, GlobalAvgPool, Flatten, Identity)


def drop_dead_channels(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network without channels known beforehand, and what became of each layer that has some."""
    return everywhere(network, NAME, _drop)


def _drop(view: View, first: Node) -> Change | str | None:
    if not isinstance(first.op, Conv | Linear) or weights_out(first.op) == 1:
        return None
    way = _way_down(view, first)
    last = way[-1]
    if last is first or not isinstance(last.op, Conv | Linear):
        return None  # a sum or a gate reads it, others do, or it is the result: its channels must stay
    value = _known(view, first, way)
    if np.isnan(value).all():
        return None
    if reason := _grouped(way):
        return f"channel {int(np.argmin(np.isnan(value)))} is constant, but {reason}"
    for node in way[1:-1]:
        value = _through(node, value)
    known = ~np.isnan(value) & ((value == 0) | (not pads(last.op)))
    known[0] &= not known.all()  # one channel stays
    if not known.any():
        return None
    return _without(view, way, known, value)


def _known(view: View, first: Node, way: list[Node]) -> Array:
    """The value of each channel that is constant after `first`, NaN where it is not.  Shape (O,)."""
    assert isinstance(first.op, Conv | Linear)  # noqa: S101 - the caller has seen to it
    weights = view.weights(first)
    weight = weights["weight"].reshape(weights_out(first.op), -1)
    bias = bias_of(first.op, weights)
    value = np.where((weight == 0).all(axis=1), bias, np.nan)
    follows = way[1].op
    if (
        isinstance(follows, Activation)
        and follows.curve in ("relu", "relu6")
        and _never_negative(view, first.inputs[0])
    ):
        value = np.where((weight <= 0).all(axis=1) & (bias <= 0), 0, value)
    return value


def _never_negative(view: View, name: str) -> bool:
    """Whether no value of the tensor `name` can be below 0, whatever the image."""
    node = view.nodes.get(name)
    if node is None:
        return False
    if isinstance(node.op, Activation):
        return node.op.curve in NEVER_NEGATIVE
    if isinstance(node.op, Softmax):
        return True
    return isinstance(node.op, (*PASSED, Add, Mul, Concat)) and all(_never_negative(view, i) for i in node.inputs)


def _way_down(view: View, first: Node) -> list[Node]:
    """From `first` over layers without weights, each read by the next alone, to the first other layer."""
    way = [first]
    while reader := view.owner(way[-1].name):
        way.append(reader)
        if not isinstance(reader.op, PASSED):
            break
    return way


def _grouped(way: list[Node]) -> str:
    """Which layer could not lose a channel because it is grouped; empty if neither is."""
    for node in (way[0], way[-1]):
        if isinstance(node.op, Conv) and node.op.groups > 1:
            return f"conv {node.name} is grouped and cannot lose one"
    return ""


def _through(node: Node, value: Array) -> Array:
    """What becomes of constant channels in a layer without weights; NaN where they are no longer constant."""
    if isinstance(node.op, Activation):
        return np.where(np.isnan(value), np.nan, node.op.forward([np.nan_to_num(value)], {}))
    if isinstance(node.op, AvgPool) and not averages_only_pixels(node.op):
        return np.where(value == 0, value, np.nan)
    return value


def _without(view: View, way: list[Node], known: Array, value: Array) -> Change:
    first, last = way[0], way[-1]
    assert isinstance(first.op, Conv | Linear)  # noqa: S101 - the caller has seen to it
    assert isinstance(last.op, Conv | Linear)  # noqa: S101 - the caller has seen to it
    kept = np.flatnonzero(~known)
    arrays = {role: array[kept] for role, array in view.weights(first).items()}
    op = resized(first.op, weights_in(first.op), len(kept), bias=first.op.bias)
    node, named = view.weighted(view.free(f"{first.name}.alive"), op, first.inputs, arrays, first)
    nodes = [node]
    for passed in way[1:-1]:
        nodes.append(replace(passed, name=view.free(f"{passed.name}.alive"), inputs=(nodes[-1].name,)))
    repeated = view.shapes[last.inputs[0]][0] // len(known)  # flattened, a channel is H W features
    known, value = np.repeat(known, repeated), np.repeat(np.where(known, value, 0), repeated)
    weights = view.weights(last)
    weight = weights["weight"]
    carried = weight * by_slot(last.op, value.astype(weight.dtype), weight.ndim)
    bias = bias_of(last.op, weights) + carried.sum(axis=tuple(range(1, weight.ndim)))
    arrays = {"weight": weight[:, ~known], "bias": bias}
    op = resized(last.op, int((~known).sum()), weights_out(last.op), bias=True)
    node, more = view.weighted(last.name, op, (nodes[-1].name,), arrays, last)
    gone: dict[str, tuple[Node, ...]] = {passed.name: () for passed in way[:-1]}
    lost = weights_out(first.op) - len(kept)
    what = f"{lost} constant channel{'s' if lost > 1 else ''} of {first.op.kind} {first.name} removed"
    return Change(last.name, what, {**gone, last.name: (*nodes, node)}, {**named, **more})
