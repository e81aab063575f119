"""A model is quantized only if labelled images show that it loses little enough, and the file says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from artifact.test_int8 import CLASSES, PREPROCESSING, network
from striate.artifact import About, Int8, golden_case, load, write
from striate.cli.app import main
from striate.data.preprocess import normalise
from striate.errors import ArtifactError, DataError, UsageError
from striate.graph import INPUT
from striate.graph.reference import output
from striate.jobs import quantizing
from striate.jobs.quantizing import quantize
from striate.runtime import Engine, self_test


def answers_dark_or_light():
    """The network's last layer set so that it tells dark images from light ones."""
    net = network()
    weights = dict(net.weights)
    weights["conv1.weight"] = np.abs(weights["conv1.weight"])
    weights["conv2.weight"] = np.abs(weights["conv2.weight"])
    weights["fc.weight"] = np.array([[-1.0] * 8, [1.0] * 8], np.float32)
    gray = np.full((1, *PREPROCESSING.shape), 0.0, np.float32)
    weights["fc.bias"] = np.zeros(2, np.float32)
    middle = output(net.with_weights(weights), gray + 0.2)[0]
    weights["fc.bias"] = -middle.astype(np.float32)
    return net.with_weights(weights)


def shipped(path, net=None):
    net = net or answers_dark_or_light()
    pixels = np.random.default_rng(0).integers(0, 256, (2, *PREPROCESSING.shape), np.uint8)
    exact = output(net.astype(np.float64), normalise(pixels, PREPROCESSING).astype(np.float64))
    golden = tuple(golden_case(p, PREPROCESSING, y) for p, y in zip(pixels, exact, strict=True))
    facts = About(
        network="small", classes=CLASSES, preprocessing=PREPROCESSING.to_json(), created="2026-01-31T12:00:00+00:00",
        golden=golden, golden_bound=1e-3, proof={"verdict": "exact"},
    )  # fmt: skip
    write(path, net, facts)
    return path


@pytest.fixture
def images(tmp_path):
    """Labelled images, dark and light."""
    rng = np.random.default_rng(7)
    for low, high, name in ((0, 100, "dark"), (156, 256, "light")):
        for i in range(9):
            folder = tmp_path / "photos" / ("train" if i < 4 else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(low, high, (12, 10, 3), np.uint8)).save(folder / f"{i}.png")
    return str(tmp_path / "photos")


def test_quantize_measures_writes_and_says_so(tmp_path, images, capsys):
    model = shipped(tmp_path / "model.onnx")
    assert main(["quantize", str(model), "--images", images, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    artifact = load(tmp_path / "model.int8.onnx")
    int8 = artifact.manifest.int8
    assert int8 == Int8(
        images=10, accuracy_before=1.0, accuracy_after=int8.accuracy_after, changed=int8.changed, calibration_images=8
    )
    assert told["accuracy_after"] == int8.accuracy_after >= 0.9
    assert artifact.manifest.proof is None
    engine = Engine(artifact, 1)
    assert 0 < self_test(engine, artifact.manifest) <= artifact.manifest.golden_bound
    with pytest.raises(UsageError, match=r"model.int8.onnx: is quantized already; give the float32 model$"):
        quantize(tmp_path / "model.int8.onnx", images, 1.0)


def test_whoever_loses_more_than_the_budget_writes_nothing(tmp_path, images, monkeypatch):
    model = shipped(tmp_path / "model.onnx")
    monkeypatch.setattr(quantizing, "_ranges", lambda *_: {INPUT: (-1e4, 1e4)})  # all pixels become one level
    with pytest.raises(
        ArtifactError,
        match=r"model.onnx: 8-bit integers get 50.00 % of 10 images right, float32 100.00 %: 50.00 points lost, "
        r"budget 2; nothing is written$",
    ):
        quantize(model, images, 2.0)
    assert not (tmp_path / "model.int8.onnx").exists()


def test_without_parts_every_second_image_is_measured(tmp_path, images):
    found = quantize(shipped(tmp_path / "model.onnx"), f"{images}/test", 5.0, tmp_path / "other.onnx")
    assert (found.int8.images, found.int8.calibration_images) == (5, 5)
    assert found.path == tmp_path / "other.onnx"
    assert found.lost_points == 100 * (found.int8.accuracy_before - found.int8.accuracy_after)


def test_wrong_usage(tmp_path, images):
    model = shipped(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=r"^quantize: the budget is -1 points; use 0 or more$"):
        quantize(model, images, -1.0)
    with pytest.raises(DataError):
        quantize(model, str(tmp_path / "absent"), 1.0)
