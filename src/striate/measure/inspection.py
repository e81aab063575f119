"""Everything that is exact about a network, layer by layer, as one value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from striate.graph import Network, Node, infer_shapes
from striate.measure.cost import Cost, costs, known_sum, total
from striate.measure.fields import UNKNOWN, View, behind_unknown, gated, walk
from striate.measure.html import page
from striate.measure.layer import Layer, Part, known_fields, padding_share
from striate.measure.memory import peak_activation_bytes
from striate.measure.table import choose, defaults, rows
from striate.measure.text import aligned, bytes_text, listed, ranges, times
from striate.measure.tree import outline
from striate.ops import Flatten, Linear, Shape


@dataclass(frozen=True, slots=True)
class Inspection:
    """A network measured at one input size. Its text is a table; `to_json` gives the same as data.

    peak_activation_bytes: alive at once for one image; training_activation_bytes: kept for its backward pass
    unread: image pixels on each axis that cannot reach the result
    unknown: layers of unknown kind, whose arithmetic is in no total; each total is then at least what it says
    """

    network: str
    input: Shape
    layers: tuple[Layer, ...]
    parameters: int
    macs: int
    macs_on_pixels: int
    flops: int | None
    peak_activation_bytes: int
    training_activation_bytes: int
    moved_bytes: int
    unread: tuple[tuple[int, ...], ...]
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The layers in two parts, features and classifier, and the totals below."""
        return self.table()

    def _repr_html_(self) -> str:
        """The table as HTML, which notebooks show."""
        columns = choose(defaults(self.layers))
        cells = zip(self.layers, rows(self.layers, columns), strict=True)
        return page(f"{self.network}, input {times(self.input)}", columns, list(cells), list(self.totals()))

    def table(self, names: Sequence[str] = (), *, tree: bool = False, depth: int | None = None) -> str:
        """The layers as text.

        names: which columns (`striate.measure.COLUMNS`); tree: grouped by module path, down to `depth` levels.
        Raises: UsageError on an unknown column.
        """
        columns = choose(names or defaults(self.layers))
        layers = list(outline(self.layers, depth)) if tree else self.layers
        grid = aligned([c.head for c in columns], list(rows(layers, columns)), [c.is_number for c in columns])
        rule = max(map(len, grid))
        lines = [f"{self.network}   input {times(self.input)}", "", grid[0]]
        part = ""
        for layer, line in zip(layers, grid[1:], strict=True):
            if layer.part != part and not tree:
                part = layer.part
                lines.append(f"-- {part} ".ljust(rule, "-"))
            lines.append(line)
        return "\n".join([*lines, "-" * rule, *self.totals()])

    @property
    def macs_per_byte(self) -> float | None:
        """Arithmetic intensity of the whole; None where no layer is known."""
        return self.macs / self.moved_bytes if self.moved_bytes else None

    def totals(self) -> Iterator[str]:
        """The lines below the table."""
        padding = self.macs - self.macs_on_pixels
        share = f"{100 * padding / self.macs:.1f} %" if self.macs else "none"
        flops = "not defined for every layer" if self.flops is None else f"{self.flops:,}"
        intensity = "?" if self.macs_per_byte is None else f"{self.macs_per_byte:.1f}"
        least, bound = (">= ", "at least") if self.unknown else ("", "at most")
        yield (
            f"parameters {least}{self.parameters:,}   "
            f"MACs {least}{self.macs:,} an image ({share} of them on zero padding)"
        )
        if self.unknown:
            yield f"not counted, and no field stated behind: {listed(self.unknown)} (of unknown kind)"
        yield f"FLOPs {flops}   MACs per byte moved {'?' if self.unknown else intensity}"
        yield (
            f"activations: {bound} {bytes_text(self.peak_activation_bytes)} alive at once, one image in float32; "
            f"training keeps {bytes_text(self.training_activation_bytes)}"
        )
        for axis, unread in zip(("rows", "columns"), self.unread, strict=False):
            if unread:
                yield f"image {axis} that reach no output: {ranges(unread)}"
        if any(layer.fields != layer.local_fields for layer in self.layers):
            yield "local: the field without what global gates (squeeze-excite) saw; with them every unit sees the image"
        if any(layer.known and known_fields(layer.fields) is None for layer in self.layers):
            yield "?: no affine form; the field shown is what the middle unit sees of the image"

    def to_json(self) -> dict[str, Any]:
        """The measurement as plain data, in the shape that `striate inspect --json` prints."""
        sums = {
            "parameters": self.parameters,
            "macs": self.macs,
            "macs_on_pixels": self.macs_on_pixels,
            "flops": self.flops,
            "peak_activation_bytes": self.peak_activation_bytes,
            "training_activation_bytes": self.training_activation_bytes,
            "moved_bytes": self.moved_bytes,
            "macs_per_byte": self.macs_per_byte,
        }
        return {
            "network": self.network,
            "input": list(self.input),
            "layers": [layer.to_json() for layer in self.layers],
            "totals": {
                **(dict.fromkeys(sums) if self.unknown else sums),
                "unread_pixels": None if self.unknown else [list(u) for u in self.unread],
                "unknown_layers": list(self.unknown),
            },
        }


