from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.train.update.average import average_for

WALK = (3.0, 5.0, -2.0, 7.0, 1.0, 4.0, 0.5)


def walked(recipe):
    """A weight that goes +WALK[t] at each step, its average, and both as they were after each step."""
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(2.0)
    average = average_for(module, recipe)
    seen = []
    for done, stride in enumerate(WALK, start=1):
        module.weight.data += stride
        average.update(done, len(WALK))
        seen.append((module.weight.item(), average.tensors["weight"].item()))
    return seen


def test_without_averaging_there_is_none(seeded, recipe):
    assert average_for(nn.Linear(1, 1), recipe.changed(averaging="none")) is None


def test_ema_forgets_its_start_and_then_keeps_the_decay(seeded, recipe):
    got = walked(recipe.changed(averaging="ema", average_decay=0.3, average_every=1))
    weight = average = 2.0
    for t, (stride, (seen_weight, seen_average)) in enumerate(zip(WALK, got, strict=True), start=1):
        weight += stride
        kept = min(0.3, (1 + t) / (10 + t))
        average = kept * average + (1 - kept) * weight
        assert (seen_weight, seen_average) == (pytest.approx(weight), pytest.approx(average))


def test_an_average_of_every_third_step_decays_threefold(seeded, recipe):
    got = walked(recipe.changed(averaging="ema", average_decay=0.0625, average_every=3))
    averages = [average for _, average in got]
    assert averages[:2] == [2.0, 2.0]
    kept = 0.0625**3
    assert averages[2] == averages[3] == averages[4] == pytest.approx(kept * 2 + (1 - kept) * 8)


def test_lookahead_goes_on_from_its_average(seeded, recipe):
    got = walked(recipe.changed(averaging="lookahead", average_decay=0.9, average_every=2))
    weight = average = 2.0
    for t, (stride, seen) in enumerate(zip(WALK, got, strict=True), start=1):
        weight += stride
        if t % 2 == 0:
            kept = 0.9**2 * (t / len(WALK)) ** 3
            weight = average = kept * average + (1 - kept) * weight
        assert seen == (pytest.approx(weight), pytest.approx(average))


def test_frozen_parameters_are_not_averaged(seeded, recipe):
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    module[0].requires_grad_(False)
    average = average_for(module, recipe.changed(averaging="ema"))
    assert list(average.tensors) == ["1.weight", "1.bias"]
    assert not torch.equal(average.tensors["1.weight"], torch.zeros(1, 3))
