"""Bytes of activations: alive at once when a network runs, and kept from the forward pass for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from striate.graph import INPUT, Network, Node, infer_shapes
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    BlurPool,
    Concat,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    LogSoftmax,
    MaxPool,
    Move,
    Mul,
    Pad,
    Reshape,
    Shape,
    Shift,
    Softmax,
    Sub,
)

FLOAT32_BYTES = 4
INDEX_BYTES = 8  # torch keeps the place of every maximum as an int64
FROM_INPUT = {
    "abs", "elu", "gelu", "gelu_tanh", "hard_sigmoid", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid", "mish",
    "relu6", "selu", "silu", "softplus", "softsign",
}  # fmt: skip
"""Activations whose slope torch computes from their input; the others' follows from their output."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is alive while one layer runs: its inputs, its output, and every tensor still to be read."""

    layer: str
    tensors: tuple[str, ...]
    bytes: int


def schedule(network: Network, input_shape: Shape | None = None) -> Iterator[Moment]:
    """The layers in their order, each with what is alive while it runs, for one image in float32.

    A tensor is freed after the last layer that reads it; the result stays. Nothing is computed in place.
    Raises: ShapeError.
    """
    shapes = infer_shapes(network, input_shape)
    last_use = {name: node.name for node in network for name in node.inputs}
    last_use[network.output] = ""
    alive = {INPUT: prod(shapes[INPUT])}
    total = alive[INPUT]
    for node in network:
        alive[node.name] = prod(shapes[node.name])
        total += alive[node.name]
        yield Moment(node.name, tuple(alive), FLOAT32_BYTES * total)
        for name in {*node.inputs, node.name}:
            if last_use.get(name, node.name) == node.name:
                total -= alive.pop(name)


def peak_activation_bytes(network: Network, input_shape: Shape | None = None) -> int:
    """The most float32 bytes alive at once for one image, running the nodes in order; see `schedule`."""
    return max(moment.bytes for moment in schedule(network, input_shape))


def kept_for_training(network: Network, input_shape: Shape | None = None) -> dict[str, int]:
    """Bytes that each layer adds to what the backward pass needs, for one image in float32, by name.

    A tensor that several layers need is charged to the first of them. Statistics of batch normalisation are left
    out: they do not grow with the batch. A layer without a rule here keeps its inputs and its output.
    The rules are torch's, and tested against what its autograd saves. Raises: ShapeError.
    """
    shapes = infer_shapes(network, input_shape)
    storage: dict[str, str] = {INPUT: INPUT}
    kept: set[str] = set()
    added = {}
    for node in network:
        views = isinstance(node.op, Flatten | Reshape) or type(node.op) is Identity
        storage[node.name] = storage[node.inputs[0]] if views else node.name
        fresh = {storage[name] for name in _needs(node)} - kept
        kept |= fresh
        floats = sum(prod(shapes[name]) for name in fresh)
        added[node.name] = FLOAT32_BYTES * floats + _beside(node, shapes)
    return added


def _needs(node: Node) -> tuple[str, ...]:
    """The tensors that a layer's gradient is computed from."""
    match node.op:
        case Add() | Sub() | Concat() | Flatten() | Identity() | GlobalAvgPool() | Move() | Pad() | Shift() | Affine():
            return ()
        case Activation(curve) if curve not in FROM_INPUT:
            return (node.name,)
        case Softmax() | LogSoftmax():
            return (node.name,)
        case Activation() | MaxPool() | AvgPool() | BlurPool() | AdaptiveAvgPool() | Mul():
            return node.inputs
        case op if op.weight_specs():
            return node.inputs
        case _:
            return (*node.inputs, node.name)


def _beside(node: Node, shapes: dict[str, Shape]) -> int:
    """Bytes that are no tensor of the network: the places of maxima, the mask of a dropout."""
    match node.op:
        case MaxPool():
            return INDEX_BYTES * prod(shapes[node.name])
        case Dropout(p) if p > 0:
            return FLOAT32_BYTES * prod(shapes[node.name])  # as on a CPU; a GPU's mask takes a quarter
        case _:
            return 0
