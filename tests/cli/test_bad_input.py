"""Bad input: one line that says what to do, exit code 2, nothing lost."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = "4C3-BN-R-GAP-2"


def images(folder: Path, count: int = 6, size: tuple[int, int] = (12, 10)) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(folder.name))
    for i in range(count):
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def fault(answer) -> str:
    """The one line of an error; the command must have failed without a traceback and without output."""
    assert answer.code == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    return answer.err.splitlines()[-1]


def test_missing_folder(striate, tmp_path):
    line = fault(striate("train", tmp_path / "nowhere", "--out", tmp_path / "run"))
    assert line.startswith(f"striate: {tmp_path}/nowhere: no such folder or file; give a folder")
    assert not (tmp_path / "run").exists()


def test_empty_class(striate, tmp_path):
    images(tmp_path / "data" / "cats")
    (tmp_path / "data" / "dogs").mkdir()
    line = fault(striate("train", tmp_path / "data", "--net", TINY, "--out", tmp_path / "run"))
    assert "dogs" in line


def test_one_class(striate, tmp_path):
    images(tmp_path / "data" / "cats")
    line = fault(striate("train", tmp_path / "data", "--net", TINY, "--out", tmp_path / "run"))
    assert "class" in line
    assert "cats" in line


def test_unreadable_image(striate, tmp_path):
    images(tmp_path / "data" / "cats")
    images(tmp_path / "data" / "dogs")
    (tmp_path / "data" / "dogs" / "3.png").write_bytes(b"this is no picture")
    line = fault(striate("train", tmp_path / "data", "--net", TINY, "--out", tmp_path / "run"))
    assert "3.png" in line


def test_wrong_channel_count(striate, tmp_path):
    line = fault(striate("train", "sample", "--net", TINY, "--input", "4x28x28", "--out", tmp_path / "run"))
    assert "4" in line
    assert "channels" in line


def test_too_deep_for_the_input(striate):
    answer = striate("inspect", "8C3-MP2-MP2-MP2-MP2-F-10", "--input", "1x12x12")
    line = answer.err.splitlines()[0]
    assert answer.code == 2
    assert "pool4" in line or "MP2" in line


def test_wrong_number_of_classes(striate, tmp_path):
    line = fault(striate("train", "sample", "--net", "8C3-R-GAP-7", "--out", tmp_path / "run"))
    assert "write 10 in its place" in line
    assert not (tmp_path / "run").exists()


def test_notation_fault_has_a_caret(striate):
    answer = striate("inspect", "32C3-BQ-R", "--input", "1x28x28")
    message, text, caret = answer.err.splitlines()
    assert answer.code == 2
    assert message.startswith("striate: notation: unknown layer 'BQ' at character 6; allowed here: ")
    assert text[caret.index("^")] == "B"


def test_run_of_another_version(striate, finished, tmp_path):
    other = tmp_path / "old"
    shutil.copytree(finished, other)
    environment = json.loads((other / "environment.json").read_text())
    (other / "environment.json").write_text(json.dumps({**environment, "format": 99}))
    line = fault(striate("ship", other, "-o", tmp_path / "m.onnx"))
    assert "is a run of format 99, this striate reads 3" in line
    assert not (tmp_path / "m.onnx").exists()


def test_truncated_model(striate, model, photos, tmp_path):
    short = tmp_path / "short.onnx"
    short.write_bytes(model.read_bytes()[:-100])
    for command in (("predict", short, photos[0]), ("verify", short), ("evaluate", short, "sample")):
        assert fault(striate(*command)).startswith(f"striate: {short}: ")


def test_altered_model(striate, model, photos, tmp_path):
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    altered = tmp_path / "altered.onnx"
    altered.write_bytes(data)
    assert fault(striate("predict", altered, photos[0])).startswith(f"striate: {altered}: ")


def test_altered_weights_of_a_run(striate, finished, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(finished, other)
    data = bytearray((other / "weights.safetensors").read_bytes())
    data[-5] ^= 1
    (other / "weights.safetensors").write_bytes(data)
    assert str(other) in fault(striate("ship", other, "-o", tmp_path / "m.onnx"))


def test_a_failed_proof_ships_nothing_and_names_the_layer(striate, finished, tmp_path, monkeypatch):
    module = sys.modules["striate.rewrite.fold_batch_norm"]
    right = module._fold

    def wrong(before, bn, weights):
        node, arrays = right(before, bn, weights)
        return node, {name: array * (1.001 if array.ndim == 1 else 1) for name, array in arrays.items()}

    monkeypatch.setattr(module, "_fold", wrong)
    line = fault(striate("ship", finished, "-o", tmp_path / "m.onnx"))
    assert line.startswith("striate: 4C3s2-BN-R-8C3-BN-R-MP2-F-10 is not the network it was made from: bn1: ")
    assert line.endswith("nothing is shipped")
    assert not (tmp_path / "m.onnx").exists()


def test_a_finished_run_is_not_overwritten(striate, finished):
    before = (finished / "weights.safetensors").read_bytes()
    line = fault(striate("train", "sample", "--net", TINY.replace("-2", "-10"), "--out", finished))
    assert line == f"striate: {finished}: holds a finished run; choose another --out"
    assert (finished / "weights.safetensors").read_bytes() == before


def test_nothing_to_resume(striate, finished, tmp_path):
    assert "nothing to resume" in fault(striate("resume", finished))
    assert "holds no run" in fault(striate("resume", tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inspect", "8C3-R-GAP-10"), "the size of the input is not known; give it, as in --input 3x224x224"),
        (("inspect", "8C3-R-GAP-10", "--input", "28"), "write it as in 3x224x224"),
        (("inspect", "resnet19", "--input", "3x64x64"), "did you mean resnet18 or resnet152?"),
        (("inspect", "no_such_module:net", "--input", "3x8x8"), "cannot be imported"),
        (("inspect", "nothing.onnx"), "nothing.onnx"),
        (("train", "sample", "--set", "epoch=3"), "unknown key 'epoch'; did you mean 'epochs'?"),
        (("train", "sample", "--set", "epochs"), "is not KEY=VALUE"),
        (("train", "sample", "--lr", "-1"), "peak_lr"),
        (("evaluate", "nothing", "sample"), "is neither a run folder nor an .onnx file"),
        (("verify", "nothing.onnx", "--images", "sample"), "nothing.onnx: cannot be opened"),
        (("ship", "nothing.onnx", "--mean", "0.5"), "give --std, --fit crop|pad|stretch, --images as in training"),
        (("ship", ".", "--mean", "0.5"), "a run knows its classes, its input and its preprocessing"),
        (("ship", ".", "--takes", "int8"), "the file cannot take int8; use uint8 or float32"),
        (("predict", "nothing.onnx", "a.jpg"), "nothing.onnx"),
    ],
)
def test_faults_of_usage(striate, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in fault(striate(*arguments))
    assert list(tmp_path.iterdir()) == []
