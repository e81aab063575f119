from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import DataError, RecipeError, RunError, ShapeError
from striate.train.evaluation.evaluate import evaluate
from striate.train.loop import build, resume, train, trained
from striate.train.observer import Observer
from striate.train.recipe import Recipe
from striate.train.run.state import Run
from watching import Recorder, StopAfter, Stopped, same_bits


def test_it_learns_and_says_so(dataset, recipe, builder):
    watcher = Recorder()
    module = build(builder, recipe, dataset.classes)
    result = train(module, dataset, recipe.changed(epochs=12), observer=watcher)
    assert result.test.accuracy == 1.0
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < losses[0] / 1.5
    assert [kind for kind, _ in watcher.heard] == ["start", *[*["step"] * 8, "epoch"] * 12, "end"]
    plan = watcher.of("start")[0]
    assert (plan.epochs, plan.steps_per_epoch, plan.done_steps) == (12, 8, 0)
    assert (plan.train_images, plan.validation_images, plan.test_images) == (61, 20, 23)
    assert plan.parameters == 5 * 3 * 3 + 5 + 5 + 45 * 3 + 3
    assert plan.estimate_seconds > 0
    assert [step.done_steps for step in watcher.of("step")] == list(range(1, 97))
    assert sum(step.images for step in watcher.of("step")) == 12 * 61


def test_the_module_ends_with_the_weights_best_on_validation(dataset, recipe, builder):
    seen = {}

    class Keep(Observer):
        def on_epoch(self, row):
            seen[row["epoch"]] = module[6].weight.detach().clone()

    module = build(builder, recipe, dataset.classes)
    result = train(module, dataset, recipe.changed(epochs=6), observer=Keep())
    ranks = [(row["validation_accuracy"], -row["validation_loss"]) for row in result.history]
    assert result.kept_epoch == 1 + ranks.index(max(ranks))
    assert torch.equal(module[6].weight, seen[result.kept_epoch])
    expected = [rank > max(ranks[:i], default=(-1,)) for i, rank in enumerate(ranks)]
    assert [row["best"] for row in result.history] == expected
    again = evaluate(module, dataset.test, dataset.preprocessing)
    np.testing.assert_array_equal(again.confusion, result.test.confusion)


def test_the_last_weights_are_kept_where_the_recipe_says_so(dataset, recipe, builder, tmp_path):
    recipe = recipe.changed(epochs=6, keep="last", peak_lr=0.5)
    module = build(builder, recipe, dataset.classes)
    result = train(module, dataset, recipe, Run(tmp_path / "run"))
    best = [row["epoch"] for row in result.history if row["best"]][-1]
    assert best < result.kept_epoch == 6  # the rate is too high for the last to be the best
    assert result.validation.accuracy == result.history[-1]["validation_accuracy"]
    finished = trained(tmp_path / "run", builder)
    assert same_bits(finished, module)


def test_writing_a_run_and_watching_it_change_no_bit(dataset, recipe, builder, tmp_path):
    silent, written = (build(builder, recipe, dataset.classes) for _ in range(2))
    train(silent, dataset, recipe)
    train(written, dataset, recipe, Run(tmp_path / "run"), Recorder())
    assert same_bits(silent, written)
    loaded = trained(tmp_path / "run", builder)
    assert same_bits(silent, loaded)
    assert not any(part.training for part in loaded.modules())


