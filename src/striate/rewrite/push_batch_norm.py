"""Push a batch normalisation, or a stored factor or summand, down into the layers that read it.

    conv(s x + t):  W'[o, c, k] = W[o, c, k] s[c];   b'[o] = b[o] + sum over c, k of W[o, c, k] t[c]

Layers without weights that commute with it (`crossing.py`) may stand between: flattened, the scale and shift of a
channel belong to each of its H W features; split into slices, each part has its own; averaged, they stay as they are.

Legal: every reader is, over such layers that nothing else reads, a convolution (of any groups, stride, dilation) or
a dense layer, and none of the tensors that change is the network's result. A convolution must not pad with zeros:
the shift belongs to the pixels and not to the zeros around them. Where every shift is 0, padding does no harm, and a
transposed convolution, which is one with zeros between the pixels too, takes the scale: W'[c, o, k] = W[c, o, k] s[c].
Keeps: function. The layers that take it keep their names, because they write what they wrote; what stands between
writes something else now, so it has a new name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from striate.graph import Network, Node
from striate.ops import Array, BatchNorm, Conv, ConvTranspose, Linear, Weights
from striate.rewrite.affine import after_affine, after_scale, as_norm, fault, pads
from striate.rewrite.crossing import CROSSED, SEVERAL, channels_after, clash
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note

NAME = "push_batch_norm"


def push_batch_norm(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with batch normalisations folded into what reads them, and what became of each."""
    return everywhere(network, NAME, _push)


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """From a norm down to the layer that takes it: the nodes, the last among them, and the affine map that arrives."""

    nodes: tuple[Node, ...]
    scale: Array
    shift: Array

    @property
    def last(self) -> Node:
        """The layer that takes the norm."""
        return self.nodes[-1]


def _push(view: View, bn: Node) -> Change | str | None:
    norm = as_norm(view, bn)
    if norm is None:
        return None
    ways = _ways(view, bn, *norm)
    if isinstance(ways, str):
        return ways
    places: dict[str, tuple[Node, ...]] = {bn.name: ()}
    arrays: dict[str, Array] = {}
    for way in ways:
        nodes, named = _taken(view, way, bn)
        places |= {node.name: () for node in way.nodes[:-1]} | {way.last.name: nodes}
        arrays |= named
    taken = ", ".join(f"{way.last.op.kind} {way.last.name}" for way in ways)
    return Change(ways[-1].last.name, f"{bn.op.kind} {bn.name} folded forward into {taken}", places, arrays)


def why_not(view: View, bn: Node) -> str:
    """Why the readers of a norm cannot take it, as a clause about it; empty if they can."""
    norm = as_norm(view, bn)
    ways = _ways(view, bn, *norm) if norm else "is no affine map of channels"
    return ways if isinstance(ways, str) else ""


def unique(nodes: list[Node]) -> list[Node]:
    """Each node once, in order: a layer may read a tensor twice."""
    return list({node.name: node for node in nodes}.values())


def _ways(view: View, bn: Node, op: BatchNorm, weights: Weights) -> list[_Way] | str:
    """The ways to all that take the norm, or why there are none."""
    if reason := fault(op, weights):
        return reason
    if bn.name == view.network.output:
        return "is the network's result"
    ways = []
    for node in unique(view.readers[bn.name]):
        way = _way_down(view, node, *op.scale_shift(weights))
        if isinstance(way, str):
            return way
        ways.append(way)
    return ways or "is read by no layer"


def _way_down(view: View, first: Node, scale: Array, shift: Array) -> _Way | str:
    """Over layers that commute with the norm, each read by one layer, to the first that has weights."""
    nodes = [first]
    while isinstance(nodes[-1].op, CROSSED):
        node = nodes[-1]
        if reason := clash(node.op, node.name, scale, shift):
            return reason
        channels = channels_after(node.op, view.shapes[node.inputs[0]], view.shapes[node.name])
        if (channels == SEVERAL).any():
            return f"would have to cross {node.op.kind} {node.name}, which mixes channels"
        reader = view.owner(node.name)
        if reader is None:
            return f"is read by {node.op.kind} {node.name}, whose result is needed elsewhere or is the network's"
        scale, shift = scale[channels], shift[channels]
        nodes.append(reader)
    last = nodes[-1]
    if not isinstance(last.op, Conv | ConvTranspose | Linear):
        return f"is read by {last.op.kind} {last.name}, which has no weights that could take it"
    if pads(last.op) and shift.any():
        zeros = "zero padding" if isinstance(last.op, Conv) else "zeros between and around the pixels"
        return f"is read by {last.op.kind} {last.name}, whose {zeros} the shift must not reach"
    return _Way(tuple(nodes), scale, shift)


def _taken(view: View, way: _Way, bn: Node) -> tuple[tuple[Node, ...], dict[str, Array]]:
    """The nodes of the way after the fold, and the arrays of the last."""
    nodes: list[Node] = []
    read = bn.inputs[0]
    for node in way.nodes[:-1]:
        nodes.append(replace(node, name=view.free(f"{node.name}.unnormed"), inputs=(read,)))
        read = nodes[-1].name
    op, weights = way.last.op, view.weights(way.last)
    assert isinstance(op, Conv | ConvTranspose | Linear)  # noqa: S101 - `_way_down` has seen to it
    if isinstance(op, ConvTranspose):
        arrays = after_scale(op, weights, way.scale)
    else:
        arrays, op = after_affine(op, weights, way.scale, way.shift), replace(op, bias=True)
    node, named = view.weighted(way.last.name, op, (read,), arrays, way.last)
    return (*nodes, node), named
