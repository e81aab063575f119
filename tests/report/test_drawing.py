"""Drawings: every layer stands somewhere, lines and cards do not overlap, repetitions are folded, the file is plain."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from strategies import random_network
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.notation import read
from striate.ops import Add, Concat, Conv, GlobalAvgPool, Identity, Linear
from striate.report.cards import cards, runs, segments
from striate.report.drawing import CARD_W, draw
from striate.report.layout import ENTRY, lay_out

SEEDS = range(30)


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in ET.fromstring(svg).iter() if e.tag.endswith("text")]  # noqa: S314 - our own text


@pytest.mark.parametrize("seed", SEEDS)
def test_every_layer_that_matters_is_on_one_card(seed):
    network = random_network(seed)
    names = [node.name for card in cards(network) for node in card.nodes]
    assert sorted(names) == sorted({node.name for node in network} & set(names))
    assert len(names) == len(set(names))
    assert network.output in names
    parts = segments(cards(network))
    assert [card for part in parts for card in part.cards] == list(cards(network))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_card_stands_on_another_and_no_line_crosses_one(seed):
    for segment in segments(cards(random_network(seed))):
        layout = lay_out(segment)
        places = [(layout.row[c.index], layout.column[c.index]) for c in segment.cards]
        assert len(set(places)) == len(places)
        assert layout.column[segment.cards[-1].index] == 0
        wanted = {(r if r >= segment.cards[0].index else ENTRY, c.index) for c in segment.cards for r in c.reads}
        assert {(c.source, c.target) for c in layout.connections} == wanted
        for line in layout.connections:
            between = range(layout.row.get(line.source, -1) + 1, layout.row[line.target])
            assert not [(row, line.column) for row in between if (row, line.column) in places]


def test_normalisation_and_activation_stand_with_their_convolution():
    boxes = cards(read("4C3-BN-R-MP2-[4C3-BN-R-4C3-BN]-R-GAP-5", (1, 12, 14)))
    assert [[node.name for node in box.nodes] for box in boxes] == [
        ["conv1", "bn1", "relu1"],
        ["pool1"],
        ["block1.conv1", "block1.bn1", "block1.relu1"],
        ["block1.conv2", "block1.bn2"],
        ["block1.add", "relu2"],
        ["pool2"],
        ["fc1"],
    ]


def test_blocks_that_repeat_are_drawn_once_with_their_count():
    network = read("resnet50", (3, 64, 64))
    folded = [run.count for run in runs(segments(cards(network))) if run.count > 1]
    assert folded == [2, 3, 5, 2]
    shown = texts(draw(network))
    assert [text for text in shown if text.startswith("×")] == ["× 2", "× 3", "× 5", "× 2"]
    assert "field 19 … 27, jump 4" in shown
    assert len(draw(network)) < 40_000


def test_blocks_of_other_channels_are_not_folded():
    assert [run.count for run in runs(segments(cards(read("4C3-8C3-8C3-8C3-GAP-2", (1, 8, 8)))))] == [1, 1, 2, 1, 1]


def test_a_layer_that_nothing_reads_is_left_out():
    net = Builder("dead end", (1, 6, 6))
    x = net.add(Conv(1, 2, (Window(3), Window(3))), INPUT, name="conv")
    net.add(Identity(), x, name="unread")
    network = net.build(net.add(GlobalAvgPool(), x, name="pool"))
    assert [n.name for c in cards(network) for n in c.nodes] == ["conv", "pool"]


def test_a_region_of_too_many_cards_becomes_one():
    net = Builder("dense", (1, 6, 6))
    window = (Window(3, pad_lo=1, pad_hi=1),) * 2
    parts = [net.add(Conv(1, 2, window), INPUT, name="stem")]
    for i in range(25):
        x = net.add(Concat(), *parts, name=f"cat{i}") if len(parts) > 1 else parts[0]
        parts.append(net.add(Conv(net.shape(x)[0], 2, window), x, name=f"conv{i}"))
    x = net.add(Add(), parts[-1], parts[0], name="sum")
    x = net.add(GlobalAvgPool(), net.add(Concat(), x, *parts[:-1], name="last"), name="pool")
    svg = draw(net.build(net.add(Linear(net.shape(x)[0], 3), x, name="fc")))
    assert any(re.fullmatch(r"\d+ layers, \d+ conv", text) for text in texts(svg))


def test_the_file_is_plain_and_escaped():
    net = Builder("a<b & c", (1, 6, 6))
    svg = draw(net.build(net.add(Conv(1, 2, (Window(3), Window(3))), INPUT, name="x<y")))
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    assert "a<b & c" in texts(svg)
    assert "x<y" in texts(svg)
    assert not re.search(r"<script|href|url\((?!#tip)", svg)
    assert float(root.get("width")) >= CARD_W
