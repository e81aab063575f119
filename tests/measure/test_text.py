"""Numbers and tables as text."""

from __future__ import annotations

import pytest

from strategies import random_network
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.measure import inspect_network
from striate.measure.text import aligned, bytes_text, pair, ranges, times
from striate.measure.tree import outline
from striate.ops import Activation, Conv


def test_columns_are_as_wide_as_their_widest_cell():
    lines = aligned(("a", "number"), [("long name", "7"), ("b", "1,234,567")], [False, True])
    assert lines == ["a             number", "long name          7", "b          1,234,567"]


def test_a_table_without_rows_is_its_heads():
    assert aligned(("a", "b"), [], [False, True]) == ["a  b"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (2_345_678, "2.3 MB"), (5 * 10**9, "5.0 GB")],
)
def test_bytes(count, text):
    assert bytes_text(count) == text


def test_shapes_and_ranges():
    assert times((3, 5, 7)) == "3x5x7"
    assert (pair((3, 3)), pair((3, 5)), pair((4,))) == ("3", "3x5", "4")
    assert ranges([0, 3, 4, 5, 9]) == "0, 3..5, 9"
    assert ranges([]) == ""


@pytest.mark.parametrize("seed", range(12))
def test_a_tree_has_every_layer_once_and_loses_no_cost(seed):
    found = inspect_network(random_network(seed))
    rows = list(outline(found.layers))
    leaves = [row for row in rows if not row.kind.endswith(" layers")]
    assert len(leaves) == len(found.layers)
    assert [row.macs for row in leaves] == [layer.macs for layer in found.layers]
    assert sum(row.macs for row in outline(found.layers, 1)) == found.macs


def test_a_layer_called_like_its_group_stands_in_it():
    net = Builder("names", (1, 5, 6))
    x = net.add(Conv(1, 2, (Window(3), Window(2))), INPUT, name="block")
    net.add(Activation(), x, name="block.act")
    assert [row.name for row in outline(inspect_network(net.build()).layers)] == ["block", "  block", "  act"]
