from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.data.preprocess import normalise
from striate.errors import ShapeError
from striate.train.binding import prepare, stepper_for
from striate.train.estimate import work_left
from striate.train.evaluation.evaluate import evaluate
from striate.train.loop import build, resume, train
from striate.train.norms import policy as norms
from striate.train.observer import Observer
from striate.train.run.state import Run
from watching import Recorder, StopAfter, Stopped, same_bits

ROUGH = {"batch_images": 3, "weight_decay": 0.9, "warmup_share": 0.0}  # an epoch of 21 steps
WILD = {**ROUGH, "peak_lr": 64.0, "recovery_factor": 2.0**-10}


def test_a_diverging_epoch_begins_anew_at_a_lower_rate(dataset, recipe, builder):
    """It diverges in its first epoch, so the run is the one that had the lower rate from the start."""
    wild, tame = (build(builder, recipe, dataset.classes) for _ in range(2))
    watcher = Recorder()
    result = train(wild, dataset, recipe.changed(**WILD), observer=watcher)
    train(tame, dataset, recipe.changed(**ROUGH, peak_lr=0.0625))
    assert same_bits(wild, tame)
    assert [one["epoch"] for one in result.recoveries] == [1]
    assert watcher.of("note") == [
        f"{result.recoveries[0]['reason']}: epoch 1 begins anew with 0.000976562 times the rate"
    ]
    assert result.to_json()["recoveries"] == list(result.recoveries)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_run_stopped_before_it_diverged_recovers_to_the_same_bits(dataset, recipe, builder, tmp_path, steps):
    recipe = recipe.changed(**WILD, epochs=2)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, recipe, dataset.classes), dataset, recipe, whole)
    with pytest.raises(Stopped):
        train(build(builder, recipe, dataset.classes), dataset, recipe, stopped, StopAfter(steps))
    result = resume(stopped.path, builder, lambda _: dataset)
    assert len(result.recoveries) == 1
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name


def test_it_stops_when_validation_gets_no_better(dataset, recipe, builder):
    watcher = Recorder()
    result = train(
        build(builder, recipe, dataset.classes), dataset, recipe.changed(epochs=60, patience=3), None, watcher
    )
    assert result.epochs == len(result.history) == result.kept_epoch + 3 < 60
    assert watcher.of("note") == ["stopped early: 3 epochs without a better validation"]


def test_the_last_epoch_may_be_a_share_of_one(dataset, recipe, builder):
    watcher = Recorder()
    result = train(build(builder, recipe, dataset.classes), dataset, recipe.changed(epochs=1.4), None, watcher)
    assert [row["steps"] for row in result.history] == [8, 11]
    assert len(watcher.of("step")) == 11
    assert watcher.of("start")[0].total_steps == 11
    assert watcher.of("step")[-1].learning_rate == pytest.approx(0.05 / 9)  # at its end, not short of it


def test_averaged_weights_are_evaluated_and_shipped_and_the_run_goes_on_with_its_own(dataset, recipe, builder):
    averaged, plain = (build(builder, recipe, dataset.classes) for _ in range(2))
    trained = {}

    class Keep(Observer):
        def __init__(self, name, module):
            self.name, self.module = name, module

        def on_epoch(self, row):
            trained[self.name, row["epoch"]] = self.module[6].weight.detach().clone()

    asked = recipe.changed(averaging="ema", average_decay=0.8, average_every=1, bn_precise="always")
    result = train(averaged, dataset, asked, observer=Keep("averaged", averaged))
    train(plain, dataset, recipe, observer=Keep("plain", plain))
    assert all(torch.equal(trained["averaged", epoch], trained["plain", epoch]) for epoch in (1, 2, 3))
    assert not torch.equal(averaged[6].weight, trained["averaged", result.kept_epoch])
    row = result.history[result.kept_epoch - 1]
    again = evaluate(averaged, dataset.validation, dataset.preprocessing)
    assert (again.accuracy, again.loss) == (row["validation_accuracy"], row["validation_loss"])


