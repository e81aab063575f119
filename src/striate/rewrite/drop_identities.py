"""Remove layers that do nothing at test time.

Identity and dropout; an activation whose input it would not change (ReLU after ReLU or a sigmoid); flattening a
vector; pooling with windows of one pixel, or to the size that the maps have.

Legal: always, but for one that is the result and reads the network's input: a network has at least one layer.
Keeps: function, bit for bit. Readers read what the layer read; where it was the result, what it read is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from striate.geometry import Window
from striate.graph import INPUT, Network, Node, infer_shapes
from striate.ops import Activation, AdaptiveAvgPool, AvgPool, Flatten, Identity, MaxPool, Op, Shape
from striate.rewrite.edit import rebuilt
from striate.rewrite.note import Applied, Note, Refused

NAME = "drop_identities"
UNCHANGED_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "relu": ("relu", "relu6", "sigmoid", "hard_sigmoid"),  # whose values are never negative
        "relu6": ("relu6", "sigmoid", "hard_sigmoid"),  # nor above 6
    }
)
"""For an activation, those whose results it leaves as they are."""


def drop_identities(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network without the layers that do nothing, and what became of each."""
    shapes = infer_shapes(network)
    source = {INPUT: INPUT}  # for every tensor, the tensor that now holds its values
    kept: dict[str, Node] = {}
    notes: list[Note] = []
    for node in network:
        reads = tuple(source[name] for name in node.inputs)
        before = kept.get(reads[0])
        if not does_nothing(node.op, shapes[node.inputs[0]], before.op if before else None):
            keep = True
        elif keep := node.name == network.output and reads[0] == INPUT:
            notes.append(Refused(NAME, node.name, "is the result and reads the network's input"))
        else:
            notes.append(Applied(NAME, node.name, f"{node.op.kind} removed"))
        source[node.name] = node.name if keep else reads[0]
        if keep:
            kept[node.name] = replace(node, inputs=reads)
    return rebuilt(network, kept.values(), network.weights, source[network.output]), tuple(notes)


def does_nothing(op: Op, shape: Shape, before: Op | None) -> bool:
    """Whether `op` gives out what it reads, a tensor of `shape` that `before` wrote."""
    match op:
        case Identity():  # a dropout is one at test time
            return True
        case Activation(curve=curve):
            return isinstance(before, Activation) and before.curve in UNCHANGED_BY.get(curve, ())
        case Flatten():
            return len(shape) == 1
        case MaxPool(windows=windows) | AvgPool(windows=windows):
            return all(replace(w, ceil_mode=False, dilation=1) == Window(1) for w in windows)
        case AdaptiveAvgPool(out=out):
            return out == shape[1:]
    return False
