"""The receptive field of every unit of a network, twice: in affine form and as exact pixel sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from striate.geometry import AxisMap, Everywhere, Field, Listed, Pointwise, Sight, Whole, step
from striate.graph import INPUT, Network, Node, infer_shapes
from striate.ops import GroupNorm, Move, Mul, Shape

UNKNOWN = "unknown"
"""Kind of a layer of which nothing is known but its output's shape."""

Paths = tuple[int, int]
"""Field sizes in px along the shortest and along the longest path from the image to a unit."""


@dataclass(frozen=True, slots=True)
class AxisView:
    """What the units of one tensor see along one image axis.

    field: size, jump and start, unclipped; None where no affine form exists. A jump of 0: all units see the same
    sight: the exact sets of image pixels
    paths: size over the shortest and the longest path; None where `field` is
    """

    field: Field | None
    sight: Sight
    paths: Paths | None = (1, 1)

    def beside(self, other: AxisView) -> AxisView:
        """Two branches merged: the hull of the fields, the union of the sets. A branch of one unit is spread."""
        size = max(len(self.sight), len(other.sight))
        sight = _spread(self.sight, size).union(_spread(other.sight, size))
        spread = len(self.sight) != len(other.sight)
        if spread or any(view.field is not None and view.field.jump == 0 for view in (self, other)):
            field = _same_for_all(sight)
        else:
            field = None if self.field is None or other.field is None else self.field.merge(other.field)
        if field is None or self.paths is None or other.paths is None:
            return AxisView(field, sight, None)
        if field.jump == 0:
            return AxisView(field, sight, (field.size, field.size))
        shortest, longest = min(self.paths[0], other.paths[0]), max(self.paths[1], other.paths[1])
        return AxisView(field, sight, (shortest, longest))

    @property
    def read_pixels(self) -> int:
        """How many image pixels reach at least one unit."""
        seen = reduce(int.__or__, self.sight.sets)
        return (seen & ((1 << self.sight.image) - 1)).bit_count()


View = tuple[AxisView, ...]
"""One `AxisView` for each axis of the image."""


def views(network: Network, input_shape: Shape | None = None, *, gates: bool = True) -> dict[str, View]:
    """What every tensor of the network sees of an image of `input_shape` (C, H, W), in one pass over its nodes.

    gates: with False, the local view: where maps are multiplied by one value a channel (squeeze-excite), what that
    value saw is left out.
    Cost: one integer OR for every index that a window reads, on each axis. Raises: ShapeError.
    """
    image = tuple(input_shape or network.input_shape)
    return {INPUT: _of_image(image), **{node.name: view for node, view in walk(network, image, gates=gates)}}


def walk(network: Network, input_shape: Shape | None = None, *, gates: bool = True) -> Iterator[tuple[Node, View]]:
    """Node after node with what it sees, as in `views`, keeping only the tensors that are still to be read."""
    shapes = infer_shapes(network, input_shape)
    last_use = {name: node.name for node in network for name in node.inputs}
    alive: dict[str, View] = {INPUT: _of_image(shapes[INPUT])}
    for node in network:
        read = [name for name in node.inputs if gates or not is_gate(node, name, shapes)]
        if node.op.kind == UNKNOWN:
            alive[node.name] = _anything(alive[read[0]], shapes[node.name])
        else:
            merged = _merged([alive[name] for name in read])
            alive[node.name] = _seeing(_through(node, merged, shapes[read[0]], shapes[node.name], local=not gates))
        yield node, alive[node.name]
        for name in {*node.inputs, node.name}:
            if last_use.get(name, node.name) == node.name:
                del alive[name]


def behind_unknown(network: Network) -> set[str]:
    """The layers of unknown kind and all that read them, directly or not: nothing exact can be said of their fields."""
    found: set[str] = set()
    for node in network:
        if node.op.kind == UNKNOWN or not found.isdisjoint(node.inputs):
            found.add(node.name)
    return found


def gated(network: Network, input_shape: Shape | None = None) -> bool:
    """Whether maps are multiplied by values one unit wide, or normalised by whole maps' statistics: see `walk`."""
    shapes = infer_shapes(network, input_shape)
    return any(
        isinstance(node.op, GroupNorm) or any(is_gate(node, name, shapes) for name in node.inputs) for node in network
    )


