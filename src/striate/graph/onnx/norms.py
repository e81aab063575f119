"""ONNX normalisations as layers."""

from __future__ import annotations

import numpy as np
import onnx

from striate.graph.onnx.curves import decimal
from striate.graph.onnx.reading import Reading, Value
from striate.ops import Array, BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, Reshape, new_share

Pair = dict[str, tuple[str, Array]]


def batch_norm(r: Reading, node: onnx.NodeProto) -> None:
    """Batch normalisation at test time."""
    if r.attribute(node, "training_mode", 0) or (r.opset < 7 and not r.attribute(node, "is_test", 0)):
        raise r.refusal(node, "normalises by the statistics of the batch; export the model in evaluation mode")
    if not r.attribute(node, "spatial", 1):
        raise r.refusal(node, "spatial=0 normalises each pixel on its own; only one pair a channel is supported")
    roles = ("gamma", "beta", "running_mean", "running_var")
    weights = {role: (r.weight_name(node.input[i + 1]), r.demand(node, i + 1, role)) for i, role in enumerate(roles)}
    eps, momentum = r.attribute(node, "epsilon", 1e-5), r.attribute(node, "momentum", 0.9)
    op = BatchNorm(weights["gamma"][1].size, decimal(eps), decimal(new_share(decimal(momentum))))
    r.emit(node, op, [r.layer(node)], weights)


def instance_norm(r: Reading, node: onnx.NodeProto) -> None:
    """Instance norm; over channels gathered in rows, group norm, with the factor and shift behind it."""
    scale, shift = r.demand(node, 1, "scale"), r.demand(node, 2, "bias")
    eps, value = decimal(r.attribute(node, "epsilon", 1e-5)), r.moved(node)
    channels, groups = value.shape_before[0], len(scale)
    in_rows = len(value.moves) == 1 and isinstance(value.moves[0], Reshape) and value.shape[0] == groups
    plain = bool((scale == 1).all() and (shift == 0).all())
    if plain and channels % groups == 0 and (in_rows or not value.moves):
        learnt = _behind_rows(r, node, value)
        if learnt is not None:
            last, weights = learnt
            r.emit(last, GroupNorm(channels, eps, True, groups), [value.layer], weights)
            return
        if in_rows or not {node.input[1], node.input[2]} <= r.stored:
            op = GroupNorm(channels, eps, affine=False, groups=groups)
            r.emit(node, op, [value.layer], moves=value.moves)
            return
    weights = _pair(r, node, scale, shift)
    r.emit(node, GroupNorm(groups, eps, True, groups), [r.layer(node)], weights)


def _behind_rows(r: Reading, node: onnx.NodeProto, value: Value) -> tuple[onnx.NodeProto, Pair] | None:
    """The factor and shift of a group norm: behind the reshape that undoes its rows, one number a channel each."""
    back = r.sole_reader(node, "Reshape")
    scaled = back and r.sole_reader(back, "Mul")
    shifted = scaled and r.sole_reader(scaled, "Add")
    if back is None or scaled is None or shifted is None:
        return None
    target = r.constant(back, 1)
    if target is not None and tuple(target.reshape(-1)[1:].tolist()) != value.shape_before:
        return None
    channels = value.shape_before[0]
    gamma, beta = (_per_channel(r, one, before, channels) for one, before in ((scaled, back), (shifted, scaled)))
    if gamma is None or beta is None:
        return None
    r.absorb([back.output[0], scaled.output[0], shifted.output[0]])
    return shifted, {"gamma": gamma, "beta": beta}


def _per_channel(r: Reading, node: onnx.NodeProto, before: onnx.NodeProto, channels: int) -> tuple[str, Array] | None:
    """The name and values of the constant operand of `node`, if it is one number a channel."""
    at = 1 if node.input[0] == before.output[0] else 0
    value = r.constant(node, at)
    if value is None or value.size != channels or value.ndim < 2 or channels not in value.shape[:2]:
        return None
    return r.weight_name(node.input[at]), value.reshape(-1)


def group_norm(r: Reading, node: onnx.NodeProto) -> None:
    """Group norm; its factor and shift are one a group before opset 21, one a channel since."""
    groups, channels = r.attribute(node, "num_groups", 1), r.shape(node)[0]
    scale, shift = r.demand(node, 1, "scale"), r.demand(node, 2, "bias")
    if len(scale) != channels and channels % len(scale) == 0:
        scale, shift = (np.repeat(v, channels // len(v)) for v in (scale, shift))
    op = GroupNorm(channels, decimal(r.attribute(node, "epsilon", 1e-5)), groups=groups)
    r.emit(node, op, [r.layer(node)], _pair(r, node, scale, shift))


def layer_norm(r: Reading, node: onnx.NodeProto) -> None:
    """Layer norm over the last axis."""
    value = r.moved(node)
    rank = len(value.shape) + 1
    axis = r.attribute(node, "axis", -1) % rank
    if axis != rank - 1 or axis == 0:
        raise r.refusal(
            node, f"axis={axis} of (N, {', '.join(map(str, value.shape))}); supported is the last axis alone"
        )
    layer, back = r.in_front(value, axis - 1, node.output[0])
    scale = r.demand(node, 1, "scale")
    shift = r.demand(node, 2, "bias") if len(node.input) > 2 and node.input[2] else np.zeros_like(scale)
    learnt = node.input[1] in r.stored or not (scale == 1).all() or len(node.input) > 2
    op = LayerNorm(value.shape[-1], decimal(r.attribute(node, "epsilon", 1e-5)), learnt)
    r.emit(node, op, [layer], _pair(r, node, scale, shift) if learnt else {}, moves=back)


def _pair(r: Reading, node: onnx.NodeProto, scale: Array, shift: Array) -> Pair:
    named = len(node.input) > 2 and node.input[2]
    beta = r.weight_name(node.input[2]) if named else f"{node.output[0]}.beta"
    return {"gamma": (r.weight_name(node.input[1]), scale), "beta": (beta, shift)}


def response_norm(r: Reading, node: onnx.NodeProto) -> None:
    """Local response normalisation, whose middle is ours only for an odd number of channels."""
    size = r.attribute(node, "size", 0)
    if size % 2 == 0:
        raise r.refusal(node, f"size={size}; striate knows it over an odd number of channels")
    names = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    alpha, beta, k = (decimal(r.attribute(node, name, default)) for name, default in names)
    r.emit(node, LocalResponseNorm(size, alpha, beta, k), [r.layer(node)])
