"""The inspection as a value: its JSON form, table, tree, HTML and totals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from striate.errors import ShapeError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.measure import COLUMNS, inspect_network, look
from striate.measure.tree import outline
from striate.notation import FAMILIES, read
from striate.ops import Add, Conv, GlobalAvgPool, Linear, Mul, Op

NET = "6C3x5s2x1p1:0x2-BN-R-[6C3-BN]-MP2-F-7"
SHAPE = (3, 11, 13)


def gated():
    net = Builder("gated", (2, 9, 14))
    x = net.add(Conv(2, 4, (Window(3, 2), Window(5))), INPUT, name="conv")
    x = net.add(Mul(), x, net.add(GlobalAvgPool(keep_axes=True), x, name="squeeze"), name="gate")
    x = net.add(GlobalAvgPool(), x, name="pool")
    return net.build(net.add(Linear(4, 3), x, name="fc"))


def test_json_has_the_stated_form():
    found = inspect_network(read(NET, SHAPE)).to_json()
    assert set(found) == {"network", "input", "layers", "totals"}
    assert (found["network"], found["input"]) == (NET, [3, 11, 13])
    first = found["layers"][0]
    assert first["name"] == "conv1"
    assert first["kind"] == "conv"
    assert first["inputs"] == ["input"]
    assert first["output"] == [6, 5, 13]
    assert first["receptive_field"] == {"size": [3, 5], "jump": [2, 1], "start": [-1, -2]}
    assert first["receptive_field_local"] == first["receptive_field"]
    assert first["seen_from_centre"] == [[3, 5], [4, 8]]
    assert first["image_pixels_read"] == [10, 13]
    assert first["padding_share"] == pytest.approx(1 - (14 / 15) * (59 / 65))
    assert first["shortest_path_field"] == first["longest_path_field"] == [3, 5]
    add = next(layer for layer in found["layers"] if layer["kind"] == "add")
    assert (add["shortest_path_field"], add["longest_path_field"]) == ([3, 5], [7, 7])


def test_totals_are_sums_of_the_layers():
    found = inspect_network(read("resnet18", (3, 64, 96), 10)).to_json()
    layers, totals = found["layers"], found["totals"]
    for name in ("parameters", "macs", "macs_on_pixels", "flops", "moved_bytes"):
        assert totals[name] == sum(layer[name] for layer in layers)
    assert totals["training_activation_bytes"] == sum(layer["training_bytes"] for layer in layers)
    assert totals["macs_per_byte"] == totals["macs"] / totals["moved_bytes"]
    assert totals["parameters"] == read("resnet18", (3, 64, 96), 10).parameters()


def test_a_gated_network_shows_both_fields():
    found = inspect_network(gated())
    gate = found.to_json()["layers"][2]
    assert gate["receptive_field"] == {"size": [9, 14], "jump": [0, 0], "start": [0, 0]}
    assert gate["receptive_field_local"] == {"size": [3, 5], "jump": [2, 1], "start": [0, 0]}
    text = str(found)
    assert text.splitlines()[2].split() == (
        ["layer", "kind", "output", "local", "local", "jump", "local", "start", "field", "parameters", "MACs"]
    )
    assert (
        "local: the field without what global gates (squeeze-excite) saw; with them every unit sees the image" in text
    )


def test_a_field_without_affine_form_is_a_question_mark():
    found = inspect_network(read("2C3-AAP4-F-3", (1, 9, 11)))
    pool = found.layers[1]
    assert pool.fields == (None, None)
    assert pool.to_json()["receptive_field"] is None
    assert pool.padding_share is None
    assert "5x6?" in found.table(["field"])
    assert str(found).endswith("?: no affine form; the field shown is what the middle unit sees of the image")


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_has_a_text_for_every_layer(name):
    for network in (read(NET, SHAPE), gated(), read("2C3-AAP4-F-3", (1, 9, 11))):
        lines = inspect_network(network).table(["layer", name]).splitlines()
        assert COLUMNS[name].head in lines[2]


def test_chosen_columns_stand_in_the_order_asked_for():
    lines = inspect_network(read(NET, SHAPE)).table(["macs", "layer", "padding", "seen"]).splitlines()
    assert lines[2].split() == ["MACs", "layer", "padding", "seen"]
    assert lines[4].split()[:2] == ["17,550", "conv1"]


def test_an_unknown_column_is_refused_with_all_there_are():
    with pytest.raises(UsageError, match=r"^no column is called flop; the columns are layer, kind, inputs, output, "):
        inspect_network(read(NET, SHAPE)).table(["layer", "flop"])


def test_the_tree_sums_each_group():
    found = inspect_network(read("resnet18", (3, 64, 96)))
    rows = {row.name: row for row in outline(found.layers, 2)}
    assert [name for name in rows if not name.startswith(" ")] == [
        "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc",
    ]  # fmt: skip
    assert rows["layer2"].macs == sum(layer.macs for layer in found.layers if layer.name.startswith("layer2."))
    assert rows["layer2"].output == (128, 8, 12)
    assert sum(row.parameters for row in outline(found.layers, 1)) == found.parameters
    deep = [row.name.strip() for row in outline(found.layers)]
    assert [name for name in deep if name.startswith("conv")].count("conv1") == 9
    assert "layer1" in found.table(tree=True, depth=1)


def test_the_html_form_is_one_table_with_every_layer():
    found = inspect_network(read(NET, SHAPE))
    html = found._repr_html_()
    assert html.count("<tr>") == len(found.layers) + 1
    assert html.count("<table") == html.count("</table>") == 1
    assert html.count("<tbody") == html.count("</tbody>") == 2
    assert re.findall(r"<script|http|src=", html) == []
    assert "<td>conv1</td>" in html


def test_html_escapes_names():
    net = Builder("a<b&c", (1, 5, 5))
    net.add(Conv(1, 1, (Window(3), Window(3))), INPUT, name="x<y")
    html = inspect_network(net.build())._repr_html_()
    assert "a&lt;b&amp;c" in html
    assert "x&lt;y" in html


def test_a_size_that_does_not_fit_names_the_layer():
    with pytest.raises(ShapeError, match=r"^fc1: linear got \d+ features, needs \d+; "):
        inspect_network(read(NET, SHAPE), (3, 12, 20))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "plain20", "resnet18_cifar"])
def test_families_are_measured_whole(name):
    network = FAMILIES[name]((3, 64, 96))
    found = inspect_network(network)
    assert [layer.name for layer in found.layers] == [node.name for node in network]
    assert found.flops is not None
    assert found.flops > 2 * found.macs
    assert found.macs_on_pixels <= found.macs
    assert found.peak_activation_bytes >= max(layer.output_bytes for layer in found.layers)


@dataclass(frozen=True, slots=True)
class Mystery(Op):
    """A layer of which only the output's shape is known."""

    kind: ClassVar[str] = "unknown"

    def axis_maps(self, shape):
        raise NotImplementedError


