"""ONNX reductions and softmax as layers."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from striate.graph.moves import Moves, shape_of
from striate.graph.onnx_constants import axes_of
from striate.graph.onnx_reading import Reading
from striate.graph.over_axes import reduction_over, softmax_over
from striate.ops import Shape


def softmax(r: Reading, node: onnx.NodeProto) -> None:
    """Over the channels, or a part of them. Before opset 13 the axes from `axis` on were taken together."""
    layer, shape, moves = _waiting(r, node)
    out = shape_of(moves, shape)
    axis = r.attribute(node, "axis", -1 if r.opset >= 13 else 1) % (len(out) + 1)
    together = r.opset < 13 and any(n != 1 for n in out[axis:])
    op = softmax_over(shape, moves, axis - 1) if axis and not together else None
    if op is None:
        raise r.refusal(
            node, f"runs over axis {axis} of (N, {', '.join(map(str, out))}); supported is axis 1, the channels"
        )
    r.emit(node, op, [layer], moves=moves)


def _waiting(r: Reading, node: onnx.NodeProto) -> tuple[str, Shape, Moves]:
    """An input with its moves still waiting."""
    value = r.moved(node)
    return value.layer, value.shape_before, value.moves


def reduction(how: str) -> Callable[[Reading, onnx.NodeProto], None]:
    """A reader of a reduction over channels or positions."""

    def read(r: Reading, node: onnx.NodeProto) -> None:
        keep, rank = bool(r.attribute(node, "keepdims", 1)), len(r.shape(node)) + 1
        given = axes_of(r, node)
        if not given and r.attribute(node, "noop_with_empty_axes", 0):
            r.give(node, r.value(node))
            return
        axes = sorted({a % rank for a in given}) or list(range(rank))
        if 0 in axes:
            raise r.refusal(node, f"reduces over axes {axes}, images among them; striate keeps the batch")
        layer, shape, moves = _waiting(r, node)
        found = reduction_over(shape, moves, how, [a - 1 for a in axes], keep=keep)
        if found is None and moves:
            layer, shape, moves = r.layer(node), r.shape(node), ()
            found = reduction_over(shape, moves, how, [a - 1 for a in axes], keep=keep)
        if found is None:
            raise r.refusal(node, f"reduces over axes {axes}; striate knows channels, and positions as a whole")
        ops, after = found
        for i, op in enumerate(ops[:-1]):
            layer = r.emit(node, op, [layer], inner=f"step{i + 1}")
        r.emit(node, ops[-1], [layer], moves=after)

    return read
