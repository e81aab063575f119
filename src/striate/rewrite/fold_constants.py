"""Compute beforehand what does not depend on the image, and leave out what the result does not depend on.

- A branch whose values are known (all its weights are 0, as behind a norm with every gamma 0) is a number a channel:
  added, it is a shift, multiplied, a scale, and where it is 0 or 1, nothing. Where all branches are known, one stays.
- A stored factor or summand (`scale`, `shift`, `affine`) after a layer with weights goes into these; two in a row are
  one.
- A layer that no way leads from to the result is removed.

What an ONNX file computes from stored numbers alone is folded when the file is read (`graph/onnx/constants.py`).

Legal: the layer that takes a factor or summand is read by it alone, and its result is not the network's; the factor
is one a channel. A sum or product with a known branch has its shape from the others. Numbers must be finite.
Keeps: function. What stands for a layer takes its name, because it writes what that wrote.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.graph import Network, Node
from striate.ops import (
    Activation,
    Add,
    Affine,
    Array,
    BatchNorm,
    Conv,
    ConvTranspose,
    Identity,
    Linear,
    Mul,
)
from striate.rewrite.affine import as_norm, dtype_of, fault, norm_of
from striate.rewrite.crossing import CROSSED, SEVERAL, channels_after, clash
from striate.rewrite.edit import Change, View, everywhere, rebuilt
from striate.rewrite.fold_batch_norm import folded_weights
from striate.rewrite.note import Applied, Note

NAME = "fold_constants"


def fold_constants(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with all that is known computed, and what became of each layer."""
    network, notes = everywhere(network, NAME, _fold)
    needed = {network.output}
    for node in reversed(network.nodes):
        needed |= set(node.inputs) if node.name in needed else set()
    unused = [node.name for node in network if node.name not in needed]
    if not unused:
        return network, notes
    nodes = [node for node in network if node.name in needed]
    gone = (Applied(NAME, name, "removed, since the result does not depend on it") for name in unused)
    return rebuilt(network, nodes, network.weights, network.output), (*gone, *notes)


def _fold(view: View, node: Node) -> Change | str | None:
    if isinstance(node.op, Add | Mul):
        return _with_known(view, node, node.op)
    norm, before = as_norm(view, node), view.source(node)
    if norm is None or isinstance(node.op, BatchNorm) or before is None or view.owner(before.name) is not node:
        return None
    if isinstance(before.op, Affine) and isinstance(node.op, Affine):
        one = Affine(before.op.scale * node.op.scale, before.op.shift * node.op.scale + node.op.shift)
        new = replace(node, op=one, inputs=before.inputs)
        return Change(node.name, f"made one with affine {before.name}", {before.name: (), node.name: (new,)})
    if not isinstance(before.op, Conv | ConvTranspose | Linear) or fault(*norm):
        return None
    arrays = folded_weights(before.op, view.weights(before), *norm)
    new, arrays = view.weighted(node.name, replace(before.op, bias=True), before.inputs, arrays, before)
    what = f"folded into {before.op.kind} {before.name}"
    return Change(node.name, what, {before.name: (), node.name: (new,)}, arrays)


def _with_known(view: View, node: Node, op: Add | Mul) -> Change | None:
    """A sum or product of which some inputs are known; where all are, one of them is left to take the others."""
    shape = view.shapes[node.name]
    values = [_known(view, name) for name in node.inputs]
    is_known = [not np.isnan(value).any() for value in values]
    whole = [at for at, name in enumerate(node.inputs) if view.shapes[name] == shape]
    if whole and all(is_known):
        is_known[whole[0]] = False
    rest = tuple(name for name, is_one in zip(node.inputs, is_known, strict=True) if not is_one)
    known = [value for value, is_one in zip(values, is_known, strict=True) if is_one]
    if not known or any(len(value) != shape[0] for value in known) or all(is_known[at] for at in whole):
        return None
    together = np.sum(known, axis=0) if isinstance(op, Add) else np.prod(known, axis=0)
    neutral = bool((together == (0 if isinstance(op, Add) else 1)).all())
    what = f"{len(known)} known input{'s' if len(known) > 1 else ''} of {op.kind} {node.name} computed"
    if len(rest) > 1:
        return Change(node.name, what, {node.name: (replace(node, inputs=rest),)}) if neutral else None
    if neutral:
        return Change(node.name, what, {node.name: (replace(node, op=Identity(), inputs=rest),)})
    one, zero = np.ones_like(together), np.zeros_like(together)
    norm, arrays = norm_of(*((one, zero, together) if isinstance(op, Add) else (together, zero, zero)))
    new, arrays = view.weighted(node.name, norm, rest, arrays, node)
    return Change(node.name, what, {node.name: (new,)}, arrays)


def _known(view: View, name: str) -> Array:
    """The value of each channel that is the same on every image and at every place, NaN where it is not.  Shape (C,).

    Channel by channel, because then it does not matter what has been folded into what: two norms of which each holds
    half of the channels still hold all, as does their product.
    """
    node = view.nodes.get(name)
    if node is None:
        return np.full(view.shapes[name][0], np.nan, dtype_of(view))
    if isinstance(node.op, Conv | ConvTranspose | Linear):
        weights = view.weights(node)
        bias = weights.get("bias", np.zeros(view.shapes[name][0], weights["weight"].dtype))
        return np.where(_reads_nothing(node.op, weights["weight"]) & np.isfinite(bias), bias, np.nan)
    value, norm = _known(view, node.inputs[0]), as_norm(view, node)
    if norm is not None:
        if fault(*norm):
            return np.full_like(value, np.nan)
        scale, shift = norm[0].scale_shift(norm[1])
        return np.where(scale == 0, shift, scale * value + shift)
    return _passed_on(view, node, value)


def _reads_nothing(op: Conv | ConvTranspose | Linear, weight: Array) -> Array:
    """Whether all weights of an output channel are 0.  Shape (O,)."""
    if isinstance(op, ConvTranspose):
        by_group = weight.reshape(op.groups, op.in_channels // op.groups, op.out_channels // op.groups, -1)
        return np.logical_not(by_group.any(axis=(1, 3))).reshape(-1)
    return np.logical_not(weight.reshape(len(weight), -1).any(axis=1))


def _passed_on(view: View, node: Node, value: Array) -> Array:
    """What a layer without weights makes of channels that are `value` everywhere; NaN where they no longer are."""
    known, unknown = np.nan_to_num(value), np.full(view.shapes[node.name][0], np.nan, value.dtype)
    if isinstance(node.op, Activation):
        return np.where(np.isnan(value), np.nan, node.op.forward([known], {}))
    if not isinstance(node.op, CROSSED) or clash(node.op, node.name, np.zeros_like(known), known):
        return unknown
    channels = channels_after(node.op, view.shapes[node.inputs[0]], view.shapes[node.name])
    return np.where(channels == SEVERAL, np.nan, value[channels])
