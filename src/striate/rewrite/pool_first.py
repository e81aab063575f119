"""Average before a 1 x 1 convolution instead of after it, where that saves multiply-accumulates.

The average of W x + b over pixels is W (average of x) + b: the matrix then acts on each average instead of each pixel.

Legal: the convolution has a 1 x 1 kernel, stride 1 and no padding; only the pooling reads it, and its result is not
the network's; the pooling counts no padded zero, or there is no bias. Where a global average ends in a vector, the
convolution becomes a dense layer, for which it must not be grouped. Whether it pays is counted by `Op.macs`.
Keeps: function. The convolution now writes what the pooling wrote and takes its name.
"""

from __future__ import annotations

from dataclasses import replace

from striate.graph import Network, Node
from striate.ops import AdaptiveAvgPool, Array, AvgPool, Conv, GlobalAvgPool, Linear
from striate.rewrite.affine import averages_only_pixels
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.merge_convolutions import is_pointwise
from striate.rewrite.note import Note

NAME = "pool_first"


def pool_first(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with averages before 1 x 1 convolutions where it pays, and what became of each pair."""
    return everywhere(network, NAME, _swap)


def _swap(view: View, pool: Node) -> Change | str | None:
    conv = view.source(pool)
    if not isinstance(pool.op, AvgPool | GlobalAvgPool | AdaptiveAvgPool) or conv is None or not is_pointwise(conv.op):
        return None
    assert isinstance(conv.op, Conv)  # noqa: S101 - `is_pointwise` has seen to it; this tells the type checker
    if view.owner(conv.name) is None:
        return f"follows conv {conv.name}, whose result is needed elsewhere as well"
    if conv.op.bias and not averages_only_pixels(pool.op):
        return f"counts padded zeros, which have no bias of conv {conv.name}"
    vector = len(view.shapes[pool.name]) == 1
    if vector and conv.op.groups > 1:
        return f"follows the grouped conv {conv.name}, which is no dense layer"
    read = view.shapes[conv.inputs[0]]
    apart, together = conv.op.macs(read), _macs(conv.op, pool, read)
    if together >= apart:
        return f"before conv {conv.name} it would cost {together:,} MACs instead of {apart:,}"
    first = replace(pool, name=view.free(f"{pool.name}.first"), inputs=conv.inputs)
    arrays: dict[str, Array] = {}
    last = replace(conv, name=pool.name, inputs=(first.name,))
    if vector:
        weights = view.weights(conv)
        flat = {**weights, "weight": weights["weight"].reshape(conv.op.out_channels, -1)}
        op = Linear(conv.op.in_channels, conv.op.out_channels, conv.op.bias)
        last, arrays = view.weighted(pool.name, op, (first.name,), flat, conv)
    what = f"moved before conv {conv.name}: {together:,} MACs instead of {apart:,}"
    return Change(pool.name, what, {conv.name: (), pool.name: (first, last)}, arrays)


def _macs(op: Conv, pool: Node, read: tuple[int, ...]) -> int:
    """Multiply-accumulates of the convolution after the pooling of maps of shape `read`."""
    maps = pool.op.out_shape(read)
    return op.macs(maps if len(maps) > 1 else (*maps, *(1,) * (len(read) - 1)))
