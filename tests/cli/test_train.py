from __future__ import annotations

import json

import pytest

from striate.cli.settings import seconds_of
from striate.errors import UsageError
from striate.train.recipe import load_recipe

SMALL = ("--net", "4C3s2-BN-R-8C3s2-BN-R-GAP-10", "--threads", "1", "--batch", "500")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("45", 45), ("0.5m", 30)])
def test_a_time_is_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "20 minutes", "1:30", "h20"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(UsageError, match=f"^--time '{text}' is no time; write it as in 90s, 20m or 1.5h$"):
        seconds_of(text)


def test_a_time_is_planned_and_recorded(striate, tmp_path):
    answer = striate("train", "sample", *SMALL, "--time", "1s", "--out", tmp_path / "run")
    assert answer.code == 0
    recipe = load_recipe(tmp_path / "run" / "recipe.json")
    assert f"auto: epochs = {recipe.epochs:g} (" in answer.err
    assert "% of 1 s; fixed now, whatever the machine does later)" in answer.err


def test_time_and_epochs_together_are_refused(striate, tmp_path):
    answer = striate("train", "sample", *SMALL, "--time", "2s", "--epochs", "3", "--out", tmp_path / "run")
    assert (answer.code, answer.err) == (
        2, "striate: recipe: time_seconds and epochs are both given; give one of them\n",
    )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_options_reach_the_recipe_and_the_gap_is_told(striate, tmp_path):
    options = ("--epochs", "0.3", "--optimizer", "muon", "--set", "averaging=ema", "--set", "decay_at=[0.5]")
    answer = striate("train", "sample", *SMALL, *options, "--out", tmp_path / "run")
    assert answer.code == 0
    recipe = load_recipe(tmp_path / "run" / "recipe.json")
    assert (recipe.epochs, recipe.optimizer, recipe.averaging, recipe.decay_at) == (0.3, "muon", "ema", (0.5,))
    assert recipe.bn_precise == "always"
    gap = json.loads((tmp_path / "run" / "result.json").read_text())["train_eval_gap"]
    assert (gap["images"], gap["batch_images"]) == (512, 256)
    said = f"loss {gap['running_loss']:.3f} by running statistics, {gap['batch_loss']:.3f} by those of batches of 256"
    assert f"batch normalisation: {said}, on 512 training images" in answer.out
