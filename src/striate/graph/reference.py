"""Running a network in NumPy: the answer that every other way of running it is compared with.

With the layers of `striate.ops` this is a complete convolutional network: forward and gradient, in training and
at test time, in whatever dtype it is given (float64 for a reference).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from striate.errors import NetworkError
from striate.graph.network import INPUT, Network, Node
from striate.ops import Array, BatchNorm, Dropout


def run(network: Network, x: Array, *, training: bool = False) -> dict[str, Array]:
    """Every tensor of the network for a batch `x` (N, C, H, W), `INPUT` included.

    training: batch normalisation uses the statistics of the batch.
    Raises: NetworkError on a dropout layer in training, whose randomness a reference cannot share.
    """
    values = {INPUT: x}
    for node in network:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = node.op.forward(inputs, _weights(network, node, inputs[0], training))
    return values


def output(network: Network, x: Array) -> Array:
    """The network's result for a batch `x`, holding only the tensors still to be read."""
    last_use = {name: i for i, node in enumerate(network) for name in node.inputs}
    values = {INPUT: x}
    for i, node in enumerate(network):
        values[node.name] = node.op.forward([values[name] for name in node.inputs], network.weights_of(node))
        for name in set(node.inputs):
            if last_use[name] == i and name != network.output:
                del values[name]
    return values[network.output]


def gradient(
    network: Network, values: Mapping[str, Array], grad: Array, *, training: bool = False
) -> tuple[Array, dict[str, Array]]:
    """Gradient of a loss at the input and at every weight, given its gradient `grad` at the output.

    values: what `run` returned, with the same `training`. A shared weight receives the sum over its uses.
    """
    at: dict[str, Array] = {network.output: grad}
    at_weights: dict[str, Array] = {}
    for node in reversed(network.nodes):
        if node.name not in at:
            continue  # the result does not depend on this layer
        inputs = [values[name] for name in node.inputs]
        weights = _weights(network, node, inputs[0], training)
        if training and isinstance(node.op, BatchNorm):
            to_inputs, to_weights = node.op.backward_through_statistics(at[node.name], inputs[0], weights)
        else:
            to_inputs, to_weights = node.op.backward(at[node.name], inputs, values[node.name], weights)
        for name, one in zip(node.inputs, to_inputs, strict=True):
            at[name] = at[name] + one if name in at else one
        for role, one in to_weights.items():
            name = node.weights[role]
            at_weights[name] = at_weights[name] + one if name in at_weights else one
    return at.get(INPUT, np.zeros_like(values[INPUT])), at_weights


def running_averages(network: Network, values: Mapping[str, Array]) -> dict[str, Array]:
    """The running means and variances after the training batch that gave `values`, by weight name.

    Where two layers share them, each layer updates what the one before it left, as in torch.
    """
    updated: dict[str, Array] = {}
    for node in network:
        if isinstance(node.op, BatchNorm):
            before = {role: updated.get(name, network.weights[name]) for role, name in node.weights.items()}
            mean, var = node.op.running_averages(values[node.inputs[0]], before)
            updated[node.weights["running_mean"]], updated[node.weights["running_var"]] = mean, var
    return updated


def _weights(network: Network, node: Node, x: Array, training: bool) -> dict[str, Array]:
    weights = network.weights_of(node)
    if not training:
        return weights
    if isinstance(node.op, Dropout) and node.op.p > 0:
        raise NetworkError(f"{node.name}: the NumPy reference has no random numbers; train it without dropout")
    if isinstance(node.op, BatchNorm):
        return node.op.with_batch_statistics(x, weights)
    return weights
