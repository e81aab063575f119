"""striate ship and verify as a person sees them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from strategies import with_random_weights
from striate.data import write_sample_images
from striate.geometry import Window
from striate.graph import INPUT, Builder
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.ops import Activation, BatchNorm, Conv, GlobalAvgPool, Linear

SAME = (Window(3, pad_lo=1, pad_hi=1),) * 2
TOLD = ("--mean", "0.3", "--std", "0.35", "--fit", "stretch")


@pytest.fixture(scope="module")
def preactivated(tmp_path_factory):
    """A stranger's file whose norms stand before ReLU and convolution, or before padding: they stay."""
    b = Builder("pre", (1, 14, 12))
    b.add(Conv(1, 3, SAME), INPUT, name="stem")
    b.add(Activation("relu"), "stem", name="relu")
    b.add(BatchNorm(3), "relu", name="late")
    b.add(Conv(3, 4, SAME), "late", name="conv")
    b.add(GlobalAvgPool(), "conv", name="gap")
    b.add(Linear(4, 10), "gap", name="fc")
    path = tmp_path_factory.mktemp("theirs") / "pre.onnx"
    path.write_bytes(to_bytes(to_onnx(with_random_weights(b.build(), 3))))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_sample_images(folder, 6)
    return folder


def test_a_norm_that_stays_says_why_and_how_it_would_not(striate, preactivated, pictures, tmp_path):
    out = tmp_path / "m.onnx"
    answer = striate("ship", preactivated, *TOLD, "--images", pictures, "-o", out)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].startswith(f"{out}: ")
    assert lines[0].endswith(" bytes, takes uint8 pixels, batch normalisations 1 before, 1 left")
    assert "  push_batch_norm: late stays: is read by conv conv, whose zero padding the shift must not reach" in lines
    assert lines[-2] == (
        "  such a norm folds exactly with --constant-channel, which takes about 1.3 times as long to run"
    )
    assert "auto: classes = class0 to class9 (no names were given; --classes does)" in answer.err
    assert "auto: proof images = 32 (up to 32, fewer of a network that costs more: " in answer.err


def test_the_constant_channel_folds_it(striate, preactivated, pictures, tmp_path):
    out = tmp_path / "m.onnx"
    answer = striate("ship", preactivated, *TOLD, "--images", pictures, "--constant-channel", "-o", out, "--json")
    found = json.loads(answer.out)
    assert (found["verdict"], found["takes"]) == ("proved", "uint8")
    assert found["batch_norms"] == {"before": 1, "after": 0}
    assert {a["by"] for a in found["applied"]} >= {"constant_channel", "absorb_input_norm"}
    assert striate("verify", out, "--against", preactivated, "--images", pictures).code == 0


def test_verify_shows_the_layers_nearest_to_a_limit_and_all_on_demand(striate, model, finished):
    short = striate("verify", model).out.splitlines()
    at = next(i for i, line in enumerate(short) if "shares of what is allowed" in line)
    assert short[at] == "  shares of what is allowed, 100 % being the limit, the 5 of 8 layers nearest to one:"
    assert short[at + 1].split() == ["layer", "algebra", "rounding", "bound", "float32", "error"]
    assert len(short) == at + 2 + 5
    every = striate("verify", model, "--layers", "--against", finished).out.splitlines()
    rows = every[next(i for i, line in enumerate(every) if "shares of what is allowed" in line) + 2 :]
    assert [row.split()[0] for row in rows] == [
        "normalised",
        "bn1",
        "relu1",
        "bn2",
        "relu2",
        "pool1",
        "flatten1",
        "fc1",
    ]
    shares = np.array([[float(cell) for cell in row.replace("%", "").split()[1:4]] for row in rows])
    assert (shares >= 0).all()
    assert (shares <= 100).all()


def test_float32_on_demand(striate, finished, tmp_path):
    answer = striate("ship", finished, "--takes", "float32", "--proof-images", "3", "-o", tmp_path / "m.onnx", "--json")
    found = json.loads(answer.out)
    assert (found["takes"], found["proof"]["inputs"]["image"], found["choices"]) == ("float32", 3, [])
    assert {a["at"] for a in found["applied"]} == {"bn1", "bn2"}
