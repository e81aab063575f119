"""What a network really depends on, found by running it: the second answers that `striate.measure` must equal.

NaN probe: a batch in which image p has one row (or column) of NaN; the units that become NaN depend on it.
Gradient: with positive weights, the pixels at which the gradient of one unit is not zero are those it depends on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.errors import NetworkError
from striate.geometry import Sight
from striate.graph import INPUT, Network, infer_shapes
from striate.graph.reference import gradient, run
from striate.measure import look, views
from striate.measure.fields import is_gate
from striate.ops import Identity


def nan_faults(network: Network) -> list[str]:
    """Tensors whose exact sets differ, on some axis, from what NaN rows and columns reach."""
    seen, faults = views(network), []
    for axis, size in enumerate(network.input_shape[1:]):
        probes = np.ones((size, *network.input_shape))
        for p in range(size):
            probes[(p, slice(None), *_at(axis, p))] = np.nan
        with np.errstate(invalid="ignore"):
            values = run(network, probes)
        for name, value in values.items():
            if name != INPUT:
                faults += _unlike(name, axis, np.isnan(value), seen[name][axis].sight)
    return faults


def _at(axis: int, p: int) -> tuple[object, ...]:
    return (p, slice(None)) if axis == 0 else (slice(None), p)


def _unlike(name: str, axis: int, poisoned: np.ndarray, sight: Sight) -> list[str]:
    """poisoned: (image row, channels, H, W)."""
    others = tuple(a for a in range(1, poisoned.ndim) if a != axis + 2)
    reached = poisoned.any(axis=others).reshape(len(poisoned), -1).T  # (unit, pixel)
    for unit in range(len(sight)):
        pixels = sum(1 << int(p) for p in np.flatnonzero(reached[unit if len(reached) > 1 else 0]))
        if pixels != sight.pixels(unit):
            return [f"{name} axis {axis} unit {unit}: NaN reaches {pixels:b}, the set says {sight.pixels(unit):b}"]
    return []


def gradient_faults(network: Network, seed: int, units: int = 3) -> list[str]:
    """Units of the result, drawn by `seed`, whose two-dimensional mask differs from where the gradient is positive."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 1.0, (1, *network.input_shape))
    values = run(network, x)
    result = values[network.output]
    faults = []
    for _ in range(units):
        unit = tuple(int(rng.integers(n)) for n in result.shape[2:])
        at = np.zeros_like(result)
        at[(0, slice(None), *unit)] = 1.0
        dx, _ = gradient(network, values, at)
        place = unit or (0,) * (len(network.input_shape) - 1)
        mask = look(network, network.output, place).mask
        if not np.array_equal(dx[0].max(axis=0) > 0, mask):
            faults.append(f"{network.output} unit {unit}: the gradient reaches other pixels than the mask")
    return faults


def affine_faults(network: Network) -> list[str]:
    """Units whose affine field is not the hull of their exact set, though no padding reaches them."""
    faults = []
    for name, view in views(network).items():
        for axis, one in enumerate(view):
            if one.field is None:
                continue
            for unit in range(len(one.sight)):
                seen, clipped = one.sight.interval(unit), one.field.clipped(unit, one.sight.image)
                inside = seen is None or clipped[0] <= seen[0] <= seen[1] <= clipped[1]
                untouched = one.sight.touches_padding(unit) == (False, False)
                if not inside or (untouched and seen != clipped):
                    faults.append(f"{name} axis {axis} unit {unit}: sees {seen}, the field says {clipped}")
    return faults


def local_faults(network: Network) -> list[str]:
    """Tensors whose local view is not the full view of the same network with its gates taken out."""
    shapes, local = infer_shapes(network), views(network, gates=False)
    nodes = []
    for node in network:
        kept = tuple(name for name in node.inputs if not is_gate(node, name, shapes))
        nodes.append(replace(node, op=Identity(), inputs=kept) if kept != node.inputs else node)
    without = views(replace(network, nodes=tuple(nodes)))
    return [
        f"{name}: the local view is not that of the network without gates"
        for name in local
        if local[name] != without[name]
    ]


def torch_faults(network: Network) -> list[str]:
    """The NaN probe in torch, on rows: units of the result whose set differs. Empty where torch has no such layer."""
    import torch

    from striate.graph.to_torch import to_module

    size = network.input_shape[1]
    probes = torch.ones((size, *network.input_shape), dtype=torch.float64)
    for p in range(size):
        probes[p, :, p] = torch.nan
    try:
        module = to_module(network).double().eval()
    except NetworkError:
        return []
    with torch.no_grad():
        poisoned = module(probes).isnan().numpy()
    sight = views(network)[network.output][0].sight
    return [f"torch: {fault}" for fault in _unlike(network.output, 0, poisoned, sight)]


def faults(network: Network, seed: int) -> list[str]:
    """Everything that is wrong with what is measured of `network`."""
    return [*nan_faults(network), *gradient_faults(network, seed), *affine_faults(network), *local_faults(network)]
