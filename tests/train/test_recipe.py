from __future__ import annotations

import json
import re
import tomllib

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from striate.errors import RecipeError
from striate.train.recipe import Recipe, keys, load_recipe

RECIPES = st.builds(
    Recipe,
    net=st.text(),
    seed=st.integers(0, 2**32 - 1),
    epochs=st.one_of(st.just("auto"), st.integers(1, 100_000)),
    peak_lr=st.one_of(st.just("auto"), st.floats(1e-8, 100)),
    momentum=st.floats(0, 0.9999),
    flip=st.sampled_from(["auto", True, False]),
    bn_eps=st.one_of(st.just("network"), st.floats(1e-12, 1)),
    decay=st.sampled_from(["linear", "cosine"]),
    decay_at=st.lists(st.floats(0, 1), max_size=4),
)


@given(RECIPES)
def test_json_gives_back_an_equal_recipe(recipe):
    assert Recipe(**json.loads(recipe.to_json())) == recipe


@given(RECIPES)
@example(Recipe(net='"\\ \x00\x7f\r\n # \U0001f600'))
def test_toml_gives_back_an_equal_recipe(recipe):
    assert Recipe(**tomllib.loads(recipe.to_toml())) == recipe


def test_toml_says_of_each_key_what_it_may_hold():
    lines = Recipe(seed=3).to_toml().splitlines()
    at = lines.index("seed = 3")
    assert lines[at - 1 : at + 2] == [
        "# decides order, augmentation, weights (a whole number, 0 to 4,294,967,295)", "seed = 3", "",
    ]  # fmt: skip
    assert [line.split(" = ")[0] for line in lines if line and line[0] != "#"] == [key.name for key in keys()]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epohcs": 3}, "recipe: unknown key 'epohcs'; did you mean 'epochs'?"),
        ({"epochs": 0}, "recipe: epochs = 0; allowed: a number, 0.01 to 100,000 or 'auto'"),
        ({"epochs": "3"}, "recipe: epochs = '3'; allowed: a number, 0.01 to 100,000 or 'auto'"),
        ({"epochs": True}, "recipe: epochs = True; allowed: a number, 0.01 to 100,000 or 'auto'"),
        ({"batch_images": 1}, "recipe: batch_images = 1; allowed: a whole number, 2 to 65,536 or 'auto'"),
        ({"peak_lr": float("nan")}, "recipe: peak_lr = nan; allowed: a number, 1e-08 to 100 or 'auto'"),
        ({"momentum": 1.0}, "recipe: momentum = 1.0; allowed: a number, 0 to 0.9999"),
        ({"bn_eps": 0.0}, "recipe: bn_eps = 0.0; allowed: a number, 1e-12 to 1 or 'network'"),
        ({"flip": "yes"}, "recipe: flip = 'yes'; allowed: true or false or 'auto'"),
        ({"fit": "squeeze"}, "recipe: fit = 'squeeze'; allowed: 'crop' or 'pad' or 'stretch'"),
        ({"net": 3}, "recipe: net = 3; allowed: a text"),
        ({"decay_at": [0.5, 1.5]}, "recipe: decay_at = [0.5, 1.5]; allowed: a list of numbers, 0 to 1"),
        ({"decay_at": 0.5}, "recipe: decay_at = 0.5; allowed: a list of numbers, 0 to 1"),
    ],
)
def test_a_wrong_value_is_told_in_one_line(values, message):
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        Recipe(**values)


def test_a_key_like_no_other_lists_the_keys():
    with pytest.raises(RecipeError, match=r"^recipe: unknown key 'zzz'; use one of net, data, input, .*seconds$"):
        Recipe(zzz=1)


def test_a_changed_recipe_is_checked_and_the_old_one_stays():
    recipe = Recipe(epochs=4)
    assert (recipe.changed(epochs=5).epochs, recipe.epochs) == (5, 4)
    with pytest.raises(RecipeError, match="epochs = -1"):
        recipe.changed(epochs=-1)


@pytest.mark.parametrize(
    ("name", "text"), [("r.json", '{"epochs": 9, "peak_lr": 1}'), ("r.toml", "epochs=9\npeak_lr=1")]
)
def test_json_and_toml_are_read_alike(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert load_recipe(tmp_path / name) == Recipe(epochs=9, peak_lr=1.0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.yaml", "", "r.yaml: a recipe is a .json or a .toml file, got '.yaml'"),
        ("r.json", "{", "r.json: is not JSON (Expecting property name"),
        ("r.toml", "=", "r.toml: is not TOML (Invalid statement"),
        ("r.json", "[1]", "r.json: holds a list; a recipe is a table of names and values"),
        ("r.json", '{"sede": 1}', "r.json: recipe: unknown key 'sede'; did you mean 'seed'?"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=re.escape(f"{tmp_path}/{message}")):
        load_recipe(tmp_path / name)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"no\.json: cannot be read \(No such file or directory\); give the path"):
        load_recipe(tmp_path / "no.json")