def is_gate(node: Node, name: str, shapes: Mapping[str, Shape]) -> bool:
    """Whether `node` multiplies wider maps by the tensor `name`, which is one unit wide on every image axis."""
    if not isinstance(node.op, Mul):
        return False
    return max(shapes[name][1:], default=1) == 1 < max(shapes[node.name][1:], default=1)


def _of_image(shape: Shape) -> View:
    return tuple(AxisView(Field(), Sight.of_image(n)) for n in shape[1:])


def _merged(seen: Sequence[View]) -> View:
    if len(seen) == 1:
        return seen[0]
    return tuple(reduce(AxisView.beside, axis) for axis in zip(*seen, strict=True))


def _anything(view: View, shape: Shape) -> View:
    """Units that may see the whole image: all that is certain of an unknown layer."""
    sizes = shape[1:] if len(shape) - 1 == len(view) else (1,) * len(view)
    images = [axis.sight.image for axis in view]
    sights = [Sight(n, ((1 << n) - 1,) * units) for n, units in zip(images, sizes, strict=True)]
    return tuple(AxisView(None, sight, None) for sight in sights)


def _through(node: Node, view: View, shape: Shape, output: Shape, *, local: bool) -> View:
    """What the units of `node` see, whose input of `shape` sees `view`.

    The spatial axes of a tensor are those of the image until a layer moves them or makes more of them. From there on
    its units see what it saw as a whole; where that is one unit (as behind a global pool), nothing is lost by it.
    local: leave out what the statistics of the whole map saw, as for a gate.
    """
    maps = node.op.axis_maps(shape)
    if not maps or all(isinstance(axis, Pointwise) for axis in maps) or (local and _is_statistics(maps)):
        return view  # a layer on vectors too: each of its units sees what the vector sees
    if any(isinstance(axis, Listed) for axis in maps) and isinstance(node.op, Move):
        return _anything(view, output)
    if tuple(len(axis.sight) for axis in view) != shape[1:]:
        return view if all(len(axis.sight) == 1 for axis in view) else _anything(view, output)
    return tuple(_along(one, axis) for one, axis in zip(view, maps, strict=True))


def _seeing(view: View) -> View:
    """A unit sees the pixels whose row and column it sees: where no unit sees a column, none sees a pixel of a row."""
    sights = [axis.sight for axis in view]
    if all(any(sight.pixels(unit) for unit in range(len(sight))) for sight in sights):
        return view
    padding = [tuple(seen >> sight.image << sight.image for seen in sight.sets) for sight in sights]
    return tuple(AxisView(None, Sight(sight.image, sets), None) for sight, sets in zip(sights, padding, strict=True))


def _is_statistics(maps: Sequence[AxisMap]) -> bool:
    return all(isinstance(axis, Everywhere) for axis in maps)


def _along(view: AxisView, axis: AxisMap) -> AxisView:
    sight = view.sight.through(axis)
    if isinstance(axis, Everywhere):
        return AxisView(_same_for_all(sight), sight, None)
    if isinstance(axis, Whole):
        # One unit that reads the whole map: its place is fixed, so its field is stated as the image has it.
        seen = sight.interval(0)
        if view.field is None or seen is None:
            return AxisView(None, sight, None)
        size = seen[1] - seen[0] + 1
        return AxisView(Field(size, view.field.jump, seen[0]), sight, (size, size))
    field = step(view.field, axis, len(view.sight))
    if field is None or view.field is None or view.paths is None:
        return AxisView(field, sight, None)
    short, long = (step(replace(view.field, size=px), axis, len(view.sight)) for px in view.paths)
    return AxisView(field, sight, None if short is None or long is None else (short.size, long.size))


def _same_for_all(sight: Sight) -> Field | None:
    """The field of units that all see the same interval of the image, which no unit's place moves: jump 0."""
    seen = {sight.interval(unit) for unit in range(len(sight))}
    first = seen.pop()
    return None if seen or first is None else Field(first[1] - first[0] + 1, 0, first[0])


def _spread(sight: Sight, size: int) -> Sight:
    return Sight(sight.image, sight.sets * size) if len(sight) == 1 else sight
