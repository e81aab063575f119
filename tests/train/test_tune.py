from __future__ import annotations

import re

import pytest

from striate.errors import RecipeError
from striate.train import tune as tuning
from striate.train.loop import build
from striate.train.recipe import Recipe
from striate.train.tune import tune

OPEN = Recipe()
GIVEN = Recipe(threads=1, channels_last=True, compile=False)


class Machine:
    """Steps whose seconds are given by what is tried; it counts them."""

    def __init__(self, monkeypatch, seconds):
        self.tried = []

        def one_step(stepper, _):
            self.tried.append(stepper.recipe)
            return seconds(stepper.recipe)

        monkeypatch.setattr(tuning, "one_step", one_step)
        monkeypatch.setattr(tuning, "step_seconds", lambda stepper: seconds(stepper.recipe))
        monkeypatch.setattr(tuning, "evaluation_seconds", lambda *_: 0.01)
        monkeypatch.setattr(tuning, "PROBE_SECONDS", 0.0)


@pytest.fixture
def module(builder, recipe, dataset):
    return build(builder, recipe, dataset.classes)


def test_a_short_run_is_not_probed(module, dataset, recipe, monkeypatch):
    machine = Machine(monkeypatch, lambda _: 1.0)
    assert tune(module, dataset, recipe.changed(threads=2), OPEN) == ()
    assert len(machine.tried) == 2


def test_the_faster_of_each_pair_is_taken_and_the_numbers_are_said(module, dataset, recipe, monkeypatch):
    Machine(monkeypatch, lambda r: 10.0 * (0.5 if r.threads == 2 else 1) * (0.8 if not r.channels_last else 1))
    monkeypatch.setattr(tuning, "has_compiler", lambda: False)
    found = tune(module, dataset, recipe.changed(threads=4), OPEN)
    assert [str(choice) for choice in found] == [
        "threads = 2 (1e+04 ms a step with 4, 5e+03 with 2)",
        "channels_last = False (5e+03 ms a step with True, 4e+03 with False)",
        "compile = False (the run is too short to gain by it: about 240 s)",
    ]


def test_noise_changes_nothing_and_what_was_given_is_not_tried(module, dataset, recipe, monkeypatch):
    machine = Machine(monkeypatch, lambda r: 99.0 if r.channels_last else 98.0)
    monkeypatch.setattr(tuning, "has_compiler", lambda: False)
    asked = Recipe(threads=2)
    found = {choice.name: choice for choice in tune(module, dataset, recipe.changed(threads=2), asked)}
    assert found["channels_last"].value is True
    assert (found["compile"].value, found["compile"].reason) == (False, "there is no C++ compiler")
    assert {r.threads for r in machine.tried} == {2}
    assert "threads" not in found


def test_the_network_is_left_as_found(module, dataset, recipe):
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tune(module, dataset, recipe.changed(time_seconds=100.0, bn_frozen=True), OPEN)
    assert all((tensor == before[name]).all() for name, tensor in module.state_dict().items())
    assert module[1].training


def test_a_time_becomes_a_number_of_epochs(module, dataset, recipe, monkeypatch):
    """8 steps of 0.5 s and 20 images of validation an epoch, 20 + 23 at the end, 10 ms an image; 95 % of 90 s."""
    Machine(monkeypatch, lambda _: 0.5)
    (choice,) = tune(
        module,
        dataset,
        recipe.changed(time_seconds=90.0, threads=1),
        GIVEN,
    )
    assert (choice.name, choice.value) == ("epochs", pytest.approx((85.5 - 0.43) / 4.2, abs=0.005))
    assert choice.reason == (
        "162 steps of 500 ms as measured now, and their validations, in 95% of 90 s; "
        "fixed now, whatever the machine does later"
    )


def test_a_time_too_short_for_a_step_still_takes_one(module, dataset, recipe, monkeypatch):
    Machine(monkeypatch, lambda _: 500.0)
    (choice,) = tune(module, dataset, recipe.changed(time_seconds=1.0), GIVEN)
    assert choice.value == 1 / 8


def test_a_time_and_epochs_contradict_each_other(module, dataset, recipe):
    message = "recipe: time_seconds and epochs are both given; give one of them"
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        tune(module, dataset, recipe.changed(time_seconds=9.0), Recipe(epochs=3))
