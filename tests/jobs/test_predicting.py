"""Predicting into a file: killed at any moment or run over a cluster, it ends in the same bytes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest

import predicted
from striate.errors import UsageError
from striate.jobs.predicting import How, predict_into
from striate.runtime import Unreadable, cluster

COUNT = 23

# Kills itself in the moment that its first argument names, then behaves as the command does.
DIES = """
import os, signal, sys, time
from pathlib import Path
from striate.runtime import journal
from striate.jobs.predicting import How, predict_into

moment, nth, out, model, *sources = sys.argv[1:]
calls = 0

def dying(real, before=lambda *a: None):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == int(nth):
            before(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

def slowly(file, line, real=journal._write):
    time.sleep(0.02)
    real(file, line)

half = lambda file, line: file.write(line[: len(line) // 2].encode())
if moment == "line":
    journal._write = dying(journal._write, half)
elif moment == "slow":
    journal._write = slowly
elif moment == "table":
    journal.WRITERS = {k: dying(w, lambda path, *_: path.write_bytes(b"half a ta")) for k, w in journal.WRITERS.items()}
elif moment == "replace":
    Path.replace = dying(Path.replace)
elif moment == "unlink":
    Path.unlink = dying(Path.unlink)
predict_into(Path(out), Path(model), sources, How(batch_images=4, threads=2), lambda batch: None, probabilities=True)
"""
MOMENTS = (("line", 1), ("line", 3), ("line", 4), ("table", 1), ("replace", 1), ("replace", 2), ("unlink", 1))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return predicted.ship(tmp_path_factory.mktemp("model") / "model.onnx", abstain_below=0.4)


@pytest.fixture
def sources(tmp_path):
    """A folder with a bad image in it, and a tar file; batches of four do not divide either."""
    paths = predicted.write_pictures(tmp_path / "shots", COUNT)
    paths[5].write_bytes(b"no picture")
    tar = predicted.write_tar(tmp_path / "shard.tar", {f"{i}.jpg": predicted.picture(i) for i in range(7)})
    return [str(tmp_path / "shots"), str(tar)]


def written(folder, model, sources, suffix=".csv", **how):
    """The files of one run, by name, without what is in the way."""
    folder.mkdir(exist_ok=True)
    out = folder / f"results{suffix}"
    counts, was_complete = predict_into(out, model, sources, How(batch_images=4, **how), lambda batch: None, True)
    assert (counts.images, counts.unreadable, was_complete) == (COUNT + 7, 1, False)
    return files(folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_chain_of_kills_ends_in_the_same_bytes(tmp_path, model, sources):
    """One run, killed seven times: while a first, a middle and a later line is half written, and in the last steps."""
    wanted = written(tmp_path / "whole", model, sources, threads=1)
    (tmp_path / "killed").mkdir()
    arguments = [str(tmp_path / "killed" / "results.csv"), str(model), *sources]
    for moment, nth in MOMENTS:
        command = [sys.executable, "-c", DIES, moment, str(nth), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (-signal.SIGKILL, ""), (moment, nth)
        assert "results.csv.partial" in files(tmp_path / "killed")
    assert written(tmp_path / "killed", model, sources, threads=2) == wanted


def test_killed_from_outside_it_goes_on(tmp_path, model, sources):
    out = tmp_path / "killed" / "results.parquet"
    pytest.importorskip("pyarrow")
    out.parent.mkdir()
    command = [sys.executable, "-c", DIES, "slow", "0", str(out), str(model), *sources]
    process = subprocess.Popen(command)
    partial = out.with_name("results.parquet.partial")
    while not (partial.exists() and partial.read_bytes().count(b"\n") > 2):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    wanted = written(tmp_path / "whole", model, sources, ".parquet")
    assert written(tmp_path / "killed", model, sources, ".parquet") == wanted


@pytest.mark.parametrize(("suffix", "stop_after"), [(".csv", 3), (".jsonl", 7), (".parquet", 8)])
def test_what_is_done_is_told_and_not_done_again(tmp_path, model, sources, suffix, stop_after):
    """Stopped in the folder, within the tar file, and after the last batch."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    wanted = written(tmp_path / "whole", model, sources, suffix)
    (tmp_path / "again").mkdir()
    out = tmp_path / "again" / f"results{suffix}"
    told = []

    class StopError(Exception):
        pass

    def stop(batch):
        told.append(batch)
        if len(told) == stop_after:
            raise StopError

    with pytest.raises(StopError):
        predict_into(out, model, sources, How(batch_images=4, threads=1), stop, True)
    assert not out.exists()
    every = []
    counts, _ = predict_into(out, model, sources, How(batch_images=4), every.append, True)
    assert [len(batch) for batch in every] == [4, 4, 4, 4, 4, 3, 4, 3]
    assert sum(isinstance(one, Unreadable) for batch in every for one in batch) == counts.unreadable == 1
    assert files(tmp_path / "again") == wanted
    assert predict_into(out, model, sources, How(batch_images=4), pytest.fail, True) == (counts, True)


def test_another_model_is_refused(tmp_path, model, sources):
    written(tmp_path / "whole", model, sources)
    other = predicted.ship(tmp_path / "other.onnx", seed=3)
    with pytest.raises(
        UsageError, match=r'results\.csv: was begun with model_sha256 "[0-9a-f]+\.\.\., now "[0-9a-f]+\.\.\.;'
    ):
        predict_into(tmp_path / "whole" / "results.csv", other, sources, How(batch_images=4), pytest.fail, True)


def test_a_wrong_source_leaves_no_journal(tmp_path, model):
    with pytest.raises(Exception, match=r"none: no such file or folder; check the path$"):
        predict_into(tmp_path / "r.csv", model, [str(tmp_path / "none")], How(), pytest.fail)
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_extra_is_named(tmp_path, model, sources, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    message = (
        r"^predict: a cluster needs Ray Data, which is not installed; pip install 'striate\[ray\]', or leave --ray out$"
    )
    with pytest.raises(UsageError, match=message):
        predict_into(tmp_path / "r.csv", model, sources, How(on_cluster=True), pytest.fail)


class FakeRay:
    """As much of Ray as fails: to connect, or on the way."""

    class exceptions:  # noqa: N801 - Ray's name
        class RayError(Exception):
            pass

    def is_initialized(self):
        return False

    def init(self, **options):
        self.options = options
        raise ConnectionError("no cluster\n  there")


@pytest.mark.parametrize(("address", "where"), [(None, "this machine"), ("10.0.0.1:6379", r"10\.0\.0\.1:6379")])
def test_a_cluster_that_cannot_be_joined_is_one_line(tmp_path, model, sources, monkeypatch, address, where):
    ray = FakeRay()
    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    message = (
        rf"^predict: Ray's cluster at {where} cannot be used \(no cluster there\); check that it runs, RAY_ADDRESS, "
        r"and the token if it asks for one, or leave --ray out$"
    )
    with pytest.raises(UsageError, match=message):
        predict_into(tmp_path / "r.csv", model, sources, How(on_cluster=True, threads=3), pytest.fail)
    begun = {"address": "local", "include_dashboard": False, "num_cpus": 3}
    del ray.options["log_to_driver"], ray.options["logging_level"]
    assert ray.options == ({"address": address} if address else begun)


@pytest.mark.slow
def test_a_cluster_of_two_workers_writes_the_same_bytes(tmp_path, model, sources):
    """A local cluster of two actors, begun anew and going on with what a local run has left; a fault is one line."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray Data: pip install 'striate[ray]'")
    wanted = written(tmp_path / "whole", model, sources)
    whole = tmp_path / "cluster" / "results.csv"
    broken = predicted.write_tar(tmp_path / "broken.tar", {"1.jpg": predicted.picture(1)})
    broken.write_bytes(broken.read_bytes()[:600])
    code = (
        "import sys, os, signal\nfrom pathlib import Path\nimport ray\nfrom striate.errors import DataError\n"
        "from striate.jobs.predicting import How, predict_into\n"
        "out, rest, model, broken, *sources = sys.argv[1:]\nway = How(batch_images=4, threads=2, on_cluster=True)\n"
        "ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='ERROR')\n"
        "for path in (out, rest):\n    predict_into(Path(path), Path(model), sources, way, lambda batch: None, True)\n"
        "try:\n    predict_into(Path(out + '.jsonl'), Path(model), [*sources, broken], way, lambda batch: None, True)\n"
        "except DataError as fault:\n    print(fault)\n"
    )
    rest = tmp_path / "rest" / "results.csv"
    for folder in (whole.parent, rest.parent):
        folder.mkdir()
    begun = [sys.executable, "-c", DIES, "line", "4", str(rest), str(model), *sources]
    assert subprocess.run(begun, check=False).returncode == -signal.SIGKILL
    arguments = [str(whole), str(rest), str(model), str(broken), *sources]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{broken}: ends inside '1.jpg'; the shard is truncated, copy it again\n"
    assert files(rest.parent) == wanted
    assert {name: data for name, data in files(whole.parent).items() if "jsonl" not in name} == wanted
