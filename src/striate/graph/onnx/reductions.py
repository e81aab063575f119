"""ONNX reductions and softmax as layers."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from striate.graph.moves import channel_group
from striate.graph.onnx.constants import axes_of
from striate.graph.onnx.reading import Reading, Value
from striate.graph.over_axes import reduction_over
from striate.ops import ChannelReduce, LogSoftmax, Reshape, Softmax


def softmax(r: Reading, node: onnx.NodeProto) -> None:
    """Over one axis. Before opset 13 the axes from `axis` on were taken together."""
    value = r.moved(node)
    out = value.shape
    axis = r.attribute(node, "axis", -1 if r.opset >= 13 else 1) % (len(out) + 1)
    if not axis or (r.opset < 13 and any(n != 1 for n in out[axis:])):
        where = f"runs over axes {axis} and up of (N, {', '.join(map(str, out))})"
        raise r.refusal(node, f"{where}; supported is one axis of an image")
    group = channel_group(value.moves, value.shape_before, axis - 1) if value.moves else None
    is_log, is_split = node.op_type == "LogSoftmax", group is not None and group != (1, value.shape_before[0])
    if group is not None and is_split and not is_log:  # some of the channels, which a reshape has split
        r.emit(node, Softmax(*group), [value.layer], moves=value.moves)
        return
    layer, back = r.in_front(value, axis - 1, node.output[0])
    r.emit(node, LogSoftmax() if is_log else Softmax(), [layer], moves=back)


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
        value, over = r.moved(node), [a - 1 for a in axes]
        found = reduction_over(value.shape_before, value.moves, how, over, keep=keep)
        if found is None:
            r.bare(node)  # what waits becomes layers
            value = r.value(node)
            found = reduction_over(value.shape_before, value.moves, how, over, keep=keep)
        if found is None:
            _axis_by_axis(r, node, how, over, keep=keep)
            return
        layer = value.layer
        ops, after = found
        for i, op in enumerate(ops[:-1]):
            layer = r.emit(node, op, [layer], inner=f"step{i + 1}")
        r.emit(node, ops[-1], [layer], moves=after)

    return read


def _axis_by_axis(r: Reading, node: onnx.NodeProto, how: str, axes: list[int], *, keep: bool) -> None:
    """Each axis put where channels stand, and reduced there."""
    value = r.moved(node)
    for axis in axes:
        layer, back = r.in_front(value, axis, node.output[0])
        made = r.emit(node, ChannelReduce(how), [layer], inner=f"axis{axis + 1}")
        value = Value(made, r.shape_of(made), back)
    sizes = tuple(n for axis, n in enumerate(value.shape) if keep or axis not in axes)
    r.give(node, value if sizes == value.shape else value.after_move(Reshape(sizes)))