def test_an_unknown_layer_is_named_and_its_unknownness_travels():
    net = Builder("mystery", (1, 8, 9))
    window = (Window(3), Window(3))
    before = net.add(Conv(1, 2, window, bias=False), INPUT, name="before")
    x = net.add(Mystery(), before, name="mystery")
    x = net.add(Conv(2, 2, window, bias=False), x, name="after")
    beside = net.add(Conv(2, 2, window, bias=False), before, name="beside")
    network = net.build(net.add(Add(), x, beside, name="sum"))
    found = inspect_network(network)
    assert {layer.name: layer.known for layer in found.layers} == {
        "before": True, "mystery": False, "after": False, "beside": True, "sum": False,
    }  # fmt: skip
    assert found.unknown == ("mystery",)
    assert found.flops is None
    assert found.unread == ()
    rows = found.to_json()["layers"]
    assert [row["receptive_field"] is None for row in rows] == [False, True, True, False, True]
    text = str(found)
    assert "parameters >= 90   MACs >= 2,196 an image" in text
    assert "not counted, and no field stated behind: mystery (of unknown kind)" in text
    assert [line.split()[-5:-2] for line in text.splitlines() if line.startswith("after")] == [["?", "?", "?"]]
    with pytest.raises(UsageError) as fault:
        look(network, "sum")
    assert str(fault.value) == "sum: what it sees is not known, since mystery before it is of unknown kind"
    assert look(network, "beside").pixels == 25
