"""striate inspect on ONNX files: known, partly known, and damaged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from graph.test_from_onnx import graph

KERNELS = {"w": np.ones((8, 3, 3, 2), np.float32), "v": np.ones((5, 8, 2, 1), np.float32)}


@pytest.fixture
def partly_known(tmp_path):
    """Two convolutions, and between them what striate has no layer for."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Cosh", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["y"]),
    ]
    onnx.save(graph(nodes, KERNELS), tmp_path / "partly.onnx")
    return str(tmp_path / "partly.onnx")


def test_what_is_known_is_shown_and_the_rest_is_named(striate, partly_known):
    answer = striate("inspect", partly_known)
    rows = [line.split() for line in answer.out.splitlines()[4:7]]
    assert rows == [
        ["a", "conv", "8C3x2", "8x5x10", "3x2", "1", "0", "144", "7,200"],
        ["b", "unknown", "Cosh", "8x5x10", "?", "?", "?", "?", "?"],
        ["y", "conv", "5C2x1", "5x4x10", "?", "?", "?", "80", "3,200"],
    ]
    assert "parameters >= 224   MACs >= 10,400 an image" in answer.out
    assert answer.err == (
        "striate: onnx node 'b' (Cosh): striate has no layer for Cosh of ONNX; export the network without it\n"
    )
    assert answer.code == 1


def test_json_says_so_too(striate, partly_known):
    answer = striate("inspect", partly_known, "--json")
    totals = json.loads(answer.out)["totals"]
    assert (totals["unknown_layers"], totals["flops"], totals["macs"]) == (["b"], None, None)
    assert answer.code == 1


def test_a_drawing_of_what_is_known(striate, partly_known, tmp_path):
    answer = striate("draw", partly_known, "-o", str(tmp_path / "n.svg"))
    assert answer.code == 1
    assert "Cosh" in (tmp_path / "n.svg").read_text(encoding="utf-8")


def test_a_damaged_file_is_one_line(striate, partly_known, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(Path(partly_known).read_bytes()[:-40])
    answer = striate("inspect", str(tmp_path / "cut.onnx"))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"striate: {tmp_path}/cut.onnx: not an ONNX file, or a damaged or truncated one; export or copy it again\n"
    )


def test_an_open_size_asks_for_the_input(striate, tmp_path):
    model = graph([helper.make_node("Relu", ["x"], ["y"])], shape=("N", 3, "h", "w"))
    onnx.save(model, tmp_path / "open.onnx")
    answer = striate("inspect", str(tmp_path / "open.onnx"))
    assert answer.code == 2
    assert answer.err.endswith("(N, 3, h, w); pass input_shape=(channels, height, width), or --input CxHxW\n")
    assert striate("inspect", str(tmp_path / "open.onnx"), "-i", "3x9x5").code == 0


def test_a_family_is_compared_at_the_size_of_the_file(striate, partly_known):
    answer = striate("inspect", partly_known, "--compare", "8C3-R-5C1")
    assert "hand (3x7x11)  8C3-R-5C1 (3x7x11)  ratio" in answer.out


def test_a_table_too_wide_for_the_terminal_says_what_is_narrower(striate, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    answer = striate("inspect", "resnet18", "--input", "3x64x64")
    assert answer.err == (
        "the table is 92 columns wide, the terminal 80; --tree or --columns layer,output,field is narrower\n"
    )
    assert striate("inspect", "resnet18", "--input", "3x64x64", "--columns", "layer,output,field").err == ""
