from __future__ import annotations

import json
import shutil

from PIL import Image


def test_runs_are_listed_with_a_damaged_one_and_its_reason(striate, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "1")
    shutil.copytree(finished, tmp_path / "2")
    (tmp_path / "2" / "result.json").write_text("{")
    answer = striate("runs", tmp_path)
    lines = answer.out.splitlines()
    assert answer.code == 1
    assert lines[0].split()[:4] == ["run", "state", "net", "data"]
    assert lines[1].split()[:4] == [str(tmp_path / "1"), "finished", "4C3s2-BN-R-8C3-BN-R-MP2-F-10", "sample"]
    assert lines[2].split()[:3] == [str(tmp_path / "2"), "damaged", "-"]
    assert lines[3] == f"{tmp_path / '2'}: result.json is no JSON"


def test_runs_are_compared_in_words_and_curves(striate, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "1")
    shutil.copytree(finished, tmp_path / "2")
    recipe = json.loads((tmp_path / "2" / "recipe.json").read_text())
    (tmp_path / "2" / "recipe.json").write_text(json.dumps(recipe | {"mixup": 0.25}))
    answer = striate("runs", "--compare", tmp_path / "1", tmp_path / "2", "--curves", tmp_path / "c.png")
    assert answer.code == 0
    assert answer.out.splitlines()[-2].split() == ["key", str(tmp_path / "1"), str(tmp_path / "2")]
    assert answer.out.splitlines()[-1].split() == ["mixup", "0", "0.25"]
    assert answer.err == f"curves: {tmp_path / 'c.png'}\n"
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (1200, 456)
    same = striate("runs", "--compare", tmp_path / "1").out
    assert same.splitlines()[-1] == "the recipes are the same"


def test_json_holds_rows_and_differences(striate, finished):
    found = json.loads(striate("runs", finished, "--json", "--compare").out)
    assert found["runs"][0]["state"] == "finished"
    assert len(found["runs"][0]["history"]) == 1
    assert found["differences"] == {}
    assert json.loads(striate("runs", finished, "--json").out)["differences"] is None


def test_no_runs_are_an_error_of_the_input(striate, tmp_path):
    answer = striate("runs", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"striate: {tmp_path}: no run folder in there; start one with `striate train`\n"
