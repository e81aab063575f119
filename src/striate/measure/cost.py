"""What every layer of a network costs: parameters, multiply-accumulates, and memory for its activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from striate.graph import INPUT, Network, infer_shapes
from striate.ops import Shape

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one layer for one image.

    parameters: learnable numbers first used here; one that an earlier layer shares is not counted again
    macs: multiply-accumulates by definition; macs_on_pixels leaves out those that multiply zero padding
    output_bytes: its result in float32
    """

    parameters: int
    macs: int
    macs_on_pixels: int
    output_bytes: int


def costs(network: Network, input_shape: Shape | None = None) -> dict[str, Cost]:
    """The cost of every layer, by name.  Raises: ShapeError."""
    shapes = infer_shapes(network, input_shape)
    counted: set[str] = set()
    result = {}
    for node in network:
        inputs = [shapes[name] for name in node.inputs]
        fresh = [s for s in node.op.weight_specs() if s.learnable and node.weights[s.role] not in counted]
        counted |= set(node.weights.values())
        result[node.name] = Cost(
            parameters=sum(prod(s.shape) for s in fresh),
            macs=node.op.macs(*inputs),
            macs_on_pixels=node.op.macs_on_pixels(*inputs),
            output_bytes=FLOAT32_BYTES * prod(shapes[node.name]),
        )
    return result


def peak_activation_bytes(network: Network, input_shape: Shape | None = None) -> int:
    """The most float32 bytes alive at once for one image, running the nodes in order.

    While a layer runs, its inputs, its output and every tensor still to be read are alive.
    """
    shapes: Mapping[str, Shape] = infer_shapes(network, input_shape)
    last_use = {name: i for i, node in enumerate(network) for name in node.inputs}
    last_use[network.output] = len(network)
    alive = {INPUT: prod(shapes[INPUT])}
    peak = alive[INPUT]
    for i, node in enumerate(network):
        alive[node.name] = prod(shapes[node.name])
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last_use.get(name, -1) > i}
    return FLOAT32_BYTES * peak
