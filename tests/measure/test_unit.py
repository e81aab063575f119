"""One unit: where its field lies, what the image cuts off, its holes, its two-dimensional shape, its messages."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import NetworkError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.measure import look
from striate.notation import read
from striate.ops import Add, Conv, GlobalAvgPool, Mul


def padded(k: int, d: int = 1) -> Window:
    return Window(k, 1, d, d * (k - 1) // 2, d * (k - 1) // 2)


def test_a_corner_unit_is_cut_by_the_image_and_padded():
    seen = look(read("2C3-2C5x3s2x1", (1, 9, 12)), "conv2", (0, 11))
    assert seen.reach == ((-3, 3), (9, 13))
    assert seen.clipped == seen.seen == ((0, 3), (9, 11))
    assert (seen.pixels, seen.holes) == (12, 0)
    assert seen.padding_share == pytest.approx(1 - 12 / 35)
    assert seen.touches_padding == ((True, False), (False, True))


def test_dilation_leaves_holes():
    seen = look(read("2C3d2", (1, 9, 9)), "conv1", (4, 4))
    assert (seen.pixels, seen.holes) == (9, 16)
    assert seen.mask[2:7:2, 2:7:2].all()


def test_branches_of_unlike_shape_see_a_cross_not_a_square():
    net = Builder("cross", (1, 7, 9))
    a = net.add(Conv(1, 1, (padded(1), padded(5))), INPUT, name="wide")
    b = net.add(Conv(1, 1, (padded(3), padded(1))), INPUT, name="tall")
    net.add(Add(), a, b, name="sum")
    seen = look(net.build(), "sum", (3, 4))
    assert seen.pixels == 5 + 3 - 1
    assert seen.seen == ((2, 4), (2, 6))
    cross = np.zeros((7, 9), bool)
    cross[3, 2:7] = cross[2:5, 4] = True
    assert np.array_equal(seen.mask, cross)
    assert seen.picture().splitlines()[2:5] == ["....#....", "..#####..", "....#...."]


def test_a_gate_can_be_left_out():
    net = Builder("gated", (2, 7, 9))
    x = net.add(Conv(2, 2, (padded(3), padded(3))), INPUT, name="conv")
    net.add(Mul(), x, net.add(GlobalAvgPool(keep_axes=True), x, name="squeeze"), name="mul")
    network = net.build()
    assert look(network, "mul", (3, 3)).pixels == 63
    assert look(network, "mul", (3, 3), gates=False).pixels == 9


def test_a_unit_behind_the_flattening_sees_what_the_vector_sees():
    seen = look(read("2C2pv-MP2-F-3", (1, 6, 9)), "fc1")
    assert seen.units == (1, 1)
    assert seen.mask.sum() == 5 * 9  # the last row of the maps is left over by the pooling


def test_the_middle_unit_is_looked_at_unless_told_otherwise():
    network = read("2C3", (1, 9, 12))
    assert look(network, "conv1").unit == (4, 6)
    assert look(network, "conv1", input_shape=(1, 21, 5)).unit == (10, 2)


def test_the_text_says_it_in_words():
    assert str(look(read("2C3-2C3d2", (1, 11, 9)), "conv2", (0, 4))) == (
        "conv2: unit 0, 4 of 11x9\n"
        "field    7 px, jump 1: rows -3..3 x columns 1..7\n"
        "clipped  rows 0..3 x columns 1..7\n"
        "sees     rows 0..3 x columns 1..7: 28 of 99 px (28.3 %)\n"
        "padding  42.9 % of the field lies outside the image\n"
        "contact with padding: top"
    )


def test_a_large_image_is_drawn_in_blocks():
    picture = look(read("2C3", (1, 100, 50)), "conv1", (0, 0)).picture().splitlines()
    assert picture[0] == "one letter = 3x3 px"
    assert len(picture) == 1 + 34
    assert picture[1].startswith("+.")


def test_units_and_layers_that_are_not_there():
    network = read("2C3-GAP-3", (1, 9, 12))
    with pytest.raises(UsageError) as fault:
        look(network, "conv1", (9, 0))
    assert str(fault.value) == "conv1 has 9x12 units and none at 9,0; they go from 0,0 to 8,11"
    with pytest.raises(NetworkError, match=r"^2C3-GAP-3 has no layer 'conv7'; its layers are conv1, "):
        look(network, "conv7")


def test_json_has_the_numbers_of_the_text():
    found = look(read("2C3d2", (1, 9, 9)), "conv1", (0, 4)).to_json()
    assert found["reach"] == [[-2, 2], [2, 6]]
    assert found["clipped"] == [[0, 2], [2, 6]]
    assert (found["pixels_seen"], found["holes"]) == (6, 9)
