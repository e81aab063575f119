"""Fold a batch normalisation into the convolution, transposed convolution or dense layer before it.

At test time batch normalisation is one affine map a channel, and so is the end of a convolution:

    s = gamma / sqrt(var + eps);  W' = s W;  b' = beta + (b - mean) s

Legal: the layer before is a convolution, transposed or not (of any groups, stride, dilation, padding), or a dense
layer; nothing
else reads its result, and it is not the network's; all numbers of the batch normalisation are finite and
var + eps > 0. Padding is no obstacle: it lies before the convolution, the affine map after it.
Keeps: function. Source: Jacob et al. 2018, arXiv:1712.05877, sec. 3.2; derivation in docs/math/fold.md.

The folded layer takes the batch normalisation's name, because it writes the same tensor: so layers can be
compared by name before and after. Its weights are new tensors under new names, whatever else uses the old ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from striate.graph import INPUT, Network, Node, fresh
from striate.ops import Array, BatchNorm, Conv, ConvTranspose, Linear, Weights
from striate.rewrite.affine import fault
from striate.rewrite.edit import rebuilt
from striate.rewrite.note import Applied, Note, Refused

NAME = "fold_batch_norm"


@dataclass(frozen=True, slots=True)
class _Place:
    """A batch normalisation in a half-rewritten network: the layer before it, and who else needs that one."""

    bn: Node
    before: Node | None
    readers: tuple[str, ...]
    is_output: bool


def fold_batch_norm(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with every batch normalisation folded that can be, and what became of each."""
    readers = network.consumers()
    nodes = {node.name: node for node in network}
    weights = dict(network.weights)
    notes: list[Note] = []
    for bn in network:
        if not isinstance(bn.op, BatchNorm):
            continue
        (read,) = bn.inputs
        place = _Place(bn, nodes.get(read), tuple(n.name for n in readers[read]), read == network.output)
        if reason := _obstacle(place) or fault(bn.op, network.weights_of(bn)):
            notes.append(Refused(NAME, bn.name, reason))
            continue
        before = nodes.pop(read)
        folded, arrays = _fold(before, bn, weights)
        nodes[bn.name] = folded  # at the place of the batch normalisation: what it reads stands before it
        weights.update(arrays)
        notes.append(Applied(NAME, bn.name, f"folded into {before.op.kind} {before.name}"))
    return rebuilt(network, nodes.values(), weights, network.output), tuple(notes)


def folded_weights(
    op: Conv | ConvTranspose | Linear, weights: Weights, bn: BatchNorm, statistics: Weights
) -> dict[str, Array]:
    """Weight and bias of the layer that equals `bn` after `op`.

    Shapes: weight as before; bias (O,).  Computed in the dtype of the weights.
    """
    scale, _ = bn.scale_shift(statistics)
    weight = weights["weight"] * at_outputs(op, scale, weights["weight"].ndim)
    bias = weights["bias"] if op.bias else np.zeros_like(scale)
    bias = (bias - statistics["running_mean"]) * scale
    return {"weight": weight, "bias": bias + statistics["beta"] if bn.affine else bias}


def at_outputs(op: Conv | ConvTranspose | Linear, values: Array, ndim: int) -> Array:
    """Values of the output channels (O,) at the weights that make them: (O, 1...), or (C, O / groups, 1...).

    A transposed convolution has its output channels on the second axis, and each group of inputs its own.
    """
    rows = values[:, None]
    if isinstance(op, ConvTranspose):
        rows = np.repeat(values.reshape(op.groups, -1), op.in_channels // op.groups, axis=0)
    return rows.reshape(*rows.shape, *(1,) * (ndim - 2))


def _fold(before: Node, bn: Node, weights: Weights) -> tuple[Node, dict[str, Array]]:
    """The folded node and its arrays under names that no weight has."""
    op, norm = before.op, bn.op
    assert isinstance(op, Conv | ConvTranspose | Linear)  # noqa: S101 - _obstacle has seen to it; this tells the type checker
    assert isinstance(norm, BatchNorm)  # noqa: S101 - the caller has seen to it
    arrays = folded_weights(op, _of(before, weights), norm, _of(bn, weights))
    names = {role: fresh(f"{bn.name}.folded.{role}", weights) for role in arrays}
    node = Node(bn.name, replace(op, bias=True), before.inputs, names, before.path)
    return node, {names[role]: array for role, array in arrays.items()}


def _of(node: Node, weights: Weights) -> dict[str, Array]:
    return {role: weights[name] for role, name in node.weights.items()}


def _obstacle(place: _Place) -> str:
    """Why the layer before cannot take the batch normalisation; empty if it can."""
    before = place.before
    if before is None:
        return f"reads the network's {INPUT}; no layer before it can take it"
    if not isinstance(before.op, Conv | ConvTranspose | Linear):
        return f"follows {before.op.kind} {before.name}, which has no weights that could take it"
    if place.is_output:
        return f"follows {before.name}, whose own result is the network's"
    others = [name for name in place.readers if name != place.bn.name]
    if others:
        return f"follows {before.name}, which {', '.join(others)} read{'s' if len(others) == 1 else ''} as well"
    return ""
