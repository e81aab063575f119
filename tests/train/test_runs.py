from __future__ import annotations

import fcntl
import json

import pytest

from striate.errors import RunError
from striate.train.loop import build, resume, train
from striate.train.observer import Observer
from striate.train.run.runs import differences, find_runs, read_row
from striate.train.run.state import Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, dataset, recipe, builder):
    """A folder with a finished run, one cut short, and one that diverged."""
    folder = tmp_path_factory.mktemp("runs")
    train(build(builder, recipe, dataset.classes), dataset, recipe, Run(folder / "2"))

    class Stop(Observer):
        def on_epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    changed = recipe.changed(seed=8, mixup=0.4)
    with pytest.raises(KeyboardInterrupt):
        train(build(builder, changed, dataset.classes), dataset, changed, Run(folder / "10"), Stop())
    wild = recipe.changed(peak_lr=100.0, weight_decay=1.0, recoveries=0)
    with pytest.raises(RunError, match="training diverged"):
        train(build(builder, wild, dataset.classes), dataset, wild, Run(folder / "deep" / "wild"))
    return folder


def test_each_run_is_a_row_in_natural_order(runs):
    rows = find_runs([runs])
    assert [row.path.removeprefix(f"{runs}/") for row in rows] == ["2", "10", "deep/wild"]
    assert [row.state for row in rows] == ["finished", "unfinished", "diverged"]
    assert [len(row.history) for row in rows][:2] == [3, 2]
    assert rows[2].reason.startswith("diverged: ")


def test_a_finished_run_says_what_it_reached(runs, builder, recipe, dataset):
    row, result = read_row(runs / "2"), json.loads((runs / "2" / "result.json").read_text())
    assert (row.test, list(row.interval_95)) == (result["test"]["accuracy"], result["interval_95"])
    assert (row.validation, row.seconds) == (result["validation_accuracy"], result["train_seconds"])
    assert row.parameters == sum(p.numel() for p in build(builder, recipe, dataset.classes).parameters())
    assert (row.key("seed"), row.key("none")) == (7, None)
    assert json.loads(json.dumps(row.to_json()))["state"] == "finished"


def test_an_unfinished_run_says_how_far_it_came(runs):
    row = read_row(runs / "10")
    accuracies = [
        json.loads(line)["validation_accuracy"] for line in (runs / "10/metrics.jsonl").read_text().splitlines()
    ]
    assert (row.validation, row.test, row.parameters, row.seconds) == (max(accuracies), None, None, None)
    with (runs / "10" / "run.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read_row(runs / "10").state == "running"
    assert read_row(runs / "10").state == "unfinished"


def test_a_diverged_run_diverges_again(runs, builder, dataset):
    with pytest.raises(RunError, match="training diverged"):
        resume(runs / "deep" / "wild", builder, lambda _: dataset)
    assert read_row(runs / "deep" / "wild").state == "diverged"


def test_differences_are_the_keys_whose_values_differ(runs):
    rows = find_runs([runs / "2", runs / "10"])
    assert differences(rows) == {"seed": [7, 8], "mixup": [0.0, 0.4]}
    assert differences(rows[:1]) == {}


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("recipe.json", "{", "recipe.json is no JSON"),
        ("recipe.json", "[1]", "recipe.json holds no object"),
        ("metrics.jsonl", "{]", "metrics.jsonl is no JSON"),
        (
            "metrics.jsonl",
            "{}",
            "a file lacks something or holds another kind of value (KeyError: 'validation_acc",
        ),
        ("result.json", "{}", "a file lacks something or holds another kind of value (KeyError: 'interval_95')"),
        ("weights.safetensors", "short", "weights.safetensors cannot be read (Error while deserializing header: "),
    ],
)
def test_a_damaged_run_is_a_row_with_the_reason(runs, tmp_path, file, text, reason):
    folder = tmp_path / "one"
    folder.mkdir()
    for name in ("recipe.json", "metrics.jsonl", "result.json", "weights.safetensors", "environment.json"):
        (folder / name).write_bytes((runs / "2" / name).read_bytes())
    (folder / file).write_text(text)
    (row,) = find_runs([tmp_path])
    assert row.state == "damaged"
    assert row.reason.startswith(reason)
    (folder / file).unlink()
    assert read_row(folder).state == ("unfinished" if file == "result.json" else "damaged")


def test_a_folder_without_runs_is_told(tmp_path):
    message = r": no run folder in there; start one with `striate train`$"
    with pytest.raises(RunError, match=message):
        find_runs([tmp_path])
