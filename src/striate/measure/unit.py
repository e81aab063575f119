"""What one unit sees, exactly and in every dimension at once: the set of image pixels that can change it.

The sets of `striate.measure.fields` are exact on each axis, but where branches merge the set of a unit is a union of
boxes: 1x3 beside 3x1 sees a cross, not a square. Here one unit is followed back through the graph as a mask over all
positions: a layer maps the mask of its output to that of its input by  M_in = R_h^T M_out R_w,  where R[i, t] says
whether output i reads input t on that axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.geometry import AxisMap, Field, Pointwise
from striate.graph import INPUT, Network, Node, infer_shapes
from striate.measure.fields import UNKNOWN, View, behind_unknown, is_gate, views
from striate.measure.layer import Interval, field_json, padding_share
from striate.measure.text import pair, times
from striate.ops import Array, Mul, Shape

PICTURE_PX = (40, 72)  # rows and columns of text that a picture may take


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """What one unit of one layer sees of an image.

    unit: its place on each axis of the map; fields: the layer's affine fields (None where there are none)
    reach: first and last px of its field, unclipped; clipped: the same cut at the image; None without affine form
    seen: first and last image px that it sees, on each axis; None if it sees padding alone
    mask: boolean, as large as the image: which pixels can change the unit
    padding_share: the part of its unclipped field that lies outside the image
    touches_padding: on each axis, whether padding before and after the map, of any layer so far, reaches it
    """

    layer: str
    unit: tuple[int, ...]
    units: tuple[int, ...]
    fields: tuple[Field | None, ...]
    reach: tuple[Interval | None, ...]
    clipped: tuple[Interval | None, ...]
    seen: tuple[Interval | None, ...]
    mask: Array
    padding_share: float | None
    touches_padding: tuple[tuple[bool, bool], ...]

    @property
    def pixels(self) -> int:
        """How many image pixels it sees."""
        return int(self.mask.sum())

    @property
    def holes(self) -> int:
        """Pixels of the box around what it sees that it does not see."""
        return prod(0 if s is None else s[1] - s[0] + 1 for s in self.seen) - self.pixels

    def __str__(self) -> str:
        """One fact a line."""
        lines = [f"{self.layer}: unit {', '.join(map(str, self.unit))} of {times(self.units)}"]
        if all(f is not None for f in self.fields):
            known = [f for f in self.fields if f is not None]
            lines.append(
                f"field    {pair([f.size for f in known])} px, jump {pair([f.jump for f in known])}: {_box(self.reach)}"
            )
            lines.append(f"clipped  {_box(self.clipped)}")
        total = self.mask.size
        lines.append(
            f"sees     {_box(self.seen)}: {self.pixels:,} of {total:,} px ({100 * self.pixels / total:.1f} %)"
            + (f", {self.holes:,} holes inside" if self.holes else "")
        )
        if self.padding_share is not None:
            lines.append(f"padding  {100 * self.padding_share:.1f} % of the field lies outside the image")
        return "\n".join([*lines, f"contact with padding: {self._contact()}"])

    def picture(self) -> str:
        """The image as text: # seen, . not, + in part, where one letter stands for several pixels."""
        maps = np.atleast_2d(self.mask)
        step = max(-(-maps.shape[0] // PICTURE_PX[0]), -(-maps.shape[1] // PICTURE_PX[1]), 1)
        lines = [] if step == 1 else [f"one letter = {step}x{step} px"]
        for top in range(0, maps.shape[0], step):
            row = maps[top : top + step]
            lines.append("".join(_letter(row[:, left : left + step]) for left in range(0, maps.shape[1], step)))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, the mask by its box and its number of pixels."""
        return {
            "layer": self.layer,
            "unit": list(self.unit),
            "units": list(self.units),
            "receptive_field": field_json(self.fields),
            "reach": [None if s is None else list(s) for s in self.reach],
            "clipped": [None if s is None else list(s) for s in self.clipped],
            "seen": [None if s is None else list(s) for s in self.seen],
            "pixels_seen": self.pixels,
            "holes": self.holes,
            "padding_share": self.padding_share,
            "touches_padding": [list(t) for t in self.touches_padding],
        }

    def _contact(self) -> str:
        names = (("top", "bottom"), ("left", "right"))
        sides = [
            side
            for touched, pair_ in zip(self.touches_padding, names, strict=False)
            for side, touches in zip(pair_, touched, strict=True)
            if touches
        ]
        return ", ".join(sides) or "none"


def look(
    network: Network,
    layer: str,
    unit: Sequence[int] | None = None,
    input_shape: Shape | None = None,
    *,
    gates: bool = True,
) -> Sighting:
    """What the unit at `unit` (y, x) of `layer` sees; the middle of the map by default.

    gates: with False, what global gates (squeeze-excite) saw is left out.
    Raises: NetworkError on an unknown layer, UsageError on a unit outside the map.
    """
    shape = tuple(input_shape or network.input_shape)
    network.node(layer)
    if layer in behind_unknown(network):
        first = next(node for node in network if node.op.kind == UNKNOWN)
        raise UsageError(f"{layer}: what it sees is not known, since {first.name} before it is of unknown kind")
    view = views(network, shape, gates=gates)[layer]
    units = tuple(len(axis.sight) for axis in view)
    at = tuple(unit) if unit is not None else tuple(n // 2 for n in units)
    if len(at) != len(units) or not all(0 <= i < n for i, n in zip(at, units, strict=True)):
        last = ",".join(str(n - 1) for n in units)
        raise UsageError(
            f"{layer} has {times(units)} units and none at {','.join(map(str, at))}; "
            f"they go from {','.join('0' for _ in units)} to {last}"
        )
    return _sighting(layer, at, view, _mask(network, layer, at, shape, gates))


def _sighting(layer: str, at: tuple[int, ...], view: View, mask: Array) -> Sighting:
    fields = tuple(axis.field for axis in view)
    reach = tuple(None if f is None else _reach(f, i) for f, i in zip(fields, at, strict=True))
    moved = tuple(
        None if f is None else Field(f.size, f.jump, f.start + i * f.jump) for f, i in zip(fields, at, strict=True)
    )
    clipped = tuple(
        None if f is None else f.clipped(i, axis.sight.image) for f, i, axis in zip(fields, at, view, strict=True)
    )
    return Sighting(
        layer=layer,
        unit=at,
        units=tuple(len(axis.sight) for axis in view),
        fields=fields,
        reach=reach,
        clipped=tuple(None if c is None or c[0] > c[1] else c for c in clipped),
        seen=_box_of(mask),
        mask=mask,
        padding_share=padding_share(moved, (1,) * len(at), tuple(axis.sight.image for axis in view)),
        touches_padding=tuple(axis.sight.touches_padding(i) for i, axis in zip(at, view, strict=True)),
    )


def _box_of(mask: Array) -> tuple[Interval | None, ...]:
    """First and last index of the mask on each axis."""
    places = np.nonzero(mask)
    return tuple((int(p.min()), int(p.max())) if len(p) else None for p in places)


def _reach(field: Field, unit: int) -> Interval:
    first = field.start + unit * field.jump
    return first, first + field.size - 1


def _mask(network: Network, layer: str, unit: tuple[int, ...], shape: Shape, gates: bool) -> Array:
    """The image pixels that can change the unit: one backward pass of masks from the layer to the image."""
    shapes = infer_shapes(network, shape)
    start = np.zeros(shapes[layer][1:], bool)
    start[unit if start.ndim else ()] = True
    wanted: dict[str, Array] = {layer: start}
    for node in reversed(network.nodes):
        mask = wanted.pop(node.name, None)
        if mask is None:
            continue
        for name in node.inputs:
            if not gates and is_gate(node, name, shapes):
                continue
            back = _back(node, mask, shapes[name])
            wanted[name] = wanted[name] | back if name in wanted else back
    return wanted.get(INPUT, np.zeros(shape[1:], bool))


def _back(node: Node, mask: Array, shape: Shape) -> Array:
    """The mask over an input of `shape` from the mask over the output."""
    if isinstance(node.op, Mul) and mask.shape != shape[1:]:
        return np.full(shape[1:], mask.any())  # a gate: one value for all positions
    maps = node.op.axis_maps(shape)
    for axis, (along, size) in enumerate(zip(maps, shape[1:], strict=True)):
        if not isinstance(along, Pointwise):
            mask = _back_along(mask, along, size, axis) if mask.ndim == len(maps) else np.full(shape[1:], mask.any())
    return mask


def _back_along(mask: Array, along: AxisMap, size: int, axis: int) -> Array:
    reads = np.zeros((mask.shape[axis], size), np.float32)
    for i in range(mask.shape[axis]):
        reads[i, list(along.reads(i, size))] = 1
    counts = np.tensordot(mask.astype(np.float32), reads, axes=(axis, 0))  # the new axis comes last
    back: Array = np.moveaxis(counts, -1, axis) > 0
    return back


def _letter(block: Array) -> str:
    return "#" if block.all() else "+" if block.any() else "."


def _box(intervals: Sequence[Interval | None]) -> str:
    if any(s is None for s in intervals):
        return "no pixel"
    return " x ".join(
        f"{name} {s[0]}..{s[1]}" for name, s in zip(("rows", "columns", "slices"), intervals, strict=False) if s
    )
