"""Compute only the pixels that strided 1 x 1 convolutions read.

A 1 x 1 convolution of stride s reads every s-th pixel of each axis. The window layer before can leave out the others
by taking the stride upon itself: it has stride a s, and the 1 x 1 convolutions have stride 1. The sizes agree, since
floor(floor(r / a) / s) = floor(r / (a s)).

Legal: the layer before is a convolution or a pooling without ceil_mode; between them are only activations, batch
normalisations and identities; all that reads the last tensor are 1 x 1 convolutions without padding of the same
strides; nothing else reads a tensor on the way, and none is the network's result.
Keeps: function. The 1 x 1 convolutions keep their names; what stands before has fewer pixels, so it has a new name.
"""

from __future__ import annotations

from dataclasses import replace

from striate.geometry import Window
from striate.graph import Network, Node
from striate.ops import Activation, AvgPool, BatchNorm, Conv, Identity, MaxPool
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.merge_convolutions import is_pointwise
from striate.rewrite.note import Note

NAME = "push_strides"


def push_strides(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with strides of 1 x 1 convolutions in the layers before them, and what became of each."""
    return everywhere(network, NAME, _push)


def _push(view: View, first: Node) -> Change | str | None:
    if not isinstance(first.op, Conv | MaxPool | AvgPool) or any(w.ceil_mode for w in first.op.windows):
        return None
    way = _way_down(view, first)
    readers = view.readers[way[-1].name]
    if way[-1].name == view.network.output or not all(is_pointwise(node.op, any_stride=True) for node in readers):
        return None
    strides = {tuple(w.stride for w in node.op.windows) for node in readers if isinstance(node.op, Conv)}
    if not strides or strides == {(1,) * len(first.op.windows)}:
        return None
    if len(strides) > 1:
        return f"is read with the strides {' and '.join('x'.join(map(str, s)) for s in sorted(strides))}"
    (steps,) = strides
    windows = tuple(replace(w, stride=w.stride * s) for w, s in zip(first.op.windows, steps, strict=True))
    places: dict[str, tuple[Node, ...]] = {}
    inputs = first.inputs
    for node in way:
        op = replace(first.op, windows=windows) if node is first else node.op
        new = replace(node, name=view.free(f"{node.name}.strided"), op=op, inputs=inputs)
        places[node.name], inputs = (new,), (new.name,)
    for node in readers:
        places[node.name] = (replace(node, op=_unstrided(node), inputs=inputs),)
    at = places[first.name][0].name
    return Change(at, f"{first.op.kind} {first.name} takes the stride of conv {readers[0].name}", places)


def _way_down(view: View, first: Node) -> list[Node]:
    """From `first` over layers that treat each pixel alike, each read by the next alone."""
    way = [first]
    while (reader := view.owner(way[-1].name)) and isinstance(reader.op, Activation | BatchNorm | Identity):
        way.append(reader)
    return way


def _unstrided(node: Node) -> Conv:
    assert isinstance(node.op, Conv)  # noqa: S101 - `is_pointwise` has seen to it; this tells the type checker
    return replace(node.op, windows=tuple(Window(1) for _ in node.op.windows))
