from __future__ import annotations

import json

from striate.train.recipe import Recipe, load_recipe


def test_the_defaults_are_a_file_to_start_from(striate, tmp_path):
    (tmp_path / "mine.toml").write_text(striate("recipe").out)
    assert load_recipe(tmp_path / "mine.toml") == Recipe()


def test_a_runs_recipe_is_shown_and_given_back(striate, finished, tmp_path):
    (tmp_path / "again.toml").write_text(striate("recipe", finished).out)
    assert load_recipe(tmp_path / "again.toml") == load_recipe(finished / "recipe.json")
    values = {key["name"]: key["value"] for key in json.loads(striate("recipe", finished, "--json").out)}
    assert values == json.loads((finished / "recipe.json").read_text())


def test_a_bad_recipe_is_one_line(striate, tmp_path):
    (tmp_path / "bad.toml").write_text("epohcs = 3")
    answer = striate("recipe", tmp_path / "bad.toml")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "did you mean 'epochs'?" in answer.err
