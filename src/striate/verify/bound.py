"""A-priori bounds on rounding: how far a floating-point evaluation can be from the exact one, layer by layer.

Each layer bounds its own output error from the errors of its inputs (`Op.error_bound`); this walks the network.
The bounds hold for any order of summation, with or without fused multiply-add, and for weights rounded once.
They do not hold for fast convolution algorithms (Winograd, FFT), whose intermediate sums are larger.
Derivation in docs/math/proof.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from striate.graph import INPUT, Network, Node
from striate.ops import Array
from striate.verify.tolerance import FLOAT32_UNIT, HOPELESS, REFERENCE_SLACK, UNDERFLOW


@dataclass(frozen=True, slots=True)
class Rounding:
    """An arithmetic to bound.

    unit: unit roundoff of the arithmetic; known_error: how well known tensors are known, relative to each value
    give_up: a bound that says nothing (`HOPELESS` times the tensor's scale on average) is infinite from there on,
        at no cost
    """

    unit: float
    known_error: float = 0.0
    give_up: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """A tensor that is still to be read: its values, and the bound on its error in each arithmetic."""

    values: Array
    errors: tuple[Array, ...]


def walk(
    network: Network, known: Mapping[str, Array], roundings: Sequence[Rounding] = ()
) -> Iterator[tuple[str, Array, tuple[Array, ...]]]:
    """Compute every layer from the nearest `known` tensors before it: its name, values, and bounds by `roundings`.

    A layer that reads a known tensor reads the given values, with errors known_error |values|; so a fault shows
    at the layer that makes it and nowhere after. With only the input known, this is an ordinary evaluation.
    Only what is still to be read is held.

    known: arrays by tensor name, `INPUT` among them
    """
    last = {name: node.name for node in network for name in node.inputs}
    held: dict[str, _Known] = {}
    for node in network:
        for name in node.inputs:
            if name not in held:
                values = np.asarray(known[name], np.float64)
                held[name] = _Known(values, tuple(_given(values, r.known_error) for r in roundings))
        reads = [held[name] for name in node.inputs]
        weights = network.weights_of(node)
        values = node.op.forward([one.values for one in reads], weights)
        bounds = tuple(_bound(node, reads, i, values, weights, r) for i, r in enumerate(roundings))
        yield node.name, values, bounds
        for name in set(node.inputs):
            if last[name] == node.name:
                del held[name]
        if node.name in last and node.name not in known:
            held[node.name] = _Known(values, bounds)


def propagate(
    network: Network, known: Mapping[str, Array], unit: float, known_error: float = 0.0
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every layer's result and the bound on its rounding since the `known` tensors before it, as `walk` finds them."""
    values: dict[str, Array] = {}
    bounds: dict[str, Array] = {}
    for name, value, (bound,) in walk(network, known, [Rounding(unit, known_error)]):
        values[name], bounds[name] = value, bound
    return values, bounds


def error_bounds(network: Network, x: Array, unit: float = FLOAT32_UNIT, input_error: float = 0.0) -> dict[str, Array]:
    """Bound on |computed - exact| of every tensor for a batch `x` (N, C, H, W), element by element.

    network: weights in float64, before rounding
    unit: unit roundoff of the arithmetic
    input_error: how well `x` is known, relative to each of its values
    """
    return propagate(network, {INPUT: x}, unit, input_error)[1]


def _given(values: Array, known_error: float) -> Array:
    return known_error * np.abs(values) if known_error else np.broadcast_to(0.0, values.shape)


def _bound(
    node: Node, reads: Sequence[_Known], which: int, values: Array, weights: Mapping[str, Array], rounding: Rounding
) -> Array:
    errors = [one.errors[which] for one in reads]
    if rounding.give_up and any(np.isinf(error.flat[0]) for error in errors):
        return np.broadcast_to(np.inf, values.shape)
    bound: Array = node.op.error_bound([one.values for one in reads], errors, values, weights, rounding.unit)
    bound = bound * (1 + REFERENCE_SLACK) + (UNDERFLOW if rounding.unit > 2**-30 else 0.0)
    if rounding.give_up and _says_nothing(bound, values):
        return np.broadcast_to(np.inf, values.shape)
    return bound


def _says_nothing(bound: Array, values: Array) -> bool:
    """Whether the bound is beyond `HOPELESS` times the largest value, on the average of each image."""
    axes = tuple(range(1, values.ndim))
    scale = np.maximum(values.max(axis=axes), -values.min(axis=axes))
    return bool((scale > 0).all() and (bound.mean(axis=axes) > HOPELESS * scale).all())
