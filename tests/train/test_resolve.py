from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from striate.errors import RecipeError
from striate.train.recipe import Recipe
from striate.train.resolve import resolve

FACTS = {"images": 4500, "channels": 3, "size": (56, 84), "classes": ("coat", "shirt"), "cores": 2}


def test_each_automatic_choice_has_value_and_reason():
    recipe, choices = resolve(Recipe(data="sample"), **FACTS)
    assert {choice.name: choice.value for choice in choices} == {
        "input": "3x56x84",
        "epochs": 23,
        "batch_images": 64,
        "peak_lr": 0.05,
        "flip": True,
        "shift_px": 4,
        "bn_precise": "end",
        "loader_workers": 0,
        "channels_last": True,
        "threads": 2,
    }
    assert all(choice.reason for choice in choices)
    assert all(getattr(recipe, choice.name) == choice.value for choice in choices)


@given(st.integers(2, 10**6), st.integers(1, 64))
def test_every_size_of_data_gives_a_complete_legal_recipe(images, cores):
    recipe, _ = resolve(Recipe(), images=images, channels=1, size=(7, 11), classes=("a", "b"), cores=cores)
    assert recipe.unresolved() == ()
    assert 10 <= recipe.epochs <= 100
    assert 8 <= recipe.batch_images <= 128
    assert recipe.shift_px == 1


def test_a_given_value_wins_and_makes_no_choice():
    given = Recipe(
        epochs=2, batch_images=16, peak_lr=0.3, flip=False, shift_px=0, threads=1, input="1x5x6", average_decay=0.9,
        bn_precise="off", device="cpu", compile=False, channels_last=False,
        pixels="disk", loader_workers=1,
    )  # fmt: skip
    recipe, choices = resolve(given, **FACTS)
    assert (recipe, choices) == (given, ())


def test_the_rate_follows_the_batch():
    assert resolve(Recipe(batch_images=32), **FACTS)[0].peak_lr == 0.025


def test_an_average_reaches_over_a_share_of_the_run():
    asked = Recipe(averaging="ema", epochs=20, batch_images=30)  # 20 epochs of 150 steps
    assert resolve(asked, **FACTS)[0].average_decay == pytest.approx(1 - 1 / 60, abs=1e-5)
    assert resolve(asked, **FACTS)[0].bn_precise == "always"
    assert resolve(asked.changed(averaging="lookahead"), **FACTS)[0].average_decay == 0.95


def test_precise_statistics_are_made_each_epoch_where_they_are_cheap():
    def made(images, **values):
        return resolve(Recipe(**values), **(FACTS | {"images": images}))[0].bn_precise

    assert [made(10_239), made(10_240), made(4500, bn_precise_images=450)] == ["end", "always", "always"]
    assert made(50_000, bn_precise="off") == "off"


def test_mirroring_is_for_classes_that_bear_it():
    assert resolve(Recipe(), **FACTS | {"classes": ("a", "b")})[0].flip is False
    recipe, choices = resolve(Recipe(), **FACTS)
    assert recipe.flip is True
    reason = "the classes name no digits, letters or sides, so a mirrored 'coat' stays one"
    assert {choice.name: choice.reason for choice in choices}["flip"] == reason


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"images": 1}, r"^data: 1 image\(s\) to train on; BatchNorm needs at least 2, add images$"),
        ({"classes": ("coat",)}, r"^data: 1 class\(es\); a classifier needs at least 2, add a class$"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(facts, message):
    with pytest.raises(RecipeError, match=message):
        resolve(Recipe(), **(FACTS | facts))
