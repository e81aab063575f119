"""Merge two linear layers in a row into one, where that saves multiply-accumulates.

A convolution with a 1 x 1 kernel is a matrix at every pixel, so with a convolution before or after it is one:

    1 x 1 first:   W[o, c, k] = sum over m of W_2[o, m, k] W_1[m, c];   b = b_2 + sum over m, k of W_2[o, m, k] b_1[m]
    1 x 1 second:  W[o, c, k] = sum over m of W_2[o, m] W_1[m, c, k];   b = b_2 + W_2 b_1

and likewise two dense layers. Legal: only the second reads the first, whose result is not the network's; no groups;
the 1 x 1 layer has stride 1 and no padding; if it comes first and the second pads with zeros, b_1 is 0, since the
padding is no b_1. Whether it pays is counted by `Op.macs` for the network's input size.
Keeps: function. The merged layer writes what the second wrote and takes its name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.geometry import Window
from striate.graph import Network, Node
from striate.ops import Array, Conv, Linear, Op
from striate.rewrite.affine import bias_of, pads
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "merge_convolutions"


def merge_convolutions(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with linear layers in a row merged where it pays, and what became of each pair."""
    return everywhere(network, NAME, _merge)


def is_pointwise(op: Op, *, any_stride: bool = False) -> bool:
    """Whether a convolution reads, for each pixel, that pixel alone (of a grid, with any_stride)."""
    if not isinstance(op, Conv):
        return False
    return all(replace(w, dilation=1, stride=1 if any_stride else w.stride) == Window(1) for w in op.windows)


def _merge(view: View, second: Node) -> Change | str | None:
    first = view.source(second)
    if first is None or view.owner(first.name) is None or (op := _merged_op(first.op, second.op)) is None:
        return None
    before, after = view.weights(first), view.weights(second)
    if pads(second.op) and is_pointwise(first.op) and bias_of(first.op, before).any():  # type: ignore[arg-type]
        return f"follows conv {first.name}, whose bias its zero padding must not have"
    read = view.shapes[first.inputs[0]]
    apart = first.op.macs(read) + second.op.macs(view.shapes[first.name])
    if op.macs(read) >= apart:
        return f"merged with {first.op.kind} {first.name} it would cost {op.macs(read):,} MACs instead of {apart:,}"
    arrays = _product(first.op, second.op, before, after)
    node, named = view.weighted(second.name, op, first.inputs, arrays, second)
    what = f"merged with {first.op.kind} {first.name}: {op.macs(read):,} MACs instead of {apart:,}"
    return Change(second.name, what, {first.name: (), second.name: (node,)}, named)


def _merged_op(first: Op, second: Op) -> Conv | Linear | None:
    """The layer that the two could become; None where they could not."""
    if isinstance(first, Linear) and isinstance(second, Linear):
        return Linear(first.in_features, second.out_features)
    if not isinstance(first, Conv) or not isinstance(second, Conv) or first.groups > 1 or second.groups > 1:
        return None
    if is_pointwise(second):
        return Conv(first.in_channels, second.out_channels, first.windows)
    return Conv(first.in_channels, second.out_channels, second.windows) if is_pointwise(first) else None


def _product(first: Op, second: Op, before: dict[str, Array], after: dict[str, Array]) -> dict[str, Array]:
    """Weight and bias of second(first(x))."""
    w1, w2 = before["weight"], after["weight"]
    if isinstance(first, Linear) or is_pointwise(second):
        weight = np.tensordot(w2.reshape(w2.shape[:2]), w1, axes=1)
    else:
        weight = np.einsum("om...,mc->oc...", w2, w1.reshape(w1.shape[:2]))
    carried = w2.reshape(*w2.shape[:2], -1).sum(axis=2) @ bias_of(first, before)  # type: ignore[arg-type]
    return {"weight": weight, "bias": bias_of(second, after) + carried}  # type: ignore[arg-type]
