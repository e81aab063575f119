"""striate probe on a run, a shipped model, anyone's model and a torch module: what can be measured is, and why not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cli.conftest import NET
from striate.cli.app import main
from striate.data import write_sample_images
from striate.graph import initialise
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.notation import read

pytestmark = pytest.mark.slow

NAMES = ["equivariance", "consistency", "receptive-field", "batch-norm", "activations", "evidence", "covariate-shift"]
TORCH_NET = """
import torch
from torch import nn

class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.relu = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.body, self.head = nn.Conv2d(4, 5, 3), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.fft.rfft2(self.relu(self.norm(self.stem(x)))).abs()
        return self.head(self.body(x).mean((2, 3)))
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A run of one epoch that has recorded its covariate shift."""
    out = tmp_path_factory.mktemp("runs") / "recorded"
    settings = ["--epochs", "1", "--threads", "1", "--set", "record_shift=true", "--out", str(out)]
    assert main(["train", "sample", "--net", NET, *settings]) == 0
    return out


def onnx_file(notation: str, path: Path) -> Path:
    """A plain .onnx file of starting weights, as anyone's exporter might write it."""
    path.write_bytes(to_bytes(to_onnx(initialise(read(notation, (1, 28, 28)), 0))))
    return path


def one_line(answer) -> str:
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    return line


def remarks(answer) -> list[str]:
    """What was said beside the result, without the progress that a slow machine shows."""
    return [line for line in answer.err.splitlines() if not line.startswith("  probing: ")]


def whys(answer) -> dict[str, list[str]]:
    """Why not, by the probe's name, from the text."""
    assert answer.code == 0, answer.err
    found: dict[str, list[str]] = {}
    for line in answer.out.splitlines():
        if line and not line.startswith(" "):
            name = line.split()[0]
        elif line.startswith("  not measured: "):
            found.setdefault(name, []).append(line.removeprefix("  not measured: "))
    return found


def test_all_probes_of_a_run_as_data_and_as_figures(striate, recorded, tmp_path):
    answer = striate("probe", recorded, "--images", "12", "--json", "--figures", tmp_path)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [one["probe"] for one in found] == NAMES
    assert [one["images"] for one in found] == [8, 12, 8, 12, 12, 1, 100]
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(NAMES)
    shift = found[-1]["shift"]
    assert set(shift) == {"conv1", "conv2", "fc1"}
    assert max(shift["conv1"]) == 0 < min(shift["fc1"])


def test_a_run_as_text_has_a_table_a_reading_and_n(striate, finished):
    answer = striate("probe", finished, "--probe", "batch-norm", "--probe", "covariate-shift", "--images", "20")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "batch-norm (n = 20 images)"
    assert lines[1].startswith("  batch norm  channels  mean off, sigma  |ln var ratio|  eff. samples")
    assert lines[2].split()[:2] == ["bn1", "4"]
    assert "training mode changes the outputs by" in answer.out
    assert whys(answer) == {
        "covariate-shift": [
            "covariate shift was not recorded; it is where a run was trained with --set record_shift=true"
        ]
    }


def test_a_shipped_model_is_probed_and_says_what_folding_took(striate, model):
    assert one_line(striate("probe", model)) == (
        f"striate: {NET}: does not say what it was trained on; name the images as DATA"
    )
    found = whys(striate("probe", model, "sample", "--images", "6"))
    assert found.pop("batch-norm") == ["the network has no batch normalisation"]
    assert set(found) <= {"covariate-shift", "equivariance", "consistency"}


def test_anyones_model_is_probed_with_what_is_said_of_its_pixels(striate, tmp_path):
    path = onnx_file("4C3-BN-R-MP2-F-10", tmp_path / "theirs.onnx")
    answer = striate("probe", path, "sample", "--images", "5", "--std", "0.25", "--probe", "batch-norm")
    assert answer.code == 0, answer.err
    assert remarks(answer) == [
        "  auto: mean = (0.0,) (nothing says what it was trained with; give --mean for other pixels than 0 to 1)"
    ]
    assert "1 of 1 layers are stale, bn1 first: run striate recalibrate" in answer.out


