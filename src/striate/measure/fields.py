"""The receptive field of every unit of a network, twice: in affine form and as exact pixel sets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from striate.geometry import AxisMap, Field, Sight, Whole, step
from striate.graph import INPUT, Network, Node, infer_shapes
from striate.ops import Shape


@dataclass(frozen=True, slots=True)
class AxisView:
    """What the units of one tensor see along one image axis.

    field: size, jump and start, unclipped; None where no affine form exists
    sight: the exact sets of image pixels
    """

    field: Field | None
    sight: Sight

    def beside(self, other: AxisView) -> AxisView:
        """Two branches merged: the hull of the fields, the union of the sets. A branch of one unit is spread."""
        fields = None if self.field is None or other.field is None else self.field.merge(other.field)
        size = max(len(self.sight), len(other.sight))
        if len(self.sight) != len(other.sight):
            fields = None
        return AxisView(fields, _spread(self.sight, size).union(_spread(other.sight, size)))


View = tuple[AxisView, ...]
"""One `AxisView` for each axis of the image."""


def views(network: Network, input_shape: Shape | None = None) -> dict[str, View]:
    """What every tensor of the network sees of an image of `input_shape` (C, H, W), in one pass over its nodes.

    Cost: one integer OR for every index that a window reads, on each axis. Raises: ShapeError.
    """
    shapes = infer_shapes(network, input_shape)
    seen: dict[str, View] = {INPUT: tuple(AxisView(Field(), Sight.of_image(n)) for n in shapes[INPUT][1:])}
    for node in network:
        merged = tuple(reduce(AxisView.beside, axis) for axis in zip(*(seen[i] for i in node.inputs), strict=True))
        seen[node.name] = _through(node, merged, shapes[node.inputs[0]])
    return seen


def _through(node: Node, view: View, shape: Shape) -> View:
    maps = node.op.axis_maps(shape)
    if not maps:
        return view  # a layer on vectors: each of its units sees what the vector sees
    return tuple(_along(one, axis) for one, axis in zip(view, maps, strict=True))


def _along(view: AxisView, axis: AxisMap) -> AxisView:
    sight = view.sight.through(axis)
    field = step(view.field, axis, len(view.sight))
    if isinstance(axis, Whole) and view.field is not None and (seen := sight.interval(0)):
        # One unit that reads the whole map: its place is fixed, so its field is stated as the image has it.
        field = Field(seen[1] - seen[0] + 1, view.field.jump, seen[0])
    return AxisView(field, sight)


def _spread(sight: Sight, size: int) -> Sight:
    return Sight(sight.image, sight.sets * size) if len(sight) == 1 else sight
