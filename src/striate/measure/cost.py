"""What every layer of a network costs: parameters, arithmetic, and the bytes it moves and keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from striate.graph import Network, infer_shapes
from striate.measure.fields import UNKNOWN
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
    Of a layer of unknown kind nothing is known but its result's size: None.
    """

    parameters: int | None
    macs: int | None
    macs_on_pixels: int | None
    flops: int | None
    output_bytes: int
    kept_bytes: int | None
    moved_bytes: int | None


def known_sum(values: Iterable[int | None]) -> int:
    """The sum of those that are known: at least so much."""
    return sum(value for value in values if value is not None)


def total(values: Iterable[int | None]) -> int | None:
    """The sum; None where one of them is."""
    result = 0
    for value in values:
        if value is None:
            return None
        result += value
    return result


def costs(network: Network, input_shape: Shape | None = None) -> dict[str, Cost]:
    """The cost of every layer, by name.  Raises: ShapeError."""
    shapes = infer_shapes(network, input_shape)
    kept = kept_for_training(network, input_shape)
    counted: set[str] = set()
    result = {}
    for node in network:
        inputs, output = [shapes[name] for name in node.inputs], shapes[node.name]
        if node.op.kind == UNKNOWN:
            result[node.name] = Cost(None, None, None, None, FLOAT32_BYTES * prod(output), None, None)
            continue
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
