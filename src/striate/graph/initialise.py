"""Starting weights, from a seed alone."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from striate.graph.network import Network
from striate.ops import Array, Linear, WeightSpec

_ONES = {"gamma", "running_var"}
_ZEROS = {"bias", "beta", "running_mean"}


def initialise(network: Network, seed: int) -> Network:
    """Return `network` with float32 starting weights.

    Kernels and dense weights are normal with variance 2 / fan_in, fan_in = C K_h K_w / groups (He et al. 2015,
    arXiv:1502.01852), the last dense layer with variance 1 / fan_in since no ReLU follows it; biases, beta and
    means 0; gamma and variances 1. Each weight has its own stream of the seed, so adding a layer changes no other.
    """
    specs = network.weight_specs()
    last = next((n.weights["weight"] for n in reversed(network.nodes) if isinstance(n.op, Linear)), None)
    return network.with_weights(
        {name: _start(name, spec, seed, 1.0 if name == last else 2.0) for name, spec in specs.items()}
    )


def _start(name: str, spec: WeightSpec, seed: int, gain: float) -> Array:
    if spec.role in _ONES:
        return np.ones(spec.shape, np.float32)
    if spec.role in _ZEROS:
        return np.zeros(spec.shape, np.float32)
    generator = np.random.default_rng([seed, *name.encode()])
    deviation = sqrt(gain / prod(spec.shape[1:]))
    return (generator.standard_normal(spec.shape) * deviation).astype(np.float32)