def test_the_shipped_statistics_are_precise(dataset, recipe, builder):
    images = torch.from_numpy(normalise(dataset.train.images, dataset.preprocessing))
    modules = {}
    for precise in ("end", "off"):
        modules[precise] = build(builder, recipe, dataset.classes)
        result = train(modules[precise], dataset, recipe.changed(bn_precise=precise))
        assert result.gap.images == 61
    expected = copy.deepcopy(modules["off"])
    norms.make_precise(expected, [images])
    torch.testing.assert_close(modules["end"][1].running_var, expected[1].running_var)
    assert not torch.equal(modules["end"][1].running_var, modules["off"][1].running_var)
    assert torch.equal(modules["end"][6].weight, modules["off"][6].weight)


def test_gradients_are_clipped_to_a_norm(dataset, recipe, builder):
    """With plain SGD of rate r and no decay, a step moves by at most r times the norm."""
    module = build(builder, recipe, dataset.classes)
    before = copy.deepcopy(module)
    asked = recipe.changed(epochs=0.01, clip_norm=0.03, momentum=0.0, weight_decay=0.0, warmup_share=0.0)
    train(module, dataset, asked)
    squares = [(p - q).square().sum() for p, q in zip(module.parameters(), before.parameters(), strict=True)]
    assert sum(squares).sqrt().item() == pytest.approx(0.05 * 0.03, rel=1e-3)


def gap_network():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def test_images_grow_over_the_run_and_each_epoch_says_their_size(seeded, dataset, recipe):
    asked = recipe.changed(epochs=4, resize_from=0.5, resize_until=0.5)
    result = train(gap_network(), dataset, asked)
    assert [row["image_px"] for row in result.history] == [[5, 5], [7, 8], [9, 11], [9, 11]]


def test_a_network_of_one_size_cannot_grow_its_images(dataset, recipe, builder):
    message = (
        "network: takes no images of 5x5 px, where resize_from starts; end its maps in GAP, or set resize_from to 1"
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        train(build(builder, recipe, dataset.classes), dataset, recipe.changed(resize_from=0.5))


def test_class_weights_enter_the_loss(dataset, recipe, builder):
    module = build(builder, recipe, dataset.classes)
    asked = recipe.changed(class_weights="balanced")
    stepper = stepper_for(prepare(module, asked), dataset, asked)
    torch.testing.assert_close(stepper.class_weights, torch.tensor([61 / 63, 61 / 60, 61 / 60]))
    images, labels = stepper.feed.batch(0, 0)
    module.eval()
    loss, _ = stepper.gradients(images, labels)
    expected = F.cross_entropy(module(images), labels, weight=stepper.class_weights, label_smoothing=0.1)
    assert loss == pytest.approx(expected.item())


def test_dirac_filters_pass_their_input_on(dataset, recipe):
    def one_layer(*_):
        return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False))

    module, usual = build(one_layer, recipe.changed(init="dirac"), ()), build(one_layer, recipe, ())
    images = torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(images)[:, :3], images)
    assert torch.equal(module[0].weight[3:], usual[0].weight[3:])


def test_the_estimate_counts_smaller_images_as_less_work(seeded, dataset, recipe):
    asked = recipe.changed(epochs=4, resize_from=0.5, resize_until=0.5)
    stepper = stepper_for(prepare(gap_network(), asked), dataset, asked)
    assert work_left(stepper, 0) == pytest.approx(8 * (25 + 56 + 99 + 99) / 25)
    assert work_left(stepper, 11) == pytest.approx((5 * 56 + 8 * (99 + 99)) / 25)


@pytest.mark.parametrize("steps", [3, 9, 30])
def test_a_whitened_run_of_growing_images_resumes_to_the_same_bits(dataset, recipe, tmp_path, steps):
    def builder(*_):
        return gap_network()

    asked = recipe.changed(epochs=4, resize_from=0.5, resize_until=0.5, whiten=True, class_weights="balanced")
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, asked, dataset.classes), dataset, asked, whole)
    with pytest.raises(Stopped):
        train(build(builder, asked, dataset.classes), dataset, asked, stopped, StopAfter(steps))
    resume(stopped.path, builder, lambda _: dataset)
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name
    kept = whole.weights()["0.weight"]
    assert torch.equal(kept[:3], -kept[3:])  # frozen to the end
