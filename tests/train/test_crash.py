"""A crash at every single moment in which a run touches the disk, one after another."""

from __future__ import annotations

import itertools

from striate.train import session
from striate.train.loop import build, resume, train
from striate.train.run import files
from striate.train.run.state import Run


class Died(BaseException):
    """Nothing in the code under test may catch this: a killed process runs no handler."""


class Disk:
    """Counts the moments before and after each flush and rename, and dies at one of them."""

    def __init__(self, dies_at):
        self.moments = itertools.count()
        self.dies_at = dies_at
        self.rename = files.Path.replace

    def moment(self):
        if next(self.moments) == self.dies_at:
            raise Died

    def replace(self, path, target):
        self.moment()
        self.rename(path, target)
        self.moment()

    def fsync(self, _):
        self.moment()


def run_once(run, dataset, recipe, builder, monkeypatch, dies_at=-1):
    """Train or resume; returns whether it came to the end, and how many moments there were."""
    disk = Disk(dies_at)
    with monkeypatch.context() as patch:
        patch.setattr(files.Path, "replace", lambda *paths: disk.replace(*paths))  # noqa: PLW0108 - binds the path
        patch.setattr(files.os, "fsync", disk.fsync)
        patch.setattr(session, "estimate_seconds", lambda *_: 0.0)
        try:
            if run.begun:
                resume(run.path, builder, lambda _: dataset)
            else:
                train(build(builder, recipe, dataset.classes), dataset, recipe, run)
        except Died:
            return False, next(disk.moments)
    return True, next(disk.moments)


def test_a_crash_at_any_moment_loses_no_bit(dataset, recipe, builder, tmp_path, monkeypatch):
    recipe = recipe.changed(epochs=2, batch_images=61)
    whole = Run(tmp_path / "whole")
    done, moments = run_once(whole, dataset, recipe, builder, monkeypatch)
    assert done
    assert moments > 80
    for dies_at in range(moments):
        run = Run(tmp_path / str(dies_at))
        done, _ = run_once(run, dataset, recipe, builder, monkeypatch, dies_at)
        assert not done
        if not run.finished:
            assert run_once(run, dataset, recipe, builder, monkeypatch)[0], dies_at
        for name in ("weights.safetensors", "metrics.jsonl", "recipe.json", "dataset.json"):
            assert (run.path / name).read_bytes() == (whole.path / name).read_bytes(), (dies_at, name)


def test_the_crash_test_can_fail(dataset, recipe, builder, tmp_path, monkeypatch):
    """Broken on purpose: momentum lost in a resume shows in the weights."""
    recipe = recipe.changed(epochs=2, batch_images=61)
    whole, run = Run(tmp_path / "whole"), Run(tmp_path / "run")
    run_once(whole, dataset, recipe, builder, monkeypatch)
    run_once(run, dataset, recipe, builder, monkeypatch, dies_at=60)
    restore = session.Session.restore

    def forget(running, checkpoint):
        restore(running, checkpoint)
        for buffer in running.stepper.optimizer.buffers().values():
            buffer.zero_()

    monkeypatch.setattr(session.Session, "restore", forget)
    assert run_once(run, dataset, recipe, builder, monkeypatch)[0]
    assert (run.path / "weights.safetensors").read_bytes() != (whole.path / "weights.safetensors").read_bytes()
