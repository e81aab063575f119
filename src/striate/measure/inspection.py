"""Everything that is exact about a network, layer by layer, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from striate.geometry import Field
from striate.graph import Network, infer_shapes
from striate.measure.cost import costs, peak_activation_bytes
from striate.measure.fields import views
from striate.measure.text import bytes_text, columns, pair, ranges, times
from striate.ops import Flatten, Linear, Shape

HEADS = ("layer", "kind", "output", "field", "jump", "start", "parameters", "MACs")
Part = Literal["features", "classifier"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One row: where the layer stands, what it makes, what its units see, what it costs for one image.

    fields: one `Field` an image axis, None where it has no affine form
    seen: for the unit in the middle of the map, first and last image pixel on each axis, clipped by the image
    """

    name: str
    kind: str
    settings: str
    part: Part
    output: Shape
    fields: tuple[Field | None, ...]
    seen: tuple[tuple[int, int] | None, ...]
    parameters: int
    macs: int
    macs_on_pixels: int
    output_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "settings": self.settings,
            "part": self.part,
            "output": list(self.output),
            "receptive_field": _field_json(self.fields),
            "seen_from_centre": [None if s is None else list(s) for s in self.seen],
            "parameters": self.parameters,
            "macs": self.macs,
            "macs_on_pixels": self.macs_on_pixels,
            "output_bytes": self.output_bytes,
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """A network measured at one input size. Its text is a table; `to_json` gives the same as data.

    unread: image pixels on each axis that cannot reach the result
    """

    network: str
    input: Shape
    layers: tuple[Layer, ...]
    parameters: int
    macs: int
    macs_on_pixels: int
    peak_activation_bytes: int
    unread: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        """The layers in two parts, features and classifier, and the totals below."""
        grid = columns(HEADS, [_cells(layer) for layer in self.layers], flush_right_from=3)
        rule = max(map(len, grid))
        lines = [f"{self.network}   input {times(self.input)}", "", grid[0]]
        part = ""
        for layer, line in zip(self.layers, grid[1:], strict=True):
            if layer.part != part:
                part = layer.part
                lines.append(f"-- {part} ".ljust(rule, "-"))
            lines.append(line)
        return "\n".join([*lines, "-" * rule, *_totals(self)])

    def to_json(self) -> dict[str, Any]:
        """The measurement as plain data, in the shape that `striate inspect --json` prints."""
        return {
            "network": self.network,
            "input": list(self.input),
            "layers": [layer.to_json() for layer in self.layers],
            "totals": {
                "parameters": self.parameters,
                "macs": self.macs,
                "macs_on_pixels": self.macs_on_pixels,
                "peak_activation_bytes": self.peak_activation_bytes,
                "unread_pixels": [list(u) for u in self.unread],
            },
        }


def inspect_network(network: Network, input_shape: Shape | None = None) -> Inspection:
    """Measure every layer of `network` on one image of `input_shape` (C, H, W); its own size by default.

    Raises: ShapeError that names the layer which the size does not fit.
    """
    shapes, cost = infer_shapes(network, input_shape), costs(network, input_shape)
    seen, part_of = views(network, input_shape), parts(network)
    layers = []
    for node in network:
        view, c = seen[node.name], cost[node.name]
        layers.append(
            Layer(
                name=node.name,
                kind=node.op.kind,
                settings=node.op.describe(),
                part=part_of[node.name],
                output=shapes[node.name],
                fields=tuple(axis.field for axis in view),
                seen=tuple(axis.sight.interval(len(axis.sight) // 2) for axis in view),
                parameters=c.parameters,
                macs=c.macs,
                macs_on_pixels=c.macs_on_pixels,
                output_bytes=c.output_bytes,
            )
        )
    return Inspection(
        network=network.name,
        input=tuple(input_shape or network.input_shape),
        layers=tuple(layers),
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        macs_on_pixels=sum(layer.macs_on_pixels for layer in layers),
        peak_activation_bytes=peak_activation_bytes(network, input_shape),
        unread=tuple(axis.sight.unread() for axis in seen[network.output]),
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


def _field_json(fields: tuple[Field | None, ...]) -> dict[str, list[int]] | None:
    known = [f for f in fields if f is not None]
    if len(known) != len(fields):
        return None
    return {"size": [f.size for f in known], "jump": [f.jump for f in known], "start": [f.start for f in known]}


def _cells(layer: Layer) -> tuple[str, ...]:
    known = [f for f in layer.fields if f is not None]
    field = (
        (pair([f.size for f in known]), pair([f.jump for f in known]), pair([f.start for f in known]))
        if len(known) == len(layer.fields)
        else (pair([0 if s is None else s[1] - s[0] + 1 for s in layer.seen]), "?", "?")
    )
    return (
        layer.name,
        f"{layer.kind} {layer.settings}".strip(),
        times(layer.output),
        *field,
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.macs:,}" if layer.macs else "",
    )


def _totals(inspection: Inspection) -> list[str]:
    padding = inspection.macs - inspection.macs_on_pixels
    share = f"{100 * padding / inspection.macs:.1f} %" if inspection.macs else "none"
    lines = [
        f"parameters {inspection.parameters:,}   MACs {inspection.macs:,} an image ({share} of them on zero padding)",
        f"activations: at most {bytes_text(inspection.peak_activation_bytes)} alive at once, one image in float32",
    ]
    for axis, unread in zip(("rows", "columns"), inspection.unread, strict=False):
        if unread:
            lines.append(f"image {axis} that reach no output: {ranges(unread)}")
    if any(f is None for layer in inspection.layers for f in layer.fields):
        lines.append("?: no affine form; the field shown is what the middle unit sees of the image")
    return lines
