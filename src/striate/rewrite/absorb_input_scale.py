"""Let a network read raw pixels: fold the scaling and shifting of its input channels into the first layers.

For f and the preparation scale x + shift, the result g computes g(x) = f(scale x + shift), so an artifact can take
the pixels as they are, 0 to 255.

Exact in the convolutions and dense layers that read the input, as in `push_batch_norm`. Where one of them pads with
zeros, the shift must not reach the padding: then the input gets a channel that is 1 on every pixel, made by a 1 x 1
convolution [x] -> [x, 1], and the stem's weights for it carry the shift, as in `constant_channel`. No layer takes a
stored constant as an input, so those C (C + 1) multiply-accumulates a pixel are the price; a stem of 32 kernels of
3 x 3 on 3 channels has 864.

Legal: all that reads the input are such layers, of which those that pad are not grouped; the input's shift and scale
are finite. Every layer keeps its name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.errors import PassError
from striate.geometry import Window
from striate.graph import INPUT, Network, Node, infer_shapes
from striate.ops import Array, Conv, Linear
from striate.rewrite.affine import after_affine, pads
from striate.rewrite.constant_channel import taking_one
from striate.rewrite.edit import View, rebuilt
from striate.rewrite.push_batch_norm import unique


def absorb_input_scale(network: Network, scale: Array, shift: Array) -> Network:
    """The network g with g(x) = network(scale x + shift), computed in the dtype of its weights.

    scale, shift: one number an input channel (C,)
    Raises: PassError, naming the layer, where a reader of the input cannot take them.
    """
    view = View(network, {node.name: node for node in network}, network.consumers(), infer_shapes(network))
    channels = network.input_shape[0]
    scale, shift = np.asarray(scale), np.asarray(shift)
    if scale.shape != (channels,) or shift.shape != (channels,) or not np.isfinite([scale, shift]).all():
        raise PassError(f"{network.name}: scale and shift must be {channels} finite numbers each, one an input channel")
    readers = unique(view.readers[INPUT])
    for node in readers:
        _require_taker(node, shift)
    dtype = next(array.dtype for array in network.weights.values())
    scale, shift = scale.astype(dtype), shift.astype(dtype)
    ones = view.free("input.and_one")
    padded = [node for node in readers if shift.any() and pads(node.op)]
    new: dict[str, Node] = {}
    arrays = dict(network.weights)
    for node in readers:
        taken, named = _padded(view, node, ones, scale, shift) if node in padded else _plain(view, node, scale, shift)
        new[node.name] = taken
        arrays |= named
    nodes = [new.get(node.name, node) for node in network]
    if padded:
        first, named = _and_one(view, ones, padded[0])
        nodes.insert(0, first)
        arrays |= named
    return rebuilt(network, nodes, arrays, network.output)


def _require_taker(node: Node, shift: Array) -> None:
    if not isinstance(node.op, Conv | Linear):
        raise PassError(f"{node.name}: {node.op.kind} reads the input and has no weights that could take a scale")
    if isinstance(node.op, Conv) and node.op.groups > 1 and pads(node.op) and shift.any():
        raise PassError(f"{node.name}: a grouped convolution that pads cannot take a shift; use padding 0 or groups=1")


def _plain(view: View, node: Node, scale: Array, shift: Array) -> tuple[Node, dict[str, Array]]:
    assert isinstance(node.op, Conv | Linear)  # noqa: S101 - `_require_taker` has seen to it
    arrays = after_affine(node.op, view.weights(node), scale, shift)
    return view.weighted(node.name, replace(node.op, bias=True), node.inputs, arrays, node)


def _padded(view: View, node: Node, ones: str, scale: Array, shift: Array) -> tuple[Node, dict[str, Array]]:
    assert isinstance(node.op, Conv)  # noqa: S101 - only a convolution pads
    op = replace(node.op, in_channels=node.op.in_channels + 1)
    return view.weighted(node.name, op, (ones,), taking_one(node.op, view.weights(node), scale, shift), node)


def _and_one(view: View, name: str, like: Node) -> tuple[Node, dict[str, Array]]:
    """The 1 x 1 convolution [x] -> [x, 1]."""
    channels, *axes = view.network.input_shape
    dtype = view.weights(like)["weight"].dtype
    weight = np.eye(channels + 1, channels, dtype=dtype).reshape(channels + 1, channels, *(1,) * len(axes))
    arrays = {"weight": weight, "bias": np.eye(1, channels + 1, channels, dtype=dtype)[0]}
    op = Conv(channels, channels + 1, tuple(Window(1) for _ in axes))
    return view.weighted(name, op, (INPUT,), arrays, replace(like, path=""))
