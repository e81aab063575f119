from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from striate.data.dataset import Skipped
from striate.errors import RunError
from striate.train.progress import Progress
from striate.train.run.checkpoint import Checkpoint
from striate.train.run.state import Run, describe


@pytest.fixture
def run(tmp_path, dataset, recipe):
    run = Run(tmp_path / "run")
    with run.locked():
        run.begin(recipe, dataset, Checkpoint(0, Progress(), {}))
    return run


def test_a_folder_that_is_no_run_is_told(tmp_path):
    message = f"{tmp_path}: holds no run; start one with `striate train --out {tmp_path}`"
    for ask in (Run(tmp_path).require_run, Run(tmp_path).require_unfinished, Run(tmp_path).recipe):
        with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
            ask()


def test_a_folder_with_other_files_is_not_trained_into(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r": is not empty \(it holds thesis.tex\); choose another --out$"):
        Run(tmp_path).require_new()


def test_a_start_that_was_killed_before_it_began_may_be_repeated(run):
    (run.path / "recipe.json").rename(run.path / "recipe.json.unfinished")
    run.require_new()


def test_a_run_of_another_format_is_refused(run):
    environment = run.read("environment.json")
    (run.path / "environment.json").write_text(json.dumps(environment | {"format": 1}))
    message = (
        f"{run.path}: is a run of format 1, this striate reads 3; "
        "use the striate that wrote it (environment.json names it) or train again"
    )
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        run.require_unfinished()


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is damaged, it is no JSON"), ("[]", "is damaged, it holds no object")]
)
def test_a_damaged_file_is_named(run, text, message):
    (run.path / "dataset.json").write_text(text)
    with pytest.raises(RunError, match=f"^{re.escape(str(run.path))}/dataset.json: {message}$"):
        run.classes()


def test_one_process_writes_at_a_time(run):
    told = pytest.raises(RunError, match=r": another process trains here; wait for it or stop it$")
    with run.locked(), told, Run(run.path).locked():
        pytest.fail("two may write")
    with run.locked():
        pass


def test_a_place_where_no_folder_can_be_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    told = pytest.raises(RunError, match=r"file/run: cannot be made \(Not a directory\); choose another --out$")
    with told, Run(tmp_path / "file" / "run").locked():
        pytest.fail("there is no folder")


def test_what_was_skipped_is_listed_with_its_reason(dataset):
    bad = Skipped("cat/3.png", "left", "cat/3.png: holds 3 frames; save the one that matters as its own file")
    listed = describe(replace(dataset, train=replace(dataset.train, skipped=(bad,))))["skipped"]
    assert listed == [{"name": "cat/3.png", "class": "left", "reason": bad.reason}]
    assert describe(dataset)["skipped"] == []
