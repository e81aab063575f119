from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from striate.errors import UsageError
from striate.train.loop import build, resume, train
from striate.train.observer import Observer, Observers
from striate.train.run.state import Run
from striate.train.run.tensorboard import TensorBoard

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the package tensorboard (an extra)"
)


def scalars(folder):
    """name -> [(step, value)], by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboards_reader_finds_the_run(tmp_path, dataset, recipe, builder):
    run = Run(tmp_path / "run")
    watcher = TensorBoard(tmp_path / "events")
    train(build(builder, recipe, dataset.classes), dataset, recipe, run, watcher)
    found = scalars(tmp_path / "events")
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in found["loss"]] == list(range(1, rows[-1]["steps"] + 1))
    assert [step for step, _ in found["epoch/validation_loss"]] == [row["steps"] for row in rows]
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert [value for _, value in found[f"epoch/{name}"]] == pytest.approx([row[name] for row in rows], rel=1e-6)
    (final,) = found["final/test_accuracy"]
    assert final == (rows[-1]["steps"], pytest.approx(run.read("result.json")["accuracy"], rel=1e-6))


class Stop(Observer):
    def on_step(self, step):
        if step.done_steps == 5:
            raise KeyboardInterrupt


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_resumed_run_has_each_step_once(tmp_path, dataset, recipe, builder):
    watcher = TensorBoard(tmp_path / "events")
    once_an_epoch = recipe.changed(checkpoint_seconds=1000.0)
    module = build(builder, recipe, dataset.classes)
    with pytest.raises(KeyboardInterrupt):
        train(module, dataset, once_an_epoch, Run(tmp_path / "run"), Observers([watcher, Stop()]))
    watcher.close()
    resume(tmp_path / "run", builder, lambda _: dataset, TensorBoard(tmp_path / "events"))
    steps = [step for step, _ in scalars(tmp_path / "events")["loss"]]
    assert sorted(set(steps)) == steps
    assert len(steps) == 3 * 8


def test_without_the_package_the_way_out_is_told(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    message = r"^--tensorboard needs the package tensorboard; install it with pip install 'striate\[tensorboard\]'$"
    with pytest.raises(UsageError, match=message):
        TensorBoard(tmp_path)


def test_observers_are_told_in_turn():
    told = []

    class Note(Observer):
        def __init__(self, name):
            for event in ("on_start", "on_step", "on_epoch", "on_note", "on_end"):
                setattr(self, event, lambda value, event=event: told.append((name, event, value)))

    both = Observers([Note("a"), Note("b")])
    for event in ("on_start", "on_step", "on_epoch", "on_note", "on_end"):
        getattr(both, event)(3)
    expected = ["on_start", "on_step", "on_epoch", "on_note", "on_end"]
    assert told == [(name, event, 3) for event in expected for name in ("a", "b")]
