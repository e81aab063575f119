"""The layers of a network grouped by module path: `layer1.0.conv1` stands in `0`, which stands in `layer1`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from striate.measure.cost import total
from striate.measure.layer import Layer

INDENT = "  "


def outline(layers: Sequence[Layer], depth: int | None = None) -> Iterator[Layer]:
    """The layers with a row above each group, indented by level; the last level shown stands for all below it.

    A group's row has the output and the field of its last layer, and the sums of its layers' costs.
    """
    yield from _level([(layer, layer.name.split(".")) for layer in layers], 0, depth)


def _level(items: Sequence[tuple[Layer, list[str]]], level: int, depth: int | None) -> Iterator[Layer]:
    for name, group in groupby(items, key=lambda item: item[1][level]):
        members = list(group)
        if all(len(path) == level + 1 for _, path in members):
            yield from (replace(layer, name=INDENT * level + name) for layer, _ in members)
            continue
        yield _group([layer for layer, _ in members], INDENT * level + name)
        if depth is None or level + 1 < depth:
            # A layer called like its own group stands in it under its last name.
            inner = [(layer, path if len(path) > level + 1 else [*path, path[-1]]) for layer, path in members]
            yield from _level(inner, level + 1, depth)


def _group(layers: Sequence[Layer], name: str) -> Layer:
    return replace(
        layers[-1],
        name=name,
        kind=f"{len(layers)} layers",
        settings="",
        inputs=layers[0].inputs,
        parameters=total(layer.parameters for layer in layers),
        macs=total(layer.macs for layer in layers),
        macs_on_pixels=total(layer.macs_on_pixels for layer in layers),
        flops=total(layer.flops for layer in layers),
        kept_bytes=total(layer.kept_bytes for layer in layers),
        moved_bytes=total(layer.moved_bytes for layer in layers),
    )