def test_resnet20_of_someone_else_on_cifar(striate, shared_data):
    answer = striate(
        "probe", shared_data / "pretrained" / "resnet20_cifar10.onnx", shared_data / "cifar10" / "test.parquet",
        "--mean", ".485,.456,.406", "--std", ".229,.224,.225", "--images", "30", "--json",
        "--probe", "batch-norm", "--probe", "consistency", "--probe", "activations",
    )  # fmt: skip
    assert answer.code == 0
    assert remarks(answer) == []
    agreement, norms, activations = json.loads(answer.out)
    assert len(norms["layers"]) == 19
    assert norms["modes"]["agreement"] > 0.5
    first = next(one for one in agreement["agreements"] if one["shift_px"] == 1)
    assert first["same"] >= 25
    assert len(activations["layers"]) == 19


def test_what_stands_behind_an_unknown_layer_is_not_measured(striate, tmp_path, monkeypatch, seeded):
    (tmp_path / "spectral.py").write_text(TORCH_NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "spectral", raising=False)
    answer = striate("probe", "spectral:Spectral", "sample", "--input", "1x28x28", "--images", "6")
    hidden = (
        "5 of 8 layers, fft_rfft2 and what depends on it: Spectral: calls fft_rfft2, which striate has no layer for yet"
    )
    found = whys(answer)
    assert {name for name, why in found.items() if hidden in why} == set(NAMES) - {"covariate-shift"}
    for measured in ("norm", "relu", "stem"):
        assert measured in answer.out
    assert one_line(striate("probe", "spectral:Spectral", "sample")) == (
        "striate: spectral:Spectral: the size of the input is not known; give it, as in --input 3x224x224"
    )


def test_a_network_without_maps_and_norms(striate, tmp_path):
    found = whys(striate("probe", onnx_file("F-12-R-10", tmp_path / "flat.onnx"), "sample", "--images", "7"))
    for name in ("equivariance", "receptive-field"):
        assert found[name] == ["the network has no feature maps"]
    assert found["evidence"] == ["the network has no feature maps: no Grad-CAM"]
    assert found["batch-norm"] == ["the network has no batch normalisation"]
    assert "activations" not in found


def test_a_network_that_gives_maps(striate, tmp_path):
    found = whys(striate("probe", onnx_file("3C3-BN", tmp_path / "maps.onnx"), "sample", "--images", "7"))
    assert found["consistency"] == ["the output (3, 28, 28) is not two classes or more"]
    assert found["evidence"] == ["the output (3, 28, 28) is not a list of classes: no map of evidence"]
    assert found["activations"] == ["the network has no activation layers"]


def test_too_few_images_and_one_class(striate, finished, tmp_path):
    paths = write_sample_images(tmp_path / "photos", 30)
    for path in paths:
        if path.parent.name != "Bag":
            path.unlink()
    for folder in (tmp_path / "photos").iterdir():
        if folder.name != "Bag":
            folder.rmdir()
    assert len([path for path in paths if path.exists()]) == 3
    answer = striate("probe", finished, tmp_path / "photos", "--probe", "batch-norm", "--probe", "consistency")
    found = whys(answer)
    assert found["batch-norm"] == ["train against eval needs 4 images or more"]
    assert "bn1" in answer.out
    assert "consistency (n = 3 images)" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--probe", "cheese"], f"probe 'cheese' is not known; use {', '.join(NAMES)}"),
        (["RUN", "--mean", "0.5"], "RUN: says itself what it reads; leave out --input, --mean and --std"),
        (["RUN", "--mean", "half"], "--mean 'half' is not numbers with commas; write it as in --mean 0.5,0.5,0.5"),
        (
            ["notes.txt", "sample"],
            "notes.txt: is no run folder, no .onnx file and no package.module:callable; give one of them",
        ),
        (["none.onnx", "sample"], "none.onnx: cannot be read (No such file or directory); check the path"),
    ],
)
def test_bad_input_is_one_line(striate, finished, arguments, message):
    given = [str(finished) if one == "RUN" else one for one in arguments]
    assert one_line(striate("probe", *given)) == f"striate: {message.replace('RUN', str(finished))}"


def test_a_damaged_record_is_named(striate, recorded):
    path = recorded / "shift.jsonl"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    try:
        assert one_line(striate("probe", recorded)) == (
            f"striate: {path}: is damaged; delete it, the run does not need it"
        )
    finally:
        path.write_text(whole)
