"""Modules that striate knows in part: what is known is shown, each fault is a line, the exit code 1."""

from __future__ import annotations

import json
import sys

import pytest

pytestmark = pytest.mark.usefixtures("seeded")

NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, then):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.bn = nn.BatchNorm2d(4)
        self.then = then

    def forward(self, x):
        return self.then(self.bn(self.stem(x)))


class Roll(nn.Module):
    def forward(self, x):
        return torch.roll(x, 1, 3)


class Then(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


def fails(x):
    raise ValueError("no such head")


class Many(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(*[Roll() for _ in range(9)])

    def forward(self, x):
        return self.parts(x)


many = lambda: Net(Many()).eval()
known = lambda: Net(nn.Conv2d(4, 5, (1, 2)))
frozen = lambda: known().eval()
roll = lambda: Net(nn.Sequential(Roll(), nn.Conv2d(4, 5, (1, 2)), nn.Flatten(), nn.Linear(60, 2))).eval()
detector = lambda: Net(Then(lambda x: x[x > 0])).eval()
decides = lambda: Net(Then(lambda x: x if x[:, :1].amax((1, 2, 3)).sum() > 0 else x + 1)).eval()
two = lambda: Net(Then(lambda x: (x, x.relu()))).eval()
raising = lambda: Net(Then(fails)).eval()
tight = lambda: Net(nn.Sequential(nn.Flatten(), nn.Linear(7, 2))).eval()
"""

NAME = "nets_known_in_part"


@pytest.fixture
def shown(striate, tmp_path, monkeypatch):
    """Inspect one of `NETS` on 3 x 9 x 9 images."""
    (tmp_path / f"{NAME}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield lambda net, *more: striate("inspect", f"{NAME}:{net}", "--input", "3x9x9", *more)
    sys.modules.pop(NAME, None)


def row(answer, name):
    return next(line.split() for line in answer.out.splitlines() if line.startswith(name))


def test_an_unknown_layer_is_named_with_its_place(shown):
    answer = shown("roll")
    assert answer.code == 1
    assert answer.err == "striate: then.0 (Roll): calls roll, which striate has no layer for yet\n"
    assert row(answer, "stem") == ["stem", "conv", "4C3", "s2", "4x4x4", "3", "2", "0", "112", "1,728"]
    assert row(answer, "then.0") == ["then.0", "unknown", "roll", "4x4x4", *["?"] * 5]
    assert row(answer, "then.1") == ["then.1", "conv", "5C1x2", "5x4x3", *["?"] * 3, "45", "480"]
    assert row(answer, "then.3") == ["then.3", "linear", "2", "2", *["?"] * 3, "122", "120"]
    assert "parameters >= 287   MACs >= 2,328 an image" in answer.out
    assert "not counted, and no field stated behind: then.0 (of unknown kind)" in answer.out


def test_json_carries_null_where_nothing_is_known(shown):
    answer = shown("roll", "--json")
    assert answer.code == 1
    found = json.loads(answer.out)
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["stem"]["macs"] == 1728
    assert layers["bn"]["receptive_field"]["size"] == [3, 3]
    assert [layers["then.0"][key] for key in ("receptive_field", "parameters", "macs", "flops", "moved_bytes")] == [
        None
    ] * 5
    assert layers["then.0"]["output"] == [4, 4, 4]
    assert layers["then.1"]["receptive_field"] is None
    assert layers["then.1"]["padding_share"] is None
    assert layers["then.1"]["macs"] == 480
    assert found["totals"]["unknown_layers"] == ["then.0"]
    assert {found["totals"][key] for key in ("parameters", "macs", "flops", "macs_per_byte", "moved_bytes")} == {None}


SHAPES_ONLY = "and striate follows shapes only; give the part before it as a module"
LINES = {
    "detector": f"then (Then): picks by a mask or an index that it computed from the image, {SHAPES_ONLY}",
    "decides": f"then (Then): looks at the values of the image to decide what to do, {SHAPES_ONLY}",
    "two": f"{NAME}:two: returns tuple, not one tensor; wrap it in a module that returns the logits",
    "raising": (
        f"{NAME}:raising: then (Then) raised ValueError: no such head; "
        "call it on a real batch of 3x9x9 images to see where"
    ),
    "tight": (
        f"{NAME}:tight: does not fit an input of 3x9x9: then.1: linear got 64 features, needs 7; "
        "the input image's size decides this"
    ),
}


@pytest.mark.parametrize(("net", "line"), LINES.items())
def test_what_could_be_analysed_is_shown_and_the_fault_is_one_line(shown, net, line):
    answer = shown(net)
    assert answer.code == 1
    assert row(answer, "stem")[-1] == "1,728"
    assert row(answer, "bn")[3:6] == ["3", "2", "0"]
    assert answer.err.splitlines()[-1] == f"striate: {line}"
    assert all(one.startswith("striate: ") for one in answer.err.splitlines())


def test_of_many_faults_the_first_are_said_and_how_many_more(shown):
    answer = shown("many")
    lines = answer.err.splitlines()
    assert lines[0] == "striate: then.parts.0 (Roll): calls roll, which striate has no layer for yet"
    assert (len(lines), lines[-1]) == (7, "striate: and 3 more like these")
    assert "not counted, and no field stated behind: then.parts.0, then.parts.1, then.parts.2, " in answer.out
    assert "then.parts.5 and 3 more (of unknown kind)" in answer.out


def test_a_wrong_number_of_channels_shows_nothing(shown, striate):
    answer = striate("inspect", f"{NAME}:known", "--input", "4x9x9")
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err == (
        f"striate: {NAME}:known: does not fit an input of 4x9x9: stem: conv got 4 channels, needs 3; make the layer "
        "before it give 3\n"
    )


def test_training_mode_is_said(shown):
    trains, frozen = shown("known"), shown("frozen")
    assert (trains.code, frozen.code) == (0, 0)
    assert trains.err == (
        f"note: {NAME}:known: is in training mode; this is what it computes at test time, as after .eval()\n"
    )
    assert frozen.err == ""
    assert trains.out.splitlines()[1:] == frozen.out.splitlines()[1:]


def test_drawing_shows_unknown_layers(shown, striate, tmp_path):
    answer = striate("draw", f"{NAME}:roll", "--input", "3x9x9", "-o", tmp_path / "roll.svg")
    assert answer.code == 1
    assert "then.0 (Roll): calls roll" in answer.err
    picture = (tmp_path / "roll.svg").read_text()
    assert "unknown roll" in picture
    assert "&gt;= 287 parameters" in picture
    assert "field ?" in picture


def test_one_unit_behind_an_unknown_layer_is_not_described(shown):
    assert "field    3 px, jump 2: rows 4..6 x columns 4..6" in shown("roll", "--at", "bn").out
    answer = shown("roll", "--at", "then.1")
    assert answer.code == 2
    assert "then.1: what it sees is not known, since then.0 before it is of unknown kind" in answer.err


def test_such_a_network_is_not_trained(shown, striate, tmp_path):
    answer = striate("train", "sample", "--net", f"{NAME}:roll", "--input", "3x9x9", "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        "striate: then.0 (Roll): calls roll, which striate has no layer for yet; striate inspect shows what is known "
        "without it"
    )
    assert not (tmp_path / "run").exists()
