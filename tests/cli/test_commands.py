"""Every command on real input: what it prints, its JSON, its exit code, its help."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from striate.cli.app import app
from striate.data import load, load_part
from striate.jobs.training import trained
from striate.runtime import Engine
from striate.train.run.state import Run

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_and_shows_an_example(striate, command):
    answer = striate(command, "--help")
    assert answer.code == 0
    assert f"Example: striate {command}" in answer.out
    assert "--json" in answer.out


def test_help_without_a_command_lists_them_all(striate):
    answer = striate("--help")
    assert answer.code == 0
    assert all(command in answer.out for command in COMMANDS)


def test_inspect_prints_a_table_in_two_parts(striate):
    answer = striate("inspect", "32C3-BN-R-MP2-64C3-BN-R-GAP-10", "--input", "1x28x28")
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[0] == "32C3-BN-R-MP2-64C3-BN-R-GAP-10   input 1x28x28"
    features = next(i for i, line in enumerate(lines) if line.startswith("-- features"))
    classifier = next(i for i, line in enumerate(lines) if line.startswith("-- classifier"))
    assert [line.split()[0] for line in lines[features + 1 : classifier]] == [
        "conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2", "pool2",
    ]  # fmt: skip
    assert lines[classifier + 1].split() == ["fc1", "linear", "10", "10", "28", "2", "0", "650", "640"]
    assert "parameters 19,562   MACs 3,839,104 an image" in answer.out


def test_inspect_json_has_the_stated_form(striate):
    answer = striate("inspect", "6C3x5s2x1p1:0x2-R-F-7", "--input", "3x11x13", "--json")
    found = json.loads(answer.out)
    assert (found["network"], found["input"]) == ("6C3x5s2x1p1:0x2-R-F-7", [3, 11, 13])
    conv = found["layers"][0]
    assert (conv["name"], conv["kind"], conv["output"]) == ("conv1", "conv", [6, 5, 13])
    assert conv["receptive_field"] == {"size": [3, 5], "jump": [2, 1], "start": [-1, -2]}
    assert (conv["parameters"], conv["macs"]) == (6 * 3 * 15 + 6, 6 * 5 * 13 * 3 * 15)
    assert found["layers"][-1]["receptive_field"]["size"] == [10, 13]  # row 10 of 11 is never read
    assert found["totals"]["unread_pixels"] == [[10], []]
    assert found["totals"]["parameters"] == sum(layer["parameters"] for layer in found["layers"])


@pytest.mark.parametrize("form", ["run", "model"])
def test_inspect_reads_runs_and_models(striate, finished, model, form):
    answer = striate("inspect", finished if form == "run" else model, "--json")
    found = json.loads(answer.out)
    assert found["input"] == [1, 28, 28]
    preparation = [] if form == "run" else [784]  # of pixels, part of the file
    assert [layer["macs"] for layer in found["layers"] if layer["macs"]] == [*preparation, 7056, 56448, 3920]


@pytest.mark.usefixtures("seeded")
def test_inspect_calls_a_function_of_a_module(striate, tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def small():\n"
        "    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(105, 4))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    answer = striate("inspect", "my_nets:small", "--input", "2x7x9", "--json")
    assert [layer["output"] for layer in json.loads(answer.out)["layers"]] == [[3, 5, 7], [105], [4]]


def test_train_writes_a_run_that_explains_itself(finished):
    assert {p.name for p in finished.iterdir()} >= {
        "recipe.json", "environment.json", "dataset.json", "choices.json", "metrics.jsonl", "weights.safetensors",
        "result.json", "curves.png", "confusion.png",
    }  # fmt: skip
    choices = {c["name"] for c in json.loads((finished / "choices.json").read_text())}
    assert {"batch_images", "peak_lr", "flip", "shift_px", "input", "mean", "validation"} <= choices


def test_evaluate_gives_the_same_scores_for_run_and_model(striate, finished, model):
    of_run = json.loads(striate("evaluate", finished, "sample", "--json").out)
    of_model = json.loads(striate("evaluate", model, "sample", "--json").out)
    assert of_run["confusion"] == of_model["confusion"]
    assert of_run["loss"] == pytest.approx(of_model["loss"], rel=1e-5)
    assert of_run["images"] == 1000
    assert of_run["right"] == int(np.trace(np.array(of_run["confusion"])))


def test_the_model_answers_as_the_trained_network_on_every_test_image(finished, model):
    torch = pytest.importorskip("torch")
    engine, run = Engine(model), Run(finished)
    part, _ = load_part("sample", run.classes(), run.preprocessing())
    served = engine.classify(part.images)
    module = trained(finished)
    from striate.data import normalise

    with torch.inference_mode():
        logits = module(torch.from_numpy(normalise(part.images, run.preprocessing())))
        trained_probabilities = torch.softmax(logits.double() / run.fitted()[0], dim=1).numpy()
    assert (served.argmax(axis=1) == trained_probabilities.argmax(axis=1)).all()
    assert np.abs(served - trained_probabilities).max() < 2e-6


def test_ship_folds_every_batch_norm_and_stores_the_proof(striate, finished, tmp_path):
    answer = striate("ship", finished, "-o", tmp_path / "m.onnx", "--json")
    found = json.loads(answer.out)
    assert found["verdict"] == "proved"
    assert found["batch_norms"] == {"before": 2, "after": 0}
    assert [r["at"] for r in found["refused"]] == ["bn1"]  # the stem, which cannot merge with the preparation
    assert {a["at"] for a in found["applied"]} == {"bn1", "bn2", "normalised"}
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx"}  # one file, nothing beside it
    assert Engine(tmp_path / "m.onnx").manifest.proof == found["proof"]


def test_verify_holds_and_proves_anew_against_the_run(striate, finished, model):
    answer = striate("verify", model, "--against", finished, "--images", "sample", "--json")
    found = json.loads(answer.out)
    assert answer.code == 0
    assert (found["verdict"], found["fault"]) == ("holds", "")
    assert found["golden"]["cases"] == 4
    assert found["golden"]["largest_difference"] < 1e-5
    assert found["proof"]["inputs"]["image"] == 36


def test_verify_fails_against_another_run(striate, model, tmp_path):
    other = tmp_path / "other"
    net = "4C3s2-BN-R-8C3-BN-R-MP2-F-10"
    assert striate("train", "sample", "--net", net, "--epochs", "1", "--seed", "1", "--out", other).code == 0
    answer = striate("verify", model, "--against", other)
    assert answer.code == 1
    assert "refuted" in answer.out


def test_predict_prints_one_line_an_image(striate, model, photos):
    answer = striate("predict", model, *photos)
    rows = [line.split("\t") for line in answer.out.splitlines()]
    assert answer.code == 0
    assert [row[0] for row in rows] == [str(p) for p in photos]
    classes = Engine(model).manifest.classes
    assert all(row[1] in classes and 0 < float(row[2]) <= 1 for row in rows)


def test_predict_json_is_one_object_a_line(striate, model, photos):
    answer = striate("predict", model, photos[0].parents[1], "--json")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert len(rows) == len(photos)
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"].values())


def test_predict_names_an_unreadable_image_and_goes_on(striate, model, photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(photos[0].read_bytes()[:60])
    answer = striate("predict", model, bad, photos[1])
    assert answer.code == 1
    assert answer.out.splitlines()[0].startswith(str(photos[1]))
    assert answer.err.startswith(f"striate: {bad}: ")


def test_predict_runs_without_torch(model, photos):
    code = (
        "import sys; from striate.cli.app import main; code = main(sys.argv[1:]); "
        "sys.exit(code or ('torch' in sys.modules and 99))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(model), str(photos[0])], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(photos[0]).encode())


def test_a_killed_run_is_named_and_resumes_to_the_same_bits(striate, finished, tmp_path):
    out = tmp_path / "killed"
    command = ["train", "sample", "--net", "4C3s2-BN-R-8C3-BN-R-MP2-F-10", "--epochs", "1", "--threads", "1"]
    script = (
        "import os, sys; from striate.train import loop; from striate.cli.app import main\n"
        "real = loop.Session.close_epoch\n"
        "loop.Session.close_epoch = lambda *a: os._exit(9)\n"
        "main(sys.argv[1:])"
    )
    arguments = [*command, "--out", str(out), "--set", "checkpoint_seconds=0"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False)
    assert done.returncode == 9, done.stderr
    again = striate(*command, "--out", out)
    assert (again.code, again.err.splitlines()[-1]) == (
        2,
        f"striate: {out}: holds an unfinished run; continue it with `striate resume {out}` or choose another --out",
    )
    assert striate("resume", out).code == 0
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_every_automatic_choice_is_printed_and_can_be_set(striate, tmp_path):
    net = "2C3s4-R-F-10"
    first = striate("train", "sample", "--net", net, "--epochs", "1", "--out", tmp_path / "a")
    automatic = {line.split()[1] for line in first.err.splitlines() if line.startswith("  auto: ")}
    assert {"batch_images", "peak_lr", "flip", "shift_px", "threads"} <= automatic
    options = ["--batch", "100", "--lr", "0.02", "--no-flip", "--threads", "1", "--set", "shift_px=1"]
    second = striate("train", "sample", "--net", net, "--epochs", "1", *options, "--out", tmp_path / "b")
    automatic = {line.split()[1] for line in second.err.splitlines() if line.startswith("  auto: ")}
    assert not {"batch_images", "peak_lr", "flip", "shift_px", "threads"} & automatic
    recipe = json.loads((tmp_path / "b" / "recipe.json").read_text())
    assert (recipe["batch_images"], recipe["peak_lr"], recipe["flip"], recipe["shift_px"]) == (100, 0.02, False, 1)


def test_the_sample_is_balanced():
    dataset, _ = load("sample")
    assert len(dataset.train) + len(dataset.validation) == 5000
    assert np.bincount(dataset.test.labels).tolist() == [100] * 10
