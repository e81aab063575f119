"""Merge parallel branches of a sum into one convolution: RepVGG's 3 x 3 + 1 x 1 + batch normalisation.

Convolutions of one tensor, added, are one convolution whose kernel is the sum of theirs, each placed where its taps
lie: tap m of a branch reads the pixel d m - pad before or after the output's own. The tensor itself is the kernel 1
at offset 0; a batch normalisation of it is the kernel s with the bias t.

    W[o, c, k] = sum over branches of W_b[o, c, k - k_b];   b = sum over branches of b_b

Legal: the branches read the same tensor with the same strides and groups; nothing but the sum reads them, and none
is the network's result. Zero padding does no harm: each tap meets the zeros that it met before, and biases are added
after it. It must not cost more by `Op.macs`: 1 x 5 beside 5 x 1 would fill 5 x 5.
Keeps: function. Where all inputs of the sum merge, the convolution takes its name; else it is a new input of the sum.
Source: Ding et al. 2021, arXiv:2101.03697, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from striate.geometry import Window
from striate.graph import Network, Node
from striate.ops import Add, Array, BatchNorm, Conv
from striate.rewrite.affine import bias_of, fault
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "merge_branches"


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """One input of a sum as a convolution: its windows, kernel (O, C / groups, K...) and bias (O,)."""

    at: int
    node: Node | None
    windows: tuple[Window, ...]
    weight: Array
    bias: Array
    macs: int


def merge_branches(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with parallel branches merged, and what became of each sum that has some."""
    return everywhere(network, NAME, _merge)


def _merge(view: View, add: Node) -> Change | str | None:
    if not isinstance(add.op, Add):
        return None
    reason: str | None = None
    for name in add.inputs:
        conv = view.nodes.get(name)
        if conv is None or not isinstance(conv.op, Conv) or view.owner(name) is not add:
            continue
        found = _merged(view, add, conv.inputs[0], conv.op)
        if isinstance(found, Change):
            return found
        reason = reason or found
    return reason


def _merged(view: View, add: Node, source: str, like: Conv) -> Change | str | None:
    """The sum with all branches from `source` merged that have the strides and groups of `like`."""
    shape = view.shapes[source]
    whole = [at for at, name in enumerate(add.inputs) if view.shapes[name] == view.shapes[add.name]]  # none is spread
    branches = [b for at in whole if (b := _branch(view, add, at, source, like))]
    if len(branches) < 2:
        return None
    windows, taps = _hull([b.windows for b in branches])
    op = Conv(like.in_channels, like.out_channels, windows, like.groups)
    apart = sum(b.macs for b in branches)
    if op.macs(shape) > apart:
        return f"merging the branches from {source} would cost {op.macs(shape):,} MACs instead of {apart:,}"
    weight = np.zeros((like.out_channels, like.in_channels // like.groups, *op.kernel), branches[0].weight.dtype)
    for branch, at in zip(branches, taps, strict=True):
        weight[np.ix_(range(weight.shape[0]), range(weight.shape[1]), *at)] += branch.weight
    arrays = {"weight": weight, "bias": np.sum([b.bias for b in branches], axis=0)}
    rest = [name for at, name in enumerate(add.inputs) if at not in {b.at for b in branches}]
    called = view.free(f"{add.name}.branches") if rest else add.name
    node, named = view.weighted(called, op, (source,), arrays, add)
    nodes = (node, replace(add, inputs=(node.name, *rest))) if rest else (node,)
    gone: dict[str, tuple[Node, ...]] = {b.node.name: () for b in branches if b.node}
    return Change(called, f"{len(branches)} branches from {source} merged", {**gone, add.name: nodes}, named)


def _branch(view: View, add: Node, at: int, source: str, like: Conv) -> _Branch | None:
    """Input `at` of the sum as a branch from `source`; None where it is none that can merge with `like`."""
    name = add.inputs[at]
    shape = view.shapes[source]
    strides = [w.stride for w in like.windows]
    straight = all(s == 1 for s in strides) and like.in_channels == like.out_channels
    node = view.nodes.get(name)
    if name == source:
        dtype = next(iter(view.network.weights.values())).dtype
        one, zero = np.ones(shape[0], dtype), np.zeros(shape[0], dtype)
        return _diagonal(at, None, like, one, zero) if straight else None
    if node is None or view.owner(name) is not add or node.inputs[0] != source:
        return None
    weights = view.weights(node)
    if isinstance(node.op, BatchNorm):
        return _diagonal(at, node, like, *node.op.scale_shift(weights)) if _fits(node, weights, straight) else None
    if not isinstance(node.op, Conv) or (node.op.groups, [w.stride for w in node.op.windows]) != (like.groups, strides):
        return None
    return _Branch(at, node, node.op.windows, weights["weight"], bias_of(node.op, weights), node.op.macs(shape))


def _fits(node: Node, weights: dict[str, Array], straight: bool) -> bool:
    return straight and isinstance(node.op, BatchNorm) and not fault(node.op, weights)


def _diagonal(at: int, node: Node | None, like: Conv, scale: Array, shift: Array) -> _Branch:
    """x -> scale x + shift as a convolution of one tap with the groups of `like`."""
    slots = like.in_channels // like.groups
    channels = np.arange(len(scale))
    weight = np.zeros((len(scale), slots), scale.dtype)
    weight[channels, channels % slots] = scale
    one = tuple(Window(1) for _ in like.windows)
    return _Branch(at, node, one, weight.reshape(*weight.shape, *(1,) * len(one)), shift, 0)


def _hull(branches: Sequence[tuple[Window, ...]]) -> tuple[tuple[Window, ...], list[list[Sequence[int]]]]:
    """The smallest windows that hold the taps of all branches; for each branch and axis, its taps among theirs."""
    axes = [_hull_on_axis(windows) for windows in zip(*branches, strict=True)]
    return tuple(window for window, _ in axes), [list(taps) for taps in zip(*(taps for _, taps in axes), strict=True)]


def _hull_on_axis(windows: Iterable[Window]) -> tuple[Window, list[Sequence[int]]]:
    windows = list(windows)
    offsets = [[w.dilation * m - w.pad_lo for m in range(w.kernel)] for w in windows]
    low, high = min(o[0] for o in offsets), max(o[-1] for o in offsets)
    step = gcd(*(o - low for tap in offsets for o in tap)) or 1
    # A window's last tap may lie pad_hi past the end: the widest allowance gives the common number of outputs.
    end = high + max(w.pad_hi - o[-1] for w, o in zip(windows, offsets, strict=True))
    hull = Window((high - low) // step + 1, windows[0].stride, step, -low, end)
    return hull, [[(o - low) // step for o in tap] for tap in offsets]
