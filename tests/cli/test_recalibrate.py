"""striate recalibrate: a stale run is mended into a run that every command takes, and nothing else of it changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cli.test_probe import one_line, onnx_file
from striate.cli.app import main
from striate.graph.from_onnx import from_onnx

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stale(tmp_path_factory) -> Path:
    """A run whose running averages never moved from 0 and 1."""
    out = tmp_path_factory.mktemp("runs") / "stale"
    settings = ["--set", "bn_momentum=0.0", "--set", "bn_precise=off", "--threads", "1", "--epochs", "1"]
    net = "4C3s2-BN-R-8C3-BN-R-MP2-F-10"
    assert main(["train", "sample", "--net", net, *settings, "--out", str(out)]) == 0
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stale_run_is_mended_and_every_command_takes_it(striate, stale, tmp_path):
    before, out = content(stale), tmp_path / "mended"
    answer = striate("recalibrate", stale, "-o", out, "--images", "300", "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said == {"out": str(out), "images": 300, "layers": 2, "stale_before": ["bn1", "bn2"]}
    assert content(stale) == before

    old, new = (load_file(folder / "weights.safetensors") for folder in (stale, out))
    moved = {name for name in old if not np.array_equal(old[name], new[name])}
    assert moved == {f"bn{i}.running_{what}" for i in (1, 2) for what in ("mean", "var")}
    assert old.keys() == new.keys()

    first, second = (json.loads((folder / "result.json").read_text()) for folder in (stale, out))
    assert second["accuracy"] > first["accuracy"] + 0.03  # measured: 0.676 and 0.741
    assert "recalibrated from" in (out / "choices.json").read_text()
    evaluated = striate("evaluate", out, "sample", "--json")
    assert json.loads(evaluated.out)["accuracy"] == second["accuracy"]
    model = tmp_path / "mended.onnx"
    for command in (
        ("ship", out, "-o", model),
        ("verify", model, "--against", out),
        ("probe", out, "--probe", "batch-norm"),
    ):
        assert striate(*command).code == 0
    assert striate("verify", model, "--against", stale).code == 1
    assert "stale" not in striate("probe", out, "--probe", "batch-norm").out


def test_a_run_goes_into_a_new_run_folder_only(striate, stale, tmp_path):
    assert one_line(striate("recalibrate", stale, "-o", tmp_path / "x.onnx")) == (
        f"striate: {tmp_path}/x.onnx: a run is recalibrated into a run folder; name one, and ship that"
    )
    assert one_line(striate("recalibrate", stale, "-o", stale)) == (
        f"striate: {stale}: holds a finished run; choose another --out"
    )


def test_an_onnx_file_gives_an_onnx_file(striate, tmp_path):
    path, out = onnx_file("4C3-BN-R-5C3-BN-F-10", tmp_path / "theirs.onnx"), tmp_path / "mended.onnx"
    answer = striate("recalibrate", path, "sample", "-o", out, "--images", "40", "--std", "0.25")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0] == f"2 layers recalibrated on 40 images; 2 were stale: {out}"
    old, new = from_onnx(path), from_onnx(out)
    moved = {name for name in old.weights if not np.array_equal(old.weights[name], new.weights[name])}
    assert moved == {f"bn{i}.running_{what}" for i in (1, 2) for what in ("mean", "var")}
    assert "stale" not in striate("probe", out, "sample", "--std", "0.25", "--probe", "batch-norm").out
    again = striate("recalibrate", path, "sample", "-o", out, "--mean", "0", "--std", "1")
    assert one_line(again).endswith(f"{out}: exists; name a new .onnx file with --out")


def test_nothing_to_recalibrate(striate, tmp_path):
    path = onnx_file("4C3-R-F-10", tmp_path / "bare.onnx")
    answer = striate("recalibrate", path, "sample", "-o", tmp_path / "out.onnx", "--mean", "0.3", "--std", "0.3")
    assert one_line(answer).endswith("has no batch normalisation; there is nothing to recalibrate")
    assert not (tmp_path / "out.onnx").exists()
