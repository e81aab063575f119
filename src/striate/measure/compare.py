"""Two networks side by side: totals, and cost by the resolution at which it is spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from striate.measure.inspection import Inspection
from striate.measure.layer import Layer, known_fields
from striate.measure.text import aligned, bytes_text, pair, times

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two inspections; the text has a row a total, then a row a map size."""

    left: Inspection
    right: Inspection

    def __str__(self) -> str:
        """Totals with the ratio right / left, then MACs by the size of the maps they are spent on."""
        heads = ("", _name(self.left), _name(self.right), "ratio")
        totals = aligned(heads, [*self._totals(), *self._fields()], [False, True, True, True])
        spent = aligned(("MACs on maps of", "", "", ""), list(self._spent()), [False, True, True, True])
        return "\n".join([*totals, "", *spent])

    def to_json(self) -> dict[str, Any]:
        """Both inspections' totals and MACs by map size."""
        sides = {"left": self.left, "right": self.right}
        return {
            side: {
                "network": found.network,
                "input": list(found.input),
                "totals": found.to_json()["totals"],
                "macs_by_map": {_map(size): macs for size, macs in spent_by_size(found).items()},
            }
            for side, found in sides.items()
        }

    def _totals(self) -> Iterator[Row]:
        yield "layers", f"{len(self.left.layers):,}", f"{len(self.right.layers):,}", ""
        for name in ("parameters", "macs", "macs_on_pixels", "flops"):
            a, b = getattr(self.left, name), getattr(self.right, name)
            shown = ["?" if value is None else f"{value:,}" for value in (a, b)]
            yield TITLES[name], *shown, _ratio(a, b)
        for name in ("peak_activation_bytes", "training_activation_bytes", "moved_bytes"):
            a, b = getattr(self.left, name), getattr(self.right, name)
            yield TITLES[name], bytes_text(a), bytes_text(b), _ratio(a, b)

    def _fields(self) -> Iterator[Row]:
        last = [_last_maps(found) for found in (self.left, self.right)]
        yield "last feature maps", *(times(layer.output) for layer in last), ""
        known = [known_fields(layer.local_fields) for layer in last]
        yield "their field", *("?" if k is None else pair([f.size for f in k]) for k in known), ""
        yield "their jump", *("?" if k is None else pair([f.jump for f in k]) for k in known), ""

    def _spent(self) -> Iterator[Row]:
        a, b = spent_by_size(self.left), spent_by_size(self.right)
        for size in sorted({*a, *b}, reverse=True):
            left, right = a.get(size, 0), b.get(size, 0)
            yield _map(size), f"{left:,}", f"{right:,}", _ratio(left, right)


TITLES = {
    "parameters": "parameters",
    "macs": "MACs",
    "macs_on_pixels": "MACs on pixels",
    "flops": "FLOPs",
    "peak_activation_bytes": "activations alive",
    "training_activation_bytes": "kept for training",
    "moved_bytes": "bytes moved",
}


def compare(left: Inspection, right: Inspection) -> Comparison:
    """The two measurements side by side."""
    return Comparison(left, right)


def spent_by_size(found: Inspection) -> dict[tuple[int, ...], int]:
    """MACs by the spatial size of the layer's result; vectors under ()."""
    spent: dict[tuple[int, ...], int] = {}
    for layer in found.layers:
        if layer.macs:
            spent[layer.output[1:]] = spent.get(layer.output[1:], 0) + layer.macs
    return spent


def _last_maps(found: Inspection) -> Layer:
    wide = [layer for layer in found.layers if len(layer.output) > 1 and max(layer.output[1:]) > 1]
    return (wide or list(found.layers))[-1]


def _map(size: tuple[int, ...]) -> str:
    return times(size) if size else "vectors"


def _name(found: Inspection) -> str:
    short = found.network if len(found.network) <= 32 else f"{found.network[:29]}..."
    return f"{short} ({times(found.input)})"


def _ratio(a: int | None, b: int | None) -> str:
    return f"{b / a:.2f}" if a and b is not None else ""
