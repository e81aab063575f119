"""Threads that make batches ahead: no bit changes, no fault is lost, no thread stays."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch

from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of
from striate.train.loop import LATER_KEYS, build, resume, train
from striate.train.run.state import Run
from watching import StopAfter, Stopped

ALL = {
    "crop_area": 0.5, "flip": True, "shift_px": 1, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1,
    "randaugment_ops": 2, "cutout_px": 2, "erase_share": 0.3, "mixup": 0.5, "cutmix": 1.0,
}  # fmt: skip
COMPARED = ("weights.safetensors", "metrics.jsonl")


@pytest.fixture
def workers():
    """Names of the threads of pools that the test has started and that still live."""
    before = set(threading.enumerate())
    return lambda: [t.name for t in threading.enumerate() if t not in before and "ThreadPoolExecutor" in t.name]


def feed_of(dataset, recipe):
    normaliser = Normaliser.of(dataset.preprocessing, channels_last=True)
    return Feed(Pixels.of(dataset.train), normaliser, augmentation_of(recipe, 3), recipe.seed, 8)


@pytest.mark.parametrize("options", [{}, {**ALL, "sampling": "balanced", "epochs": 2.4}])
def test_any_number_of_workers_trains_to_the_same_bits(tmp_path, dataset, recipe, builder, options, workers):
    runs = {}
    for count in (0, 1, 2, 3):
        asked = recipe.changed(loader_workers=count, **options)
        runs[count] = Run(tmp_path / str(count))
        train(build(builder, asked, dataset.classes), dataset, asked, runs[count])
    for run in runs.values():
        for name in COMPARED:
            assert (run.path / name).read_bytes() == (runs[0].path / name).read_bytes(), name
    assert workers() == []


@pytest.mark.parametrize("steps", [1, 7, 8, 11])
def test_a_stopped_run_with_workers_resumes_to_the_bits_without(tmp_path, dataset, recipe, builder, steps, workers):
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, recipe, dataset.classes), dataset, recipe, whole)
    asked = recipe.changed(loader_workers=2)
    with pytest.raises(Stopped):
        train(build(builder, asked, dataset.classes), dataset, asked, stopped, StopAfter(steps))
    assert workers() == []
    resume(stopped.path, builder, lambda _: dataset)
    for name in COMPARED:
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name


def test_a_run_begun_before_there_were_workers_can_be_resumed(tmp_path, dataset, recipe, builder):
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, recipe, dataset.classes), dataset, recipe, whole)
    with pytest.raises(Stopped):
        train(build(builder, recipe, dataset.classes), dataset, recipe, stopped, StopAfter(5))
    path = stopped.path / "recipe.json"
    older = {key: value for key, value in json.loads(path.read_text()).items() if key not in LATER_KEYS}
    path.write_text(json.dumps(older))
    resume(stopped.path, builder, lambda _: dataset)
    assert whole.weights_path.read_bytes() == stopped.weights_path.read_bytes()


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("fault", [ValueError, MemoryError, KeyboardInterrupt])
def test_a_fault_arrives_at_its_step_and_ends_the_threads(dataset, recipe, count, fault, workers):
    feed = feed_of(dataset, recipe)

    class Failing(Feed):
        def batch(self, epoch, step):
            if step == 3:
                raise fault
            return feed.batch(epoch, step)

    batches = Failing(feed.pixels, feed.normaliser, feed.augmentation, 7, 8).batches(0, range(8), count)
    for step in range(3):
        assert torch.equal(next(batches)[0], feed.batch(0, step)[0])
    with pytest.raises(fault):
        next(batches)
    assert workers() == []


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_than_two_batches_a_worker_are_made_ahead(dataset, recipe, count, workers):
    made, feed = [], feed_of(dataset, recipe)

    class Counting(Feed):
        def batch(self, epoch, step):
            made.append(step)
            return feed.batch(epoch, step)

    batches = Counting(feed.pixels, feed.normaliser, feed.augmentation, 7, 8).batches(0, range(8), count)
    next(batches)
    batches.close()
    assert len(made) <= 2 * count
    assert workers() == []


def test_a_batch_leaves_the_random_states_alone(dataset, recipe):
    feed = feed_of(dataset, recipe.changed(**ALL))
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for step in range(8):
        feed.batch(1, step)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
