"""The effective receptive field: which pixels the middle unit of a layer really listens to.

    g(p) = average over images of sum over c of |d (sum over o of y_o[middle]) / d x_c[p]|,  scaled to sum 1

Source: Luo, Li, Urtasun, Zemel 2016, sec. 2 (arXiv:1701.04128). Shares are linear, nothing is clipped or logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.errors import NetworkError
from striate.graph import Network, infer_shapes
from striate.measure import AxisView, views
from striate.measure.text import aligned, times
from striate.ops import Array
from striate.probe.running import NO_MAPS, batches, gradients, map_layers, ready

SHARES = (0.5, 0.9, 0.95)
IMAGES = 8
MOST_LAYERS = 12


@dataclass(frozen=True, slots=True, eq=False)
class EffectiveField:
    """The middle unit of one layer.

    share: (H, W), sums to 1, or is 0 where no gradient arrives
    boxes: for each of `SHARES`, the shortest interval (first, last px) of each axis whose rows or columns hold it
    pixels: for each, the fewest pixels that hold it
    theoretical: (first, last px) of each axis, clipped by the image; None where the unit sees padding only
    """

    layer: str
    unit: tuple[int, ...]
    share: Array
    boxes: tuple[tuple[tuple[int, int], ...], ...]
    pixels: tuple[int, ...]
    theoretical: tuple[tuple[int, int] | None, ...]

    def sides(self, i: int) -> tuple[int, ...]:
        """Height and width in px of the box of `SHARES[i]`."""
        return tuple(last - first + 1 for first, last in self.boxes[i])

    @property
    def seen(self) -> tuple[int, ...]:
        """Height and width in px of the theoretical field."""
        return tuple(0 if t is None else t[1] - t[0] + 1 for t in self.theoretical)

    def to_json(self) -> dict[str, Any]:
        """Sizes, without the picture."""
        shares = {
            f"{share:g}": {"box_px": list(self.sides(i)), "pixels": self.pixels[i]}
            for i, share in enumerate(SHARES if self.boxes else ())
        }
        return {"layer": self.layer, "unit": list(self.unit), "theoretical_px": list(self.seen), "shares": shares}


@dataclass(frozen=True, slots=True)
class ReceptiveFieldProbe:
    """Effective beside theoretical fields, averaged over `images` images."""

    network: str
    images: int
    layers: tuple[EffectiveField, ...]
    why_not: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line a layer: the theoretical field, and the box of each share."""
        heads = ("layer", "sees, px", *(f"{100 * share:.0f} % box" for share in SHARES), "95 % pixels, of field")
        rows = [_row(layer) for layer in self.layers]
        text = aligned(heads, rows, (False, *(True,) * 5)) if rows else []
        return [*text, *self._reading(), *(f"not measured: {why}" for why in self.why_not)]

    def _reading(self) -> list[str]:
        if not self.layers or not self.layers[-1].boxes:
            return []
        last = self.layers[-1]
        return [
            (
                f"a unit of {last.layer} can see {times(last.seen)} px; 95 % of its gradient comes from "
                f"{last.pixels[-1]:,} of those {int(np.prod(last.seen)):,}"
            )
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        layers = [layer.to_json() for layer in self.layers]
        return {"probe": "receptive-field", "images": self.images, "layers": layers, "why_not": list(self.why_not)}


def receptive_field(network: Network, images: Array, layers: Sequence[str] = ()) -> ReceptiveFieldProbe:
    """Measure `layers`, by default those whose field or map differs from the layer before, on the first 8 images.

    Shapes: images (N, C, H, W).  Raises: NetworkError.
    """
    network, images, hidden = ready(network, images[:IMAGES])
    seen, maps = views(network), map_layers(network)
    if not maps:
        return ReceptiveFieldProbe(network.name, len(images), (), (NO_MAPS, *hidden))
    if unknown := set(layers) - set(maps):
        raise NetworkError(f"{network.name}: {min(unknown)!r} is no layer of maps; use one of {', '.join(maps)}")
    chosen = tuple(layers) or _chosen(maps, seen)
    shapes = infer_shapes(network)
    units = {layer: tuple(n // 2 for n in shapes[layer][1:]) for layer in chosen}
    totals = {layer: np.zeros(images.shape[2:]) for layer in chosen}
    for x in batches(network, images):
        seeds = {layer: _seed((len(x), *shapes[layer]), units[layer], x.dtype) for layer in chosen}
        for layer, grad in gradients(network, x, seeds).items():
            totals[layer] += np.abs(grad, dtype=np.float64).sum(axis=(0, 1))
    found = tuple(_field(layer, units[layer], totals[layer], seen[layer]) for layer in chosen)
    why = tuple(f"{one.layer}: no gradient arrives at the image" for one in found if not one.boxes)
    return ReceptiveFieldProbe(network.name, len(images), found, (*why, *hidden))


def shortest_interval(profile: Array, share: float) -> tuple[int, int]:
    """First and last index of the shortest run that holds `share` of the profile's sum; the first of equals."""
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    need = share * sums[-1] * (1 - 1e-12)  # so that a share reached exactly is reached in floating point too
    best = (0, len(profile) - 1)
    for first in range(len(profile)):
        last = int(np.searchsorted(sums, sums[first] + need)) - 1
        if last < len(profile) and last - first < best[1] - best[0]:
            best = (first, max(first, last))
    return best


def _chosen(maps: Sequence[str], seen: dict[str, tuple[AxisView, ...]]) -> tuple[str, ...]:
    """The last layer of each theoretical field; thinned evenly where they are many, the last always among them."""
    last_of = {tuple(view.sight.sets for view in seen[layer]): layer for layer in maps}
    layers = sorted(last_of.values(), key=maps.index)
    picks = np.unique(np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS)).round().astype(int))
    return tuple(layers[i] for i in picks)


def _seed(shape: tuple[int, ...], unit: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    seed = np.zeros(shape, dtype)
    seed[:, :, unit[0], unit[1]] = 1
    return seed


def _field(layer: str, unit: tuple[int, ...], total: Array, view: tuple[AxisView, ...]) -> EffectiveField:
    theoretical = tuple(axis.sight.interval(i) for axis, i in zip(view, unit, strict=True))
    if not total.sum() > 0:
        return EffectiveField(layer, unit, total, (), (), theoretical)
    share = total / total.sum()
    profiles = (share.sum(axis=1), share.sum(axis=0))
    boxes = tuple(tuple(shortest_interval(profile, s) for profile in profiles) for s in SHARES)
    largest_first = np.cumsum(np.sort(share, axis=None)[::-1])
    pixels = tuple(int(np.searchsorted(largest_first, s * (1 - 1e-12))) + 1 for s in SHARES)
    return EffectiveField(layer, unit, share, boxes, pixels, theoretical)


def _row(layer: EffectiveField) -> tuple[str, ...]:
    if not layer.boxes:
        return (layer.layer, times(layer.seen), "-", "-", "-", "-")
    area = 100 * layer.pixels[-1] / max(1, int(np.prod(layer.seen)))
    return (layer.layer, times(layer.seen), *(times(layer.sides(i)) for i in range(3)), f"{area:.0f} %")
