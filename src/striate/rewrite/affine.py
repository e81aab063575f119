"""Affine maps of channels: reading them from a norm or stored numbers, and giving them to a layer that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from striate.graph import Node
from striate.ops import (
    AdaptiveAvgPool,
    Affine,
    Array,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    GlobalAvgPool,
    Linear,
    Op,
    Scale,
    Shift,
    Weights,
)
from striate.rewrite.edit import View


def fault(bn: BatchNorm, weights: Weights) -> str:
    """Why a batch normalisation is no affine map; empty if it is one."""
    for role, array in weights.items():
        if not np.isfinite(array).all():
            return f"{role} is not finite in channel {int(np.argmin(np.isfinite(array)))}"
    lowest = int(np.argmin(weights["running_var"]))
    if not weights["running_var"][lowest] + bn.eps > 0:
        return f"running_var + eps is {weights['running_var'][lowest] + bn.eps:g} in channel {lowest}, not positive"
    return ""


def norm_of(scale: Array, mean: Array, beta: Array) -> tuple[BatchNorm, dict[str, Array]]:
    """The batch normalisation that computes scale (x - mean) + beta.  Shapes (C,)."""
    arrays = {"gamma": scale, "beta": beta, "running_mean": mean, "running_var": np.ones_like(scale)}
    return BatchNorm(len(scale), eps=0.0), arrays


def as_norm(view: View, node: Node) -> tuple[BatchNorm, dict[str, Array]] | None:
    """A layer that is an affine map of each channel, as the batch normalisation that computes it; None for any other.

    Such are norms, stored factors and summands that each channel has one of (`scale`, `shift`), and numbers (`affine`).
    """
    if isinstance(node.op, BatchNorm):
        return node.op, view.weights(node)
    channels = view.shapes[node.inputs[0]][0]
    dtype = dtype_of(view)
    one, zero = np.ones(channels, dtype), np.zeros(channels, dtype)
    if isinstance(node.op, Affine):
        return norm_of(one * dtype.type(node.op.scale), zero, zero + dtype.type(node.op.shift))
    if isinstance(node.op, Scale | Shift) and set(node.op.shape[1:]) <= {1}:
        (numbers,) = view.weights(node).values()
        of_channels = numbers.reshape(-1)
        is_scale = isinstance(node.op, Scale)
        return norm_of(one * of_channels if is_scale else one, zero, zero if is_scale else zero + of_channels)
    return None


def dtype_of(view: View) -> np.dtype[Any]:
    """The dtype of a network's weights, float64 where it has none."""
    return next((array.dtype for array in view.network.weights.values()), np.dtype(np.float64))


def parts(bn: BatchNorm, weights: Weights) -> tuple[Array, Array, Array]:
    """scale, mean, beta of y = scale (x - mean) + beta.  Shapes (C,)."""
    scale, _ = bn.scale_shift(weights)
    return scale, weights["running_mean"], weights["beta"] if bn.affine else np.zeros_like(scale)


def pads(op: Op) -> bool:
    """Whether a layer reads zeros that no layer wrote: a convolution in its padding, one that is transposed anyhow.

    A transposed convolution is a convolution of maps with zeros between and around their pixels.
    """
    return isinstance(op, ConvTranspose) or (
        isinstance(op, Conv) and any(w.pad_lo > 0 or w.pad_hi > 0 for w in op.windows)
    )


def averages_only_pixels(op: Op) -> bool:
    """Whether a layer is an average over real pixels alone, so that it commutes with any affine map of a channel."""
    if isinstance(op, AvgPool):
        return not op.count_include_pad or not any(w.pad_lo > 0 or w.pad_hi > 0 for w in op.windows)
    return isinstance(op, GlobalAvgPool | AdaptiveAvgPool)


def after_affine(op: Conv | Linear, weights: Weights, scale: Array, shift: Array) -> dict[str, Array]:
    """Weight and bias of the layer that equals `op` of scale x + shift.

        W'[o, c, k] = W[o, c, k] s[c];   b'[o] = b[o] + sum over c, k of W[o, c, k] t[c]

    Legal where `op` reads no padding, or where shift is 0: zeros around x are then zeros around the map of x.
    scale, shift: (C,), or (F,) of a dense layer.
    """
    weight = weights["weight"]
    moved = weight * by_slot(op, shift, weight.ndim)
    bias = moved.sum(axis=tuple(range(1, weight.ndim)))
    return {
        "weight": weight * by_slot(op, scale, weight.ndim),
        "bias": weights["bias"] + bias if op.bias else bias,
    }


def after_scale(op: ConvTranspose, weights: Weights, scale: Array) -> dict[str, Array]:
    """Weights of the transposed convolution that equals `op` of scale x."""
    weight = weights["weight"]
    return {**weights, "weight": weight * by_slot(op, scale, weight.ndim)}


def by_slot(op: Conv | ConvTranspose | Linear, values: Array, ndim: int) -> Array:
    """Values of the input channels (C,) at the weights that meet them: (O, C / groups, 1...), or (C, 1, 1...)."""
    if isinstance(op, ConvTranspose):
        return values.reshape(-1, *(1,) * (ndim - 1))
    groups = op.groups if isinstance(op, Conv) else 1
    slots = np.repeat(values.reshape(groups, -1), weights_out(op) // groups, axis=0)
    return slots.reshape(*slots.shape, *(1,) * (ndim - 2))


def weights_out(op: Conv | Linear) -> int:
    """Output channels or features."""
    return op.out_channels if isinstance(op, Conv) else op.out_features


def bias_of(op: Conv | Linear, weights: Mapping[str, Array]) -> Array:
    """The bias, zeros where there is none.  Shape (O,)."""
    return weights["bias"] if op.bias else np.zeros(weights_out(op), weights["weight"].dtype)


def resized(op: Conv | Linear, read: int, written: int, *, bias: bool) -> Conv | Linear:
    """The layer with other numbers of input and output channels."""
    if isinstance(op, Conv):
        return replace(op, in_channels=read, out_channels=written, bias=bias)
    return Linear(read, written, bias)


def weights_in(op: Conv | Linear) -> int:
    """Input channels or features."""
    return op.in_channels if isinstance(op, Conv) else op.in_features
