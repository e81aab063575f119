"""Recording the shift of layers' inputs: a known distance, no trace in the run, the same rows after a crash."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from striate.train.loop import build, resume, train
from striate.train.norms.shift import ShiftRecorder, distance
from striate.train.observer import Observer
from striate.train.run.state import Run


class Died(BaseException):
    """A killed process runs no handler."""


def test_the_distance_of_known_distributions():
    before = np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0, 0.0])  # the last channel has no width
    after = np.array([3.0, 1.0, 9.0]), np.array([5.0, 2.0, 9.0])
    assert distance(before, after) == pytest.approx(np.sqrt((9 + 16 + 0) / 2))
    assert distance(before, before) == 0


@pytest.mark.usefixtures("seeded")
def test_a_doubled_bias_moves_the_next_layers_input_by_what_it_adds():
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 5, 3), nn.Dropout(0.5))
    module[1].bias.data.fill_(1.0)
    recorder = ShiftRecorder(torch.rand(7, 2, 6, 9), every=2)
    assert recorder.before(module, 3) == {}
    seen = recorder.before(module, 4)
    module[1].bias.data += 0.5  # of a batch-normalised channel of deviation 1
    (row,) = recorder.rows(module, 5, seen)
    assert (row["step"], row["images"]) == (5, 7)
    assert row["shift"]["0"] == 0
    assert row["shift"]["2"] == pytest.approx(0.5, rel=1e-3)  # eps in the deviation


@pytest.mark.usefixtures("seeded")
def test_looking_leaves_the_module_as_it_was():
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, momentum=None), nn.Dropout(0.5), nn.Conv2d(3, 5, 3))
    module.train()
    module[1].eval()
    recorder = ShiftRecorder(torch.rand(7, 2, 6, 9), every=1)
    was, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    recorder.before(module, 0)
    assert all(torch.equal(was[name], now) for name, now in module.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert [part.training for part in module] == [True, False, True, True]
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_recording_changes_nothing_else_and_a_resumed_run_records_the_same(dataset, recipe, builder, tmp_path):
    recording = recipe.changed(record_shift=True)

    def whole(chosen, name, observer=None):
        run = Run(tmp_path / name)
        train(build(builder, chosen, dataset.classes), dataset, chosen, run, observer)
        return run.path

    plain, recorded = whole(recipe, "plain"), whole(recording, "recorded")
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (plain / name).read_bytes() == (recorded / name).read_bytes()
    assert not (plain / "shift.jsonl").exists()
    rows = [json.loads(line) for line in (recorded / "shift.jsonl").read_text().splitlines()]
    steps = -(-61 // 8)
    assert [row["step"] for row in rows] == list(range(1, 3 * steps + 1))
    assert all(row["shift"]["0"] == 0 < row["shift"]["6"] for row in rows)

    class Killer(Observer):
        def on_step(self, step):
            if step.done_steps == 13:
                raise Died

    with pytest.raises(Died):
        whole(recording, "killed", Killer())
    resume(tmp_path / "killed", builder, lambda _: dataset)
    assert (tmp_path / "killed" / "shift.jsonl").read_bytes() == (recorded / "shift.jsonl").read_bytes()
