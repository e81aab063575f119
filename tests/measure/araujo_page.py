"""docs/receptive-fields.md, written from what striate measures.

usage, from the repository's root: PYTHONPATH=tests .venv/bin/python tests/measure/araujo_page.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from measure.araujo_table import TABLE, Published
from striate.measure import Inspection, Layer, inspect_network
from striate.notation import read

PAGE = Path(__file__).parents[2] / "docs" / "receptive-fields.md"
FAMILIES = ("vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2")

HEAD = """\
# Receptive fields of published networks

Generated from striate's own measurements by `tests/measure/araujo_page.py`; a test fails where this page and the
measurements differ, and another where either differs from the numbers that Araujo, Norris and Sim published
(*Computing Receptive Fields of Convolutional Neural Networks*, Distill 2019, doi:10.23915/distill.00021, and the table
of google-research/receptive_field). Every row of theirs is reproduced: field, stride, padding at 224 and at 321 px.

- **field**: image px that one unit sees on an axis, unclipped. **stride**: image px between neighbouring units.
- **padding**: minus the first px that unit 0 sees, their "effective padding". It depends on the size of the image where
  a network pads with SAME.
- **shortest path**: the field if only the path with the smallest windows counts (their table has the longest).
- **outside**: the part of the field that lies outside a 224 px image, averaged over the units of the last map.
- **unread**: image rows that reach no unit of the last map, at 224 / 321 px.
- **GFLOPs**: 2 MACs, without biases. The published numbers also hold biases and the like; they agree within 0.5 %.

The networks are those of TF-Slim, which differ from torchvision's: its ResNets stride in the *last* unit of a block and
in the 3x3, with explicit padding, and pad their first pooling with SAME (hence 239 and 241).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_summary(), "", *_endpoints(), "", *_families(), ""])


@cache
def measured(name: str, px: int) -> Inspection:
    """A network of the table at one image size."""
    return inspect_network(TABLE[name].make(px))


def endpoint(found: Inspection, name: str) -> tuple[int, int, int, Layer]:
    """Field, stride, effective padding and row of an endpoint, whose two axes agree."""
    layer = next(layer for layer in found.layers if layer.name == name)
    height, width = layer.fields
    assert height is not None
    assert height == width
    return height.size, height.jump, -height.start, layer


def _summary() -> Iterator[str]:
    yield from _head(
        "network", "endpoint", "field", "stride", "padding 224", "padding 321", "shortest path", "outside", "unread",
        "GFLOPs 224", "GFLOPs 321",
    )  # fmt: skip
    for name, published in TABLE.items():
        last = list(published.endpoints)[-1]
        small, large = measured(name, 224), measured(name, 321)
        field, stride, padding, layer = endpoint(small, last)
        path = layer.paths[0]
        assert path is not None
        assert layer.padding_share is not None
        yield _row(
            name, last, field, stride, padding, endpoint(large, last)[2], path[0], f"{100 * layer.padding_share:.0f} %",
            f"{len(small.unread[0])} / {len(large.unread[0])}", f"{gflops(small):.2f}", f"{gflops(large):.2f}",
        )  # fmt: skip


def gflops(found: Inspection) -> float:
    """2 MACs, in 10^9."""
    return 2 * found.macs / 1e9


def _endpoints() -> Iterator[str]:
    yield "## Endpoints, at 224 px\n"
    yield from _head("network", "endpoint", "field", "stride", "padding")
    for name, published in TABLE.items():
        if len(published.endpoints) > 1:
            yield from _endpoint_rows(name, published)


def _endpoint_rows(name: str, published: Published) -> Iterator[str]:
    for at in published.endpoints:
        yield _row(name, at, *endpoint(measured(name, 224), at)[:3])


def _families() -> Iterator[str]:
    yield "## The families that striate builds, as in torchvision\n"
    yield "The last feature maps on a 224 px image; `striate inspect NAME --input 3x224x224` shows every layer.\n"
    yield from _head("network", "layer", "field", "stride", "padding", "outside", "shortest path")
    for name in FAMILIES:
        found = inspect_network(read(name, (3, 224, 224)))
        layer = [layer for layer in found.layers if len(layer.output) == 3 and layer.output[1:] == (7, 7)][-1]
        if layer.kind == "adaptive_avg_pool":
            layer = next(before for before in found.layers if before.name == layer.inputs[0])
        (field, _), (path, _) = layer.fields, layer.paths
        assert field is not None
        assert path is not None
        assert layer.padding_share is not None
        share = f"{100 * layer.padding_share:.0f} %"
        yield _row(name, layer.name, field.size, field.jump, -field.start, share, path[0])


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "|".join("---" if name in ("network", "endpoint", "layer") else "---:" for name in names) + "|"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main(_: Sequence[str] = ()) -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
