"""Fields of whole networks against brute force: NaN probes, gradients, and the affine form against the exact sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from measure.oracles import affine_faults, faults, gradient_faults, local_faults, nan_faults, torch_faults
from measure.random_graphs import random_graph
from striate.geometry import Field, Sight, Window
from striate.graph import INPUT, Builder
from striate.measure import gated, views
from striate.measure.fields import AxisView, walk
from striate.notation import read
from striate.ops import Activation, Add, Concat, Conv, GlobalAvgPool, Mul

SEEDS = range(40)
ONE = (Window(1), Window(1))


def same(kernel: int, dilation: int = 1) -> Window:
    pad = dilation * (kernel - 1) // 2
    return Window(kernel, 1, dilation, pad, pad)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_depends_on_what_is_measured(seed):
    assert faults(random_graph(seed), seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_maxima_and_norms_by_the_image_depend_on_what_is_measured(seed):
    network = random_graph(seed, replaced=True)
    assert nan_faults(network) == []
    assert torch_faults(network) == []


def test_the_probes_find_a_wrong_set(monkeypatch):
    network = random_graph(3)
    through = Sight.through

    def shifted(self, axis):
        right = through(self, axis)
        return right if right is self else Sight(right.image, (*right.sets[1:], right.sets[0]))

    monkeypatch.setattr(Sight, "through", shifted)
    assert nan_faults(network) != []
    assert affine_faults(network) != []


def test_the_gradient_finds_a_wrong_mask(monkeypatch):
    reads = Window.reads
    monkeypatch.setattr(Window, "reads", lambda self, i, n: reads(self, i, n)[1:])
    assert any(gradient_faults(random_graph(seed), seed) for seed in range(5))


def gated_network(size=(9, 14)):
    net = Builder("gated", (2, *size))
    x = net.add(Conv(2, 4, (Window(3, 2), Window(5))), INPUT, name="conv")
    g = net.add(GlobalAvgPool(keep_axes=True), x, name="squeeze")
    g = net.add(Conv(4, 4, ONE), g, name="excite")
    x = net.add(Mul(), x, g, name="gate")
    return net.build(net.add(Conv(4, 3, (Window(2), Window(3))), x, name="after"))


def test_a_global_gate_has_two_fields():
    network = gated_network()
    full, local = views(network), views(network, gates=False)
    assert gated(network)
    assert [axis.field for axis in full["gate"]] == [Field(9, 0, 0), Field(14, 0, 0)]
    assert [axis.field for axis in local["gate"]] == [Field(3, 2, 0), Field(5, 1, 0)]
    assert [axis.field for axis in full["after"]] == [Field(9, 0, 0), Field(14, 0, 0)]
    assert [axis.field for axis in local["after"]] == [Field(5, 2, 0), Field(7, 1, 0)]
    assert {axis.sight.interval(0) for axis in full["after"]} == {(0, 8), (0, 13)}


def test_a_local_view_that_forgets_to_leave_the_gate_out_is_found(monkeypatch):
    network = gated_network()
    assert local_faults(network) == []
    monkeypatch.setattr("striate.measure.fields.is_gate", lambda *_: False)
    assert local_faults(network) != []


def test_a_network_without_gates_has_one_field():
    network = read("4C3-BN-R-[4C3-4C3]-GAP-3", (3, 9, 11))
    assert not gated(network)
    assert views(network) == views(network, gates=False)


def test_a_gate_on_maps_of_one_unit_is_none():
    net = Builder("tiny", (2, 3, 3))
    x = net.add(Conv(2, 2, (Window(3), Window(3))), INPUT, name="conv")
    y = net.add(Activation("sigmoid"), x, name="act")
    assert not gated(net.build(net.add(Mul(), x, y, name="mul")))


def test_shortest_and_longest_path_follow_the_branches():
    net = Builder("paths", (1, 20, 30))
    x = net.add(Conv(1, 2, (Window(3, 2), Window(2, 3))), INPUT, name="stem")
    a = net.add(Conv(2, 2, (same(3), same(5))), x, name="a")
    b = net.add(Conv(2, 2, (same(7), same(1))), a, name="b")
    c = net.add(Conv(2, 2, (same(1), same(3, dilation=2))), x, name="c")
    net.add(Concat(), b, c, name="cat")
    seen = views(net.build())["cat"]
    assert seen[0].paths == (3, 3 + 2 * 2 + 6 * 2)
    assert seen[1].paths == (2 + 4 * 3, 2 + 4 * 3)
    assert seen[0].field == Field(19, 2, -8)


def test_branches_off_centre_have_a_hull_longer_than_any_path():
    net = Builder("off centre", (1, 9, 9))
    left = net.add(Conv(1, 1, (Window(3, pad_hi=2), same(1))), INPUT, name="left")
    right = net.add(Conv(1, 1, (Window(3, pad_lo=2), same(1))), INPUT, name="right")
    net.add(Add(), left, right, name="sum")
    rows, columns = views(net.build())["sum"]
    assert (rows.field, rows.paths) == (Field(5, 1, -2), (3, 3))
    assert (columns.field, columns.paths) == (Field(1, 1, 0), (1, 1))


def test_read_pixels_counts_what_reaches_any_unit():
    view = AxisView(Field(), Sight.of_image(8).through(Window(1, stride=3)))
    assert view.read_pixels == 3
    assert view.read_pixels == 8 - len(view.sight.unread())


def test_walking_gives_what_views_gives_and_keeps_only_what_is_read_later():
    network = read("4C3-BN-R-2x([4C3-BN-R-4C3-BN]-R)-GAP-3", (3, 9, 11))
    assert dict(views(network)) == {INPUT: views(network)[INPUT]} | {n.name: v for n, v in walk(network)}
    doubled = replace(network, output="bn1")  # layers behind the output are walked too
    assert [n.name for n, _ in walk(doubled)] == [n.name for n in doubled]
