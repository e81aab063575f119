from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from striate.errors import RunError
from striate.train import find_rate as finder
from striate.train.binding import prepare, stepper_for
from striate.train.find_rate import curve, find_rate, smooth
from striate.train.loop import build

RATES = [1e-4 * 1.3**i for i in range(40)]


def valley(bottom: float) -> list[float]:
    """Flat, then falling, then rising over log rate, least at `bottom`."""
    return [2.0 - exp(-((log(rate / bottom) / 2) ** 2)) for rate in RATES]


def test_a_tenth_of_the_lowest_is_suggested():
    losses = valley(RATES[25])
    found = curve(RATES, losses, losses)
    assert (found.lowest, found.suggested) == (RATES[25], pytest.approx(RATES[25] / 10))
    assert found.steepest == pytest.approx(RATES[25] * exp(-(2**0.5)), rel=0.3)  # the bell's turning point


@pytest.mark.parametrize("losses", [[], [2.0], list(np.linspace(2, 9, 40))])
def test_a_loss_that_never_falls_is_told(losses):
    message = f"^the loss fell over none of {len(losses)} rates; look at data and network, or set peak_lr$"
    with pytest.raises(RunError, match=message):
        curve(RATES[: len(losses)], losses, losses)


def test_smoothing_keeps_a_constant_and_weighs_the_newest_a_tenth():
    assert smooth([3.0] * 5) == pytest.approx([3.0] * 5)
    assert smooth([1.0, 2.0])[1] == pytest.approx((0.09 * 1 + 0.1 * 2) / 0.19)


def test_the_weights_are_untouched_and_two_tests_agree(dataset, recipe, builder):
    module = prepare(build(builder, recipe, dataset.classes), recipe)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    told = []
    found = [find_rate(stepper_for(module, dataset, recipe), 50, lambda *step: told.append(step)) for _ in range(2)]
    assert all((tensor == before[name]).all() for name, tensor in module.state_dict().items())
    assert found[0] == found[1]
    assert found[0].rates[0] == 1e-5
    assert found[0].rates[1] / found[0].rates[0] == pytest.approx(1e6 ** (1 / 49))
    assert [number for number, _ in told[: len(found[0].rates)]] == list(range(1, len(found[0].rates) + 1))
    assert 1e-5 < found[0].suggested < found[0].lowest < 10


def test_a_blown_up_loss_ends_the_test(dataset, recipe, builder, monkeypatch):
    monkeypatch.setattr(finder, "HIGHEST", 1e6)
    wild = recipe.changed(weight_decay=1.0)
    module = prepare(build(builder, wild, dataset.classes), wild)
    found = find_rate(stepper_for(module, dataset, wild), 60)
    assert len(found.rates) < 60
