"""Group normalisation in the place of batch normalisation, for batches too small for batch statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from striate.choice import Choice
from striate.graph import Network, Node
from striate.ops import BatchNorm, GroupNorm

MOST_GROUPS = 32  # Wu & He 2018, arXiv:1803.08494, whose error starts to grow below batches of 8 with BatchNorm
LEAST_CHANNELS = 4  # of a group: a single channel would lose its contrast between images
MICRO_BATCH = 8
LAYERS: Mapping[type, type] = {nn.BatchNorm1d: nn.GroupNorm, nn.BatchNorm2d: nn.GroupNorm, nn.BatchNorm3d: nn.GroupNorm}


def groups_for(channels: int) -> int:
    """The most groups, up to 32, of equally many channels, at least 4 each; 1 where there are none such."""
    fitting = [g for g in range(1, MOST_GROUPS + 1) if channels % g == 0 and channels // g >= LEAST_CHANNELS]
    return max(fitting, default=1)


def with_group_norm(network: Network) -> Network:
    """The network with each batch norm replaced by a group norm of the same eps, scale and shift."""
    kept = {name for node in network for name in _regrouped(node).weights.values()}
    weights = {name: array for name, array in network.weights.items() if name in kept}
    return replace(network, nodes=tuple(_regrouped(node) for node in network), weights=weights)


def regroup(module: nn.Module) -> nn.Module:
    """The same in a torch module, in place."""
    for part in module.modules():
        for name, child in part.named_children():
            if type(child) in LAYERS:
                setattr(part, name, _group_layer(child))
    return module


def micro_batch_hint(network: Network, batch_images: int) -> Choice | None:
    """A word on batch normalisation over very few images, where a network has it."""
    if batch_images >= MICRO_BATCH or not any(isinstance(node.op, BatchNorm) for node in network):
        return None
    reason = f"batch statistics of {batch_images} images are noisy; --norm group needs no batch"
    return Choice("norm", "network", reason)


def _regrouped(node: Node) -> Node:
    if not isinstance(node.op, BatchNorm):
        return node
    op = GroupNorm(node.op.channels, node.op.eps, node.op.affine, groups_for(node.op.channels))
    learnt = {role: name for role, name in node.weights.items() if role in ("gamma", "beta")}
    return replace(node, op=op, weights=learnt)


def _group_layer(norm: nn.Module) -> nn.GroupNorm:
    channels, eps, affine = (getattr(norm, name) for name in ("num_features", "eps", "affine"))
    layer = nn.GroupNorm(groups_for(channels), channels, eps=eps, affine=affine)
    if affine:
        layer.weight, layer.bias = norm.weight, norm.bias  # type: ignore[assignment]  # a module's attributes
    return layer