def test_the_callers_random_state_threads_and_flags_are_left_alone(dataset, recipe, builder):
    module = build(builder, recipe, dataset.classes).eval()
    module[5].train()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(module, dataset, recipe.changed(threads=threads + 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert [part.training for part in module] == [False] * 5 + [True, False]


def test_the_folder_tells_the_whole_run(dataset, recipe, builder, tmp_path):
    run = Run(tmp_path / "run")
    result = train(build(builder, recipe, dataset.classes), dataset, recipe, run)
    assert {path.name for path in run.path.iterdir()} == {
        "choices.json", "dataset.json", "environment.json", "metrics.jsonl", "recipe.json",
        "result.json", "run.lock", "timing.jsonl", "weights.safetensors",
    }  # fmt: skip
    assert run.recipe() == recipe
    assert run.classes() == ("left", "middle", "right")
    assert run.preprocessing() == dataset.preprocessing
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows == list(result.history)
    written = run.read("result.json")
    assert written["accuracy"] == result.test.accuracy
    assert written["interval_95"] == list(result.test.interval_95)
    assert written["measured_on"] == "test"
    assert run.read("dataset.json")["counts"] == {"train": [21, 20, 20], "validation": [7, 7, 6], "test": [8, 8, 7]}
    assert run.read("environment.json")["torch"] == torch.__version__


def test_without_a_test_part_the_headline_is_validations(dataset, recipe, builder):
    result = train(build(builder, recipe, dataset.classes), replace(dataset, test=None), recipe)
    assert result.test is None
    assert result.headline is result.validation
    assert result.to_json()["measured_on"] == "validation"


OPTIONS = {
    "muon": {"optimizer": "muon", "norm_lr_factor": 8.0},
    "ema": {"averaging": "ema", "average_decay": 0.9, "average_every": 2, "bn_precise": "always"},
    "lookahead": {"averaging": "lookahead", "average_decay": 0.9, "average_every": 3, "bn_precise": "always"},
    "a share of an epoch": {"epochs": 2.6},
    "balanced": {"sampling": "balanced", "class_weights": "balanced", "flip": True},
    "dirac": {"init": "dirac", "whiten": False},
    "patience": {"epochs": 30, "patience": 2},
    "clipped": {"clip_norm": 0.5},
    "ghost batches": {"ghost_batch_images": 3},
    "recovered": {
        "peak_lr": 64.0,
        "recovery_factor": 2.0**-10,
        "batch_images": 3,
        "weight_decay": 0.9,
        "warmup_share": 0.0,
    },
}


@pytest.mark.parametrize("option", OPTIONS)
def test_with_each_option_a_stopped_run_resumes_to_the_same_bits(seeded, dataset, recipe, builder, tmp_path, option):
    recipe = recipe.changed(**OPTIONS[option])
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, recipe, dataset.classes), dataset, recipe, whole)
    with pytest.raises(Stopped):
        train(build(builder, recipe, dataset.classes), dataset, recipe, stopped, StopAfter(11))
    resume(stopped.path, builder, lambda _: dataset)
    for name in ("weights.safetensors", "metrics.jsonl", "recipe.json"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name


@pytest.mark.parametrize("steps", [1, 8, 9, 23, 24])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0])
def test_a_stopped_run_resumes_to_the_same_bits(seeded, dataset, recipe, builder, tmp_path, steps, checkpoint_seconds):
    recipe = recipe.changed(checkpoint_seconds=checkpoint_seconds)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, recipe, dataset.classes), dataset, recipe, whole)
    with pytest.raises(Stopped):
        train(build(builder, recipe, dataset.classes), dataset, recipe, stopped, StopAfter(steps))
    torch.rand(steps)  # the global state is another one by now
    watcher = Recorder()
    resume(stopped.path, lambda *_: builder(recipe, dataset.classes).eval(), lambda _: dataset, watcher)
    for name in ("weights.safetensors", "metrics.jsonl", "recipe.json", "dataset.json"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name
    assert watcher.of("start")[0].done_steps == (steps - 1 if checkpoint_seconds == 0 else (steps - 1) // 8 * 8)


def test_a_damaged_checkpoint_is_passed_over_and_told(dataset, recipe, builder, tmp_path):
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, recipe, dataset.classes), dataset, recipe, whole)
    with pytest.raises(Stopped):
        train(build(builder, recipe, dataset.classes), dataset, recipe, stopped, StopAfter(13))
    newest = max((stopped.path / "checkpoint").glob("*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    watcher = Recorder()
    resume(stopped.path, builder, lambda _: dataset, watcher)
    note = f"{newest}: is damaged, its hash is not the one recorded; continuing from the checkpoint before it"
    assert watcher.of("note") == [note]
    assert watcher.of("start")[0].done_steps == 11
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name


def stopped_run(dataset, recipe, builder, path):
    run = Run(path)
    with pytest.raises(Stopped):
        train(build(builder, recipe, dataset.classes), dataset, recipe, run, StopAfter(5))
    return run


def test_training_into_an_unfinished_run_names_resume(dataset, recipe, builder, tmp_path):
    run = stopped_run(dataset, recipe, builder, tmp_path / "run")
    message = (
        f"{run.path}: holds an unfinished run; continue it with `striate resume {run.path}` or choose another --out"
    )
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        train(build(builder, recipe, dataset.classes), dataset, recipe, run)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r": is unfinished; finish it with `striate resume "):
        trained(run.path, builder)


def test_a_finished_run_is_neither_overwritten_nor_resumed(dataset, recipe, builder, tmp_path):
    run = Run(tmp_path / "run")
    train(build(builder, recipe, dataset.classes), dataset, recipe, run)
    with pytest.raises(RunError, match=r"run: holds a finished run; choose another --out$"):
        train(build(builder, recipe, dataset.classes), dataset, recipe, run)
    with pytest.raises(RunError, match=r"run: is finished, there is nothing to resume; train into another --out$"):
        resume(run.path, builder, lambda _: dataset)


def test_other_data_or_another_network_cannot_continue_a_run(dataset, recipe, builder, tmp_path):
    run = stopped_run(dataset, recipe, builder, tmp_path / "run")
    with pytest.raises(RunError, match=r"run: the data are not those it began with; restore them or train again$"):
        resume(run.path, builder, lambda _: replace(dataset, fingerprint="0"))

    def wider(recipe, classes):
        module = builder(recipe, classes)
        module[0] = nn.Conv2d(3, 5, (3, 3), padding=1, bias=False)
        return module

    with pytest.raises(RunError, match=r"^checkpoint 4: 0\.weight is 5x3x3x1 in the file, 5x3x3x3 in the network; "):
        resume(run.path, wider, lambda _: dataset)
    with pytest.raises(
        RunError, match=r"^checkpoint 4: the file lacks '7\.bias'; the network must be the one that was trained$"
    ):
        resume(run.path, lambda r, c: builder(r, c).append(nn.Linear(3, 3)), lambda _: dataset)


def test_a_diverging_run_says_where_and_keeps_its_last_good_checkpoint(dataset, recipe, builder, tmp_path):
    recipe = recipe.changed(peak_lr=100.0, epochs=50, momentum=0.99, weight_decay=0.9)
    run = Run(tmp_path / "run")
    with pytest.raises(
        RunError,
        match=r"^training diverged after 2 recoveries: .*; lower peak_lr \(now 100\.0\) and train into another --out$",
    ):
        train(build(builder, recipe, dataset.classes), dataset, recipe, run)
    checkpoint, faults = run.newest_checkpoint()
    assert faults == ()
    assert all(bool(tensor.isfinite().all()) for tensor in checkpoint.tensors.values())


def test_altered_or_missing_weights_are_not_loaded(dataset, recipe, builder, tmp_path):
    run = Run(tmp_path / "run")
    train(build(builder, recipe, dataset.classes), dataset, recipe, run)
    content = bytearray(run.weights_path.read_bytes())
    content[-1] ^= 1
    run.weights_path.write_bytes(content)
    with pytest.raises(
        RunError, match=r"weights\.safetensors: was altered since the run ended; restore it or train again$"
    ):
        trained(run.path, builder)
    run.weights_path.unlink()
    with pytest.raises(RunError, match=r"weights\.safetensors: cannot be read \(No such file or directory\)$"):
        trained(run.path, builder)


def test_rows_beyond_the_checkpoint_are_taken_back(dataset, recipe, builder, tmp_path):
    run = stopped_run(dataset, recipe, builder, tmp_path / "run")
    (run.path / "metrics.jsonl").write_text('{"epoch": 1}\n')

    class Look(Observer):
        def on_start(self, plan):
            assert (run.path / "metrics.jsonl").read_text() == ""

    resume(run.path, builder, lambda _: dataset, Look())
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_what_does_not_fit_together_is_refused_before_anything_is_written(dataset, recipe, builder, tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"^recipe: input is still 'auto'; call resolve first$"):
        train(build(builder, recipe, dataset.classes), dataset, Recipe(), run)
    message = (
        "network: output (2, 4) for input (2, 3, 9, 11); the data has 3 classes, "
        "so the network must end in 3 numbers an image"
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        train(build(builder, recipe, (*dataset.classes, "more")), dataset, recipe, run)
    with pytest.raises(DataError, match=r"labels 0 to 2; allowed are 0 to 1$"):
        train(build(builder, recipe, ("a", "b")), replace(dataset, classes=("a", "b")), recipe, run)
    assert not run.path.exists()
