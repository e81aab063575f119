"""Push a batch normalisation down into the layers that read it.

    conv(s x + t):  W'[o, c, k] = W[o, c, k] s[c];   b'[o] = b[o] + sum over c, k of W[o, c, k] t[c]

Flattening and global averages may stand between: flattened, the scale and shift of a channel belong to each of its
H W features; averaged, they stay as they are.

Legal: every reader is, over such layers that nothing else reads, a convolution (of any groups, stride, dilation) or
a dense layer, and none of the tensors that change is the network's result. A convolution must not pad with zeros:
the shift belongs to the pixels and not to the zeros around them. Where every shift is 0, padding does no harm.
Keeps: function. The layers that take it keep their names, because they write what they wrote; a flattening or
average in between writes something else now, so it has a new name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.graph import Network, Node
from striate.ops import Array, BatchNorm, Conv, Flatten, GlobalAvgPool, Linear
from striate.rewrite.affine import after_affine, fault, pads
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "push_batch_norm"


def push_batch_norm(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with batch normalisations folded into what reads them, and what became of each."""
    return everywhere(network, NAME, _push)


def _push(view: View, bn: Node) -> Change | str | None:
    if not isinstance(bn.op, BatchNorm):
        return None
    if reason := why_not(view, bn):
        return reason
    scale, shift = bn.op.scale_shift(view.weights(bn))
    places: dict[str, tuple[Node, ...]] = {bn.name: ()}
    arrays: dict[str, Array] = {}
    taken = []
    for reader in unique(view.readers[bn.name]):
        way = way_down(view, reader)
        nodes, named = _taken(view, way, bn, scale, shift)
        places |= {node.name: () for node in way[:-1]} | {way[-1].name: nodes}
        arrays |= named
        taken.append(f"{way[-1].op.kind} {way[-1].name}")
    return Change(way[-1].name, f"batch_norm {bn.name} folded forward into {', '.join(taken)}", places, arrays)


def why_not(view: View, bn: Node) -> str:
    """Why no reader can take the norm, as a clause about it; empty if all can."""
    assert isinstance(bn.op, BatchNorm)  # noqa: S101 - the callers have seen to it
    weights = view.weights(bn)
    if reason := fault(bn.op, weights):
        return reason
    if bn.name == view.network.output:
        return "is the network's result"
    shift = bn.op.scale_shift(weights)[1]
    readers = unique(view.readers[bn.name])
    if not readers:
        return "is read by no layer"
    return next((why for node in readers if (why := _obstacle(way_down(view, node), shift))), "")


def way_down(view: View, node: Node) -> list[Node]:
    """From `node` down over flattenings and global averages, each read by one layer, to the first other layer."""
    way = [node]
    while isinstance(way[-1].op, Flatten | GlobalAvgPool) and (reader := view.owner(way[-1].name)):
        way.append(reader)
    return way


def unique(nodes: list[Node]) -> list[Node]:
    """Each node once, in order: a layer may read a tensor twice."""
    return list({node.name: node for node in nodes}.values())


def _obstacle(way: list[Node], shift: Array) -> str:
    last = way[-1]
    if isinstance(last.op, Flatten | GlobalAvgPool):
        return f"is read by {last.op.kind} {last.name}, whose result is needed elsewhere or is the network's"
    if not isinstance(last.op, Conv | Linear):
        return f"is read by {last.op.kind} {last.name}, which has no weights that could take it"
    if pads(last.op) and shift.any():
        return f"is read by conv {last.name}, whose zero padding the shift must not reach"
    return ""


def _taken(
    view: View, way: list[Node], bn: Node, scale: Array, shift: Array
) -> tuple[tuple[Node, ...], dict[str, Array]]:
    """The nodes of the way after the fold, and the arrays of the last."""
    nodes: list[Node] = []
    read = bn.inputs[0]
    for node in way[:-1]:
        nodes.append(replace(node, name=view.free(f"{node.name}.unnormed"), inputs=(read,)))
        read = nodes[-1].name
    last = way[-1]
    assert isinstance(last.op, Conv | Linear)  # noqa: S101 - _obstacle has seen to it; this tells the type checker
    features = view.shapes[last.inputs[0]][0]
    repeated = (np.repeat(values, features // len(values)) for values in (scale, shift))
    arrays = after_affine(last.op, view.weights(last), *repeated)
    node, named = view.weighted(last.name, replace(last.op, bias=True), (read,), arrays, last)
    return (*nodes, node), named
