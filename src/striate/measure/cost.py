"""What every layer of a network costs: parameters, arithmetic, and the bytes it moves and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from striate.graph import Network, infer_shapes
from striate.measure.flops import flops
from striate.measure.memory import FLOAT32_BYTES, kept_for_training
from striate.ops import Shape


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one layer for one image.

    parameters: learnable numbers first used here; one that an earlier layer shares is not counted again
    macs: multiply-accumulates by definition; macs_on_pixels leaves out those that multiply zero padding
    flops: 2 macs + elementwise operations (`striate.measure.flops`); None where the layer has no definition
    output_bytes: its result in float32
    kept_bytes: what it adds to the tensors that the backward pass needs (`kept_for_training`)
    moved_bytes: inputs read once, weights read once, result written once, in float32
    """

    parameters: int
    macs: int
    macs_on_pixels: int
    flops: int | None
    output_bytes: int
    kept_bytes: int
    moved_bytes: int


def costs(network: Network, input_shape: Shape | None = None) -> dict[str, Cost]:
    """The cost of every layer, by name.  Raises: ShapeError."""
    shapes = infer_shapes(network, input_shape)
    kept = kept_for_training(network, input_shape)
    counted: set[str] = set()
    result = {}
    for node in network:
        inputs, output = [shapes[name] for name in node.inputs], shapes[node.name]
        specs = node.op.weight_specs()
        fresh = [s for s in specs if s.learnable and node.weights[s.role] not in counted]
        counted |= set(node.weights.values())
        moved = sum(map(prod, inputs)) + prod(output) + sum(prod(s.shape) for s in specs)
        result[node.name] = Cost(
            parameters=sum(prod(s.shape) for s in fresh),
            macs=node.op.macs(*inputs),
            macs_on_pixels=node.op.macs_on_pixels(*inputs),
            flops=flops(node.op, inputs, output),
            output_bytes=FLOAT32_BYTES * prod(output),
            kept_bytes=kept[node.name],
            moved_bytes=FLOAT32_BYTES * moved,
        )
    return result
