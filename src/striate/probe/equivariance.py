"""Does shifting the image shift the feature maps? The error against the shift, and for turns, flips and scaling.

For a shift of d px down and right, unit i of f(shifted x) is compared with unit i - d/j of f(x), j being the jump:

    error = RMS(f(shift x) - shift f(x)) / RMS(f(x))

Where d is a multiple of j, units whose fields hold moved pixels only and touch no padding must agree: what is left
is rounding. At the other units it is padding and what came in; at other shifts it is aliasing, with the part of a unit
(at most half) by which the nearest whole one misses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from striate.errors import GeometryError, NetworkError, ShapeError
from striate.graph import Network, infer_shapes
from striate.measure import AxisView, views
from striate.measure.text import aligned
from striate.ops import Array
from striate.probe.running import NO_MAPS, map_layers, ready, tensors, up_to, visit

SHIFTS = (1, 2, 3, 4, 8, 16)
IMAGES = 8
UP = 2

Transform = Callable[[Array], Array]
TURNS: Mapping[str, Transform] = MappingProxyType({
    "rotated 90": lambda x: np.rot90(x, axes=(2, 3)),
    "flipped left-right": lambda x: x[..., ::-1],
    "flipped up-down": lambda x: x[..., ::-1, :],
    f"scaled x{UP}": lambda x: x.repeat(UP, axis=2).repeat(UP, axis=3),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShiftError:
    """One layer at one shift: relative RMS errors, None where there is no such unit.

    interior: rounding where `whole` (the shift is a multiple of the jump), else aliasing; units: how many a channel
    border: at units that see padding or pixels that came in, and only at whole shifts: the padding
    """

    layer: str
    shift_px: int
    whole: bool
    units: int
    interior: float | None
    border: float | None


@dataclass(frozen=True, slots=True)
class TurnError:
    """One layer under a turn, flip or scaling: RMS(f(g x) - g f(x)) / RMS(f(x)) over the whole map."""

    layer: str
    transform: str
    error: float


@dataclass(frozen=True, slots=True)
class EquivarianceProbe:
    """All layers of feature maps, over `images` images; `jumps`: px of input between units."""

    network: str
    images: int
    jumps: Mapping[str, int]
    shifts: tuple[ShiftError, ...]
    turns: tuple[TurnError, ...]
    why_not: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line a layer: the worst of each kind, then turns and flips, and a reading."""
        turns = list(dict.fromkeys(turn.transform for turn in self.turns))
        heads = ("layer", "jump", "rounding", "padding", "aliasing", *turns)
        rows = [self._row(layer, turns) for layer in self.jumps]
        text = aligned(heads, rows, (False, *(True,) * (len(heads) - 1))) if rows else []
        return [*text, *self._reading(), *(f"not measured: {why}" for why in self.why_not)]

    def worst(self, layer: str) -> tuple[float | None, float | None, float | None]:
        """Rounding, padding and aliasing: the largest over the shifts."""
        mine = [one for one in self.shifts if one.layer == layer]
        return (
            _largest([one.interior for one in mine if one.whole]),
            _largest([one.border for one in mine if one.whole]),
            _largest([one.interior for one in mine if not one.whole]),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "probe": "equivariance", "images": self.images, "jumps": dict(self.jumps),
            "shifts": [asdict(one) for one in self.shifts], "turns": [asdict(one) for one in self.turns],
            "why_not": list(self.why_not),
        }  # fmt: skip

    def _row(self, layer: str, turns: Sequence[str]) -> tuple[str, ...]:
        turned = {one.transform: one.error for one in self.turns if one.layer == layer}
        cells = (*self.worst(layer), *(turned.get(name) for name in turns))
        return (layer, str(self.jumps[layer]), *("-" if c is None else f"{c:.2g}" for c in cells))

    def _reading(self) -> list[str]:
        worst = [self.worst(layer) for layer in self.jumps]
        rounding, padding, aliasing = (_largest([row[k] for row in worst]) for k in range(3))
        said = []
        if rounding is not None:
            rest = f", but for rounding of {rounding:.1g}" if rounding else ""
            said.append(f"away from the border, shifts by whole units move the maps exactly{rest}")
        if padding is not None:
            said.append(f"at the border, padding and what came in change them by up to {100 * padding:.0f} %")
        if aliasing is not None:
            said.append(f"shifts between whole units change them by up to {100 * aliasing:.0f} %")
        return said