def inspect_network(network: Network, input_shape: Shape | None = None) -> Inspection:
    """Measure every layer of `network` on one image of `input_shape` (C, H, W); its own size by default.

    Raises: ShapeError that names the layer which the size does not fit.
    """
    shape = tuple(input_shape or network.input_shape)
    layers, unread = _measured(network, shape)
    return Inspection(
        network=network.name,
        input=shape,
        layers=layers,
        parameters=known_sum(layer.parameters for layer in layers),
        macs=known_sum(layer.macs for layer in layers),
        macs_on_pixels=known_sum(layer.macs_on_pixels for layer in layers),
        flops=total(layer.flops for layer in layers),
        peak_activation_bytes=peak_activation_bytes(network, shape),
        training_activation_bytes=known_sum(layer.kept_bytes for layer in layers),
        moved_bytes=known_sum(layer.moved_bytes for layer in layers),
        unread=unread,
        unknown=tuple(node.name for node in network if node.op.kind == UNKNOWN),
    )


def _measured(network: Network, shape: Shape) -> tuple[tuple[Layer, ...], tuple[tuple[int, ...], ...]]:
    """Every layer, and the image pixels on each axis that do not reach the result."""
    shapes, cost, part_of = infer_shapes(network, shape), costs(network, shape), parts(network)
    local = walk(network, shape, gates=False) if gated(network, shape) else None
    uncertain = behind_unknown(network)
    layers: list[Layer] = []
    unread: tuple[tuple[int, ...], ...] = ()
    for node, view in walk(network, shape):
        near = next(local)[1] if local else view
        layer = _layer(node, view, near, cost[node.name], part_of[node.name], shapes)
        layers.append(_unseen(layer) if node.name in uncertain else layer)
        if node.name == network.output and node.name not in uncertain:
            unread = tuple(axis.sight.unread() for axis in view)
    return tuple(layers), unread


def _layer(node: Node, view: View, near: View, cost: Cost, part: Part, shapes: Mapping[str, Shape]) -> Layer:
    """One row. view: what the units see; near: the same without global gates."""
    fields = tuple(axis.field for axis in near)
    units = tuple(len(axis.sight) for axis in near)
    return Layer(
        name=node.name,
        kind=node.op.kind,
        settings=node.op.describe(),
        part=part,
        inputs=node.inputs,
        output=shapes[node.name],
        fields=tuple(axis.field for axis in view),
        local_fields=fields,
        paths=tuple(axis.paths for axis in near),
        seen=tuple(axis.sight.interval(len(axis.sight) // 2) for axis in view),
        padding_share=padding_share(fields, units, tuple(axis.sight.image for axis in near)),
        read=tuple(axis.read_pixels for axis in view),
        parameters=cost.parameters,
        macs=cost.macs,
        macs_on_pixels=cost.macs_on_pixels,
        flops=cost.flops,
        output_bytes=cost.output_bytes,
        kept_bytes=cost.kept_bytes,
        moved_bytes=cost.moved_bytes,
    )


def _unseen(layer: Layer) -> Layer:
    """The row without what it says of the image: an unknown layer stands before it."""
    none = (None,) * len(layer.fields)
    return replace(
        layer, fields=none, local_fields=none, paths=none, seen=none, padding_share=None, read=(), known=False
    )


def parts(network: Network) -> dict[str, Part]:
    """Which part each layer belongs to: the classifier starts where the maps are flattened.

    Without a flattening it starts at the first dense layer; a global pool still belongs to the features. A layer
    that does not read the classifier is a feature, whatever its place in the list.
    """
    starts = Flatten if any(isinstance(node.op, Flatten) for node in network) else Linear
    part_of: dict[str, Part] = {}
    for node in network:
        inside = isinstance(node.op, starts) or any(part_of.get(i) == "classifier" for i in node.inputs)
        part_of[node.name] = "classifier" if inside else "features"
    return part_of
