"""One network at many sizes, and two networks side by side."""

from __future__ import annotations

from striate.measure import compare, inspect_network, over_sizes
from striate.measure.compare import spent_by_size
from striate.measure.sizes import sizes_table
from striate.notation import read


def test_what_pooling_drops_is_named_at_every_size():
    def make(shape):
        return read("4C3-MP2-4C3-MP2-F-5", shape)

    found = over_sizes(make, [(1, n, n + 8) for n in (24, 25, 26, 27)])
    assert [size.maps for size in found] == [(4, 6, 8)] * 4
    assert [dict(size.dropped) for size in found] == [
        {},
        {"pool1": (1, 1)},
        {"pool2": (1, 1)},
        {"pool1": (1, 1), "pool2": (1, 1)},
    ]
    assert [size.unread for size in found] == [(0, 0)] * 4  # the convolutions before still read those pixels
    assert [size.macs for size in found] == [inspect_network(make(size.input)).macs for size in found]


def test_rows_that_nothing_reads_are_counted():
    (found,) = over_sizes(lambda shape: read("4C2s2pv-F-5", shape), [(1, 9, 12)])
    assert found.unread == (1, 0)
    assert found.dropped == (("conv1", (1, 0)),)


def test_a_row_that_another_branch_reads_is_not_dropped():
    (found,) = over_sizes(lambda shape: read("4C3-[4C3s2-4C3|4C1s2]-GAP-5", shape), [(1, 8, 8)])
    assert found.dropped == ()


def test_a_size_that_does_not_fit_says_why_and_the_others_are_measured():
    fixed = read("4C3-MP2-F-5", (1, 8, 8))
    small, right = over_sizes(lambda _: fixed, [(1, 6, 6), (1, 8, 8)])
    assert small.fault == "fc1: linear got 36 features, needs 64; the input image's size decides this"
    assert right.fault == ""
    text = sizes_table("fixed", (small, right)).splitlines()
    assert text[0] == "fixed"
    assert text[-1] == f"1x6x6: {small.fault}"
    assert text[3].startswith("1x8x8")


def test_a_comparison_has_both_totals_and_their_ratio():
    left, right = (inspect_network(read(text, (3, 16, 24))) for text in ("4C3-GAP-5", "8C3s2-GAP-5"))
    both = compare(left, right)
    totals, spent = str(both).split("\n\n")
    lines = {line[:18].strip(): line[18:].split() for line in totals.splitlines()}
    assert lines["MACs"] == ["41,492", "20,776", "0.50"]
    assert lines["last feature maps"] == ["4x16x24", "8x8x12"]
    assert lines["their jump"] == ["1", "2"]
    assert [line.split() for line in spent.splitlines()[1:]] == [
        ["16x24", "41,472", "0", "0.00"],
        ["8x12", "0", "20,736"],
        ["vectors", "20", "40", "2.00"],
    ]
    found = both.to_json()
    assert found["right"]["totals"]["macs"] == right.macs
    assert found["left"]["macs_by_map"] == {"16x24": 41472, "vectors": 20}


def test_macs_by_map_size_add_up():
    found = inspect_network(read("resnet18", (3, 64, 64)))
    assert sum(spent_by_size(found).values()) == found.macs
    assert list(spent_by_size(found)) == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2), ()]