def equivariance(network: Network, images: Array, shifts: Sequence[int] = SHIFTS) -> EquivarianceProbe:
    """Measure every layer of feature maps that has an affine field, on the first 8 images.

    Shapes: images (N, C, H, W).  Raises: NetworkError.
    """
    network, images, hidden = ready(network, images[:IMAGES])
    if images.ndim != 4:
        raise NetworkError(f"{network.name}: shifts need images (N, C, H, W), got {images.shape}")
    maps = map_layers(network)
    if not maps:
        return EquivarianceProbe(network.name, len(images), {}, (), (), (NO_MAPS, *hidden))
    network = _spatial(network, maps)
    seen = views(network)
    jumps, why = _jumps(maps, seen)
    before = tensors(network, images, jumps)
    found = []
    for shift in (s for s in shifts if s < min(images.shape[2:])):
        for layer, after in visit(network, moved(images, shift)):
            if layer in jumps:
                found.append(_shift_error(layer, seen[layer], before[layer], after, shift))
    turns, more = _turns(network, images, before)
    return EquivarianceProbe(network.name, len(images), jumps, tuple(found), turns, (*why, *more, *hidden))


def _spatial(network: Network, maps: Sequence[str]) -> Network:
    """The network up to its last map, where that depends on all the others: what follows takes one size only."""
    part = up_to(network, maps[-1])
    return part if {node.name for node in part} >= set(maps) else network


def moved(x: Array, shift: int) -> Array:
    """Images `shift` px down and right; zeros come in."""
    result = np.zeros_like(x)
    result[..., shift:, shift:] = x[..., : x.shape[2] - shift, : x.shape[3] - shift]
    return result


def _jumps(maps: Sequence[str], seen: Mapping[str, tuple[AxisView, ...]]) -> tuple[dict[str, int], tuple[str, ...]]:
    jumps, why = {}, []
    for layer in maps:
        found = {None if view.field is None else view.field.jump for view in seen[layer]}
        jump = found.pop()
        if found or jump is None or jump == 0:
            why.append(f"{layer}: its units have no single jump")
        else:
            jumps[layer] = jump
    return jumps, tuple(why)


def _shift_error(layer: str, view: tuple[AxisView, ...], before: Array, after: Array, shift: int) -> ShiftError:
    jump = view[0].field.jump  # type: ignore[union-attr] # measured only where there is a field
    steps, whole = (2 * shift + jump) // (2 * jump), shift % jump == 0
    rows, columns = before.shape[2] - steps, before.shape[3] - steps
    if min(rows, columns) < 1:
        return ShiftError(layer, shift, whole, 0, None, None)
    was, now = before[:, :, :rows, :columns], after[:, :, steps:, steps:]
    inside = np.outer(*(_interior(axis, shift, steps) for axis in view))
    size = np.sqrt(np.mean(np.square(was, dtype=np.float64))) or 1.0
    squares = np.square(now - was, dtype=np.float64).mean(axis=(0, 1))
    interior = float(np.sqrt(squares[inside].mean()) / size) if inside.any() else None
    border = float(np.sqrt(squares[~inside].mean()) / size) if whole and not inside.all() else None
    return ShiftError(layer, shift, whole, int(inside.sum()), interior, border)


def _interior(view: AxisView, shift: int, steps: int) -> Array:
    """For each compared pair of units along an axis, whether both see only pixels that moved, and no padding."""
    sight = view.sight
    inside = []
    for unit in range(steps, len(sight)):
        now, was = sight.interval(unit), sight.interval(unit - steps)
        clean = not any((*sight.touches_padding(unit), *sight.touches_padding(unit - steps)))
        inside.append(clean and now is not None and was is not None and now[0] >= shift)
    return np.array(inside, bool)


def _turns(
    network: Network, images: Array, before: Mapping[str, Array]
) -> tuple[tuple[TurnError, ...], tuple[str, ...]]:
    found, why = [], []
    for name, turn in TURNS.items():
        image = turn(images)
        shape = image.shape[1:]
        try:
            sizes = infer_shapes(network, shape)
        except (ShapeError, GeometryError) as fault:
            why.append(f"{name}: the network takes one size only ({fault})")
            continue
        same = {layer for layer in before if sizes[layer] == turn(before[layer]).shape[1:]}
        for layer, after in visit(network, np.ascontiguousarray(image)):
            if layer in same:
                found.append(TurnError(layer, name, _relative(after, turn(before[layer]))))
    order = {layer: i for i, layer in enumerate(before)}
    return tuple(sorted(found, key=lambda one: order[one.layer])), tuple(why)


def _relative(got: Array, want: Array) -> float:
    size = np.sqrt(np.mean(np.square(want, dtype=np.float64))) or 1.0
    return float(np.sqrt(np.mean(np.square(got - want, dtype=np.float64))) / size)


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
