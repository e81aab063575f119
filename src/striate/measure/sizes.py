"""One network at many image sizes: what comes out, what is dropped, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from striate.errors import NotationError, ShapeError
from striate.geometry import Window
from striate.graph import Network, Node, infer_shapes
from striate.measure.inspection import Inspection, inspect_network
from striate.measure.text import aligned, bytes_text, pair, times
from striate.ops import Shape

HEADS = (
    "input",
    "last maps",
    "MACs",
    "on padding",
    "parameters",
    "activations",
    "unread px",
    "rows x columns dropped by",
)


@dataclass(frozen=True, slots=True)
class Size:
    """The network on one image size.

    maps: shape of the last feature maps
    dropped: (layer, units on each axis) where the last units of a map are read by no layer; the layer is one that
        should have
    unread: how many image rows and columns reach no output
    fault: why the network does not fit this size; everything else is then empty
    """

    input: Shape
    maps: Shape = ()
    macs: int = 0
    macs_on_pixels: int = 0
    parameters: int = 0
    peak_activation_bytes: int = 0
    unread: tuple[int, ...] = ()
    dropped: tuple[tuple[str, tuple[int, ...]], ...] = ()
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "input": list(self.input),
            "maps": list(self.maps),
            "macs": self.macs,
            "macs_on_pixels": self.macs_on_pixels,
            "parameters": self.parameters,
            "peak_activation_bytes": self.peak_activation_bytes,
            "unread_pixels": list(self.unread),
            "dropped": [{"layer": name, "units": list(lost)} for name, lost in self.dropped],
            "fault": self.fault or None,
        }


def over_sizes(make: Callable[[Shape], Network], shapes: Iterable[Shape]) -> tuple[Size, ...]:
    """The network that `make` gives for each image shape, measured there; a size that does not fit says why."""
    return tuple(_at(make, shape) for shape in shapes)


def _at(make: Callable[[Shape], Network], shape: Shape) -> Size:
    try:
        network = make(shape)
        found = inspect_network(network, shape)
    except (ShapeError, NotationError) as fault:
        return Size(shape, fault=str(fault).splitlines()[0])
    return Size(
        input=shape,
        maps=_last_maps(found),
        macs=found.macs,
        macs_on_pixels=found.macs_on_pixels,
        parameters=found.parameters,
        peak_activation_bytes=found.peak_activation_bytes,
        unread=tuple(len(axis) for axis in found.unread),
        dropped=tuple(_dropped(network, shape)),
    )


def _last_maps(found: Inspection) -> Shape:
    maps = [layer.output for layer in found.layers if len(layer.output) > 1 and max(layer.output[1:]) > 1]
    return maps[-1] if maps else found.layers[-1].output


def _dropped(network: Network, shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors with units at an end that none of their readers reads; named by the first reader."""
    shapes = infer_shapes(network, shape)
    for name, readers in network.consumers().items():
        if name == network.output or not readers:
            continue
        axes = zip(*(_unread(node, shapes[name]) for node in readers), strict=True)
        if any(lost := tuple(min(axis) for axis in axes)):
            yield readers[0].name, lost


def _unread(node: Node, shape: Shape) -> tuple[int, ...]:
    """Units at the end of each axis of an input of `shape` that `node` does not read."""
    maps = node.op.axis_maps(shape)
    return tuple(w.unread_at_end(n) if isinstance(w, Window) else 0 for w, n in zip(maps, shape[1:], strict=True))


def sizes_table(name: str, sizes: Sequence[Size]) -> str:
    """The sizes as text, one row each; faults below."""
    fits = [size for size in sizes if not size.fault]
    lines = [name, ""]
    if fits:
        lines += aligned(HEADS, [_cells(size) for size in fits], [False, False, *[True] * 5, False])
    lines += [f"{times(size.input)}: {size.fault}" for size in sizes if size.fault]
    return "\n".join(lines)


def _cells(size: Size) -> tuple[str, ...]:
    padding = size.macs - size.macs_on_pixels
    by = [f"{name} {times(lost)}" for name, lost in size.dropped]
    return (
        times(size.input),
        times(size.maps),
        f"{size.macs:,}",
        f"{100 * padding / size.macs:.1f} %" if size.macs else "",
        f"{size.parameters:,}",
        bytes_text(size.peak_activation_bytes),
        pair(size.unread) if any(size.unread) else "",
        ", ".join(by[:3]) + (f" and {len(by) - 3} more" if len(by) > 3 else ""),
    )
