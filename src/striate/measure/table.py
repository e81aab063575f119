"""An inspection as a table: its columns, one row each, and the layers as a list or as a tree of module paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from striate.errors import UsageError
from striate.geometry import Field
from striate.measure.layer import Fields, Layer, known_fields
from striate.measure.text import bytes_text, pair, times


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, its text for people, and what it is (shown by `--columns help`)."""

    head: str
    text: Callable[[Layer], str]
    about: str
    is_number: bool = True


def _size(layer: Layer, fields: Fields) -> str:
    if not layer.known:
        return "?"
    known = known_fields(fields)
    if known is not None:
        return pair([f.size for f in known])
    return pair([0 if s is None else s[1] - s[0] + 1 for s in layer.seen]) + "?"


def _of_field(fields: Fields, number: Callable[[Field], int]) -> str:
    known = known_fields(fields)
    return "?" if known is None else pair([number(f) for f in known])


def _path(layer: Layer, which: int) -> str:
    known = [p for p in layer.paths if p is not None]
    return pair([p[which] for p in known]) if len(known) == len(layer.paths) else "?"


def _seen(layer: Layer) -> str:
    return " x ".join("none" if s is None else f"{s[0]}..{s[1]}" for s in layer.seen)


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}" if value else ""


def _output(layer: Layer) -> str:
    return times(layer.output) if layer.has_shape else "?"


def _ratio(ratio: float | None) -> str:
    return "?" if ratio is None else f"{ratio:.1f}"


def _share(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f} %"


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "layer": Column("layer", lambda r: r.name, "its name", is_number=False),
        "kind": Column("kind", lambda r: f"{r.kind} {r.settings}".strip(), "what it is, its settings", is_number=False),
        "inputs": Column("inputs", lambda r: " ".join(r.inputs), "the layers it reads", is_number=False),
        "output": Column("output", _output, "shape of its result", is_number=False),
        "field": Column("field", lambda r: _size(r, r.fields), "image px that one unit sees, unclipped"),
        "jump": Column("jump", lambda r: _of_field(r.fields, lambda f: f.jump), "image px between neighbouring units"),
        "start": Column("start", lambda r: _of_field(r.fields, lambda f: f.start), "first image px of unit 0"),
        "local": Column("local", lambda r: _size(r, r.local_fields), "the field without what global gates saw"),
        "local-jump": Column("local jump", lambda r: _of_field(r.local_fields, lambda f: f.jump), "its jump"),
        "local-start": Column("local start", lambda r: _of_field(r.local_fields, lambda f: f.start), "its start"),
        "shortest": Column("shortest", lambda r: _path(r, 0), "field along the shortest path through the network"),
        "longest": Column("longest", lambda r: _path(r, 1), "field along the longest path through the network"),
        "seen": Column("seen", _seen, "image rows and columns that the middle unit sees, clipped"),
        "padding": Column("padding", lambda r: _share(r.padding_share), "mean part of the field outside the image"),
        "read": Column("read", lambda r: pair(r.read), "image rows and columns that reach at least one unit"),
        "parameters": Column("parameters", lambda r: _count(r.parameters), "learnable numbers, shared ones once"),
        "macs": Column("MACs", lambda r: _count(r.macs), "multiply-accumulates for one image"),
        "pixel-macs": Column("pixel MACs", lambda r: _count(r.macs_on_pixels), "those that meet no zero padding"),
        "flops": Column("FLOPs", lambda r: _count(r.flops), "2 MACs + elementwise operations"),
        "bytes": Column("bytes", lambda r: bytes_text(r.output_bytes), "its result in float32"),
        "training": Column("training", lambda r: bytes_text(r.kept_bytes), "what the backward pass needs of it"),
        "moved": Column("moved", lambda r: bytes_text(r.moved_bytes), "inputs, weights and result, each once"),
        "intensity": Column("MACs/byte", lambda r: _ratio(r.macs_per_byte), "MACs for each byte moved"),
    }
)
"""Every column that a table can have, by the name that selects it."""

DEFAULT = ("layer", "kind", "output", "field", "jump", "start", "parameters", "macs")
GATED = ("layer", "kind", "output", "local", "local-jump", "local-start", "field", "parameters", "macs")


def choose(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns called `names`.  Raises: UsageError."""
    if unknown := [name for name in names if name not in COLUMNS]:
        raise UsageError(f"no column is called {', '.join(unknown)}; the columns are {', '.join(COLUMNS)}")
    return tuple(COLUMNS[name] for name in names)


def defaults(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The columns shown unless told: with global gates, the field without them comes first."""
    return DEFAULT if all(layer.fields == layer.local_fields for layer in layers) else GATED


def rows(layers: Sequence[Layer], columns: Sequence[Column]) -> Iterator[list[str]]:
    """The texts of each layer."""
    for layer in layers:
        yield [column.text(layer) for column in columns]
