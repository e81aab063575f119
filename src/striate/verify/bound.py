"""A-priori bounds on rounding: how far a floating-point evaluation can be from the exact one, layer by layer.

Each layer bounds its own output error from the errors of its inputs (`Op.error_bound`); this walks the network.
The bounds hold for any order of summation, with or without fused multiply-add, and for weights rounded once.
They do not hold for fast convolution algorithms (Winograd, FFT), whose intermediate sums are larger.
Derivation in docs/math/proof.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from striate.graph import INPUT, Network
from striate.ops import Array
from striate.verify.tolerance import FLOAT32_UNIT, REFERENCE_SLACK, UNDERFLOW


def error_bounds(network: Network, x: Array, unit: float = FLOAT32_UNIT, input_error: float = 0.0) -> dict[str, Array]:
    """Bound on |computed - exact| of every tensor for a batch `x` (N, C, H, W), element by element.

    network: weights in float64, before rounding
    unit: unit roundoff of the arithmetic
    input_error: how well `x` is known, relative to each of its values
    """
    return propagate(network, {INPUT: x}, unit, input_error)[1]


def propagate(
    network: Network, known: Mapping[str, Array], unit: float, known_error: float = 0.0
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every tensor computed from the nearest `known` ones before it, and the bound on its rounding since then.

    A layer that reads a known tensor reads the given values, with errors known_error |values|; so a fault shows
    at the layer that makes it and nowhere after. With only the input known, this is an ordinary evaluation.

    known: arrays by tensor name, `INPUT` among them
    Returns values and bounds for every layer's result, known or not.
    """
    inputs = {name: np.asarray(array, np.float64) for name, array in known.items()}
    errors = {name: known_error * np.abs(array) for name, array in inputs.items()}
    values: dict[str, Array] = {}
    bounds: dict[str, Array] = {}
    for node in network:
        weights = network.weights_of(node)
        reads = [inputs[name] for name in node.inputs]
        value = node.op.forward(reads, weights)
        bound = node.op.error_bound(reads, [errors[name] for name in node.inputs], value, weights, unit)
        values[node.name] = value
        bounds[node.name] = bound * (1 + REFERENCE_SLACK) + (UNDERFLOW if unit > 2**-30 else 0.0)
        inputs.setdefault(node.name, value)
        errors.setdefault(node.name, bounds[node.name])
    return values, bounds
