"""Which contenders there are, how their processes answer and fail, and what the table says of their speeds."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from striate.artifact import About, golden_case, write
from striate.data.preprocess import Preprocessing, normalise
from striate.errors import ArtifactError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.reference import output
from striate.jobs import benchmarking
from striate.jobs.benchmarking import Benchmark, Contender, Row, benchmark, contenders, save_fastest
from striate.jobs.torch_peers import PEERS, open_peer
from striate.ops import Activation, BatchNorm, Conv, GlobalAvgPool, Linear
from striate.runtime import Setting
from striate.runtime.saved import Machine, saved_setting

PREPROCESSING = Preprocessing(3, 11, 7, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def network():
    net = Builder("small", PREPROCESSING.shape)
    at = net.add(Conv(3, 8, (Window(3, 2, 1, 1, 0), Window(2)), bias=False), INPUT, name="conv")
    at = net.add(BatchNorm(8), at, name="norm")
    at = net.add(Activation("relu"), at, name="relu")
    at = net.add(GlobalAvgPool(), at, name="gap")
    return initialise(net.build(net.add(Linear(8, 2), at, name="fc")), seed=2)


@pytest.fixture
def model(tmp_path):
    return shipped(tmp_path / "model.onnx", bound=1e-5)


def shipped(path, bound):
    pixels = np.random.default_rng(0).integers(0, 256, (1, *PREPROCESSING.shape), np.uint8)
    exact = output(network().astype(np.float64), normalise(pixels, PREPROCESSING).astype(np.float64))
    facts = About(
        network="small", classes=("ant", "bee"), preprocessing=PREPROCESSING.to_json(),
        created="2026-01-31T12:00:00+00:00", golden=(golden_case(pixels[0], PREPROCESSING, exact[0]),),
        golden_bound=bound,
    )  # fmt: skip
    write(path, network(), facts)
    return path


def names(batches, cores, **how):
    return [f"{c} for {', '.join(map(str, c.batches))}" for c in contenders(batches, cores, peers=False, **how)[0]]


def test_contenders_of_one_engine():
    assert names((1, 32), 6, engines=("onnxruntime",)) == [
        "onnxruntime, 1 thread for 1, 32",
        "onnxruntime, 2 threads for 1, 32",
        "onnxruntime, 2 threads, spinning for 1, 32",
        "onnxruntime, 4 threads for 1, 32",
        "onnxruntime, 4 threads, spinning for 1, 32",
        "onnxruntime, 6 threads for 1, 32",
        "onnxruntime, 6 threads, spinning for 1, 32",
        "onnxruntime, 6 threads, parts of 4 for 32",
        "onnxruntime, 6 threads, parts of 6 for 32",
    ]
    assert names((1, 5), 1, engines=("onnxruntime",)) == ["onnxruntime, 1 thread for 1, 5"]
    assert names((3, 8), 2, engines=("onnxruntime",))[3:] == [
        "onnxruntime, 2 threads, parts of 2 for 3",
        "onnxruntime, 2 threads, parts of 4 for 8",
    ]


def test_who_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(benchmarking, "is_installed", lambda name: name == "onnxruntime")
    monkeypatch.setattr(benchmarking, "find_spec", lambda _: None)
    chosen, notes = contenders((1,), 1)
    assert [str(c) for c in chosen] == ["onnxruntime, 1 thread"]
    assert notes == [
        "openvino: not installed; pip install 'striate[openvino]'",
        "ncnn: not installed; pip install 'striate[ncnn]'",
        "torch eager, torch.fx fuse, torch.compile: not installed; pip install 'striate[train]'",
    ]
    monkeypatch.setattr(benchmarking, "find_spec", lambda _: True)
    assert [c.setting.engine for c in contenders((1,), 1)[0] if c.is_peer] == list(PEERS)


def test_measuring_and_saving(model, monkeypatch):
    monkeypatch.setattr(benchmarking, "MIN_TURN_S", 0.001)
    told = []
    found = benchmark(
        model, (3, 1), seconds=0.01, engines=("onnxruntime",), peers=False, tell=lambda *done: told.append(done)
    )
    assert found.rounds == 3
    assert [row.batch_images for row in found.rows] == sorted((r.batch_images for r in found.rows), reverse=True)
    for size in (3, 1):
        rows = [row for row in found.rows if row.batch_images == size]
        speeds = [row.images_per_s for row in rows]
        assert speeds == sorted(speeds, reverse=True)
        assert [row.of_best for row in rows] == [speed / speeds[0] for speed in speeds]
        assert all(row.ms * row.images_per_s == pytest.approx(1000 * size) for row in rows)
        assert all(row.spread >= 0 and row.peak_mb > 20 for row in rows)
    assert told[-1][0] == told[-1][1] > 0
    save_fastest(found)
    best = found.fastest(3, "alone")
    assert saved_setting(model, 3, "alone")[0] == best.contender.setting
    assert saved_setting(model, 3, "beside")[0] == Setting("onnxruntime", 1)


def row(engine, speed, threads=1, part_images=None, is_peer=False):
    return Row(Contender(Setting(engine, threads, part_images=part_images), (4,), is_peer), 4, speed, 0.1, 1.0, 10.0)


def test_the_fastest_is_an_engine_of_ours_and_fits_its_use(tmp_path):
    rows = (
        row("torch.compile", 9.0, is_peer=True), row("ncnn", 8.0, threads=2, part_images=2),
        row("ncnn", 7.0, threads=2), row("openvino", 6.0), row("ncnn", 5.0),
    )  # fmt: skip
    found = Benchmark(tmp_path / "model.onnx", Machine(cpu="Z80", cores=2), 3, 0.1, rows, ())
    assert str(found.fastest(4, "alone").contender) == "ncnn, 2 threads, parts of 2"
    assert str(found.fastest(4, "beside").contender) == "openvino, 1 thread"
    assert found.fastest(5, "alone") is None
    assert found.total_mb == 50


def test_an_engine_that_fails_its_self_test_is_left_out(tmp_path):
    strict = shipped(tmp_path / "strict.onnx", bound=1e-13)
    with pytest.raises(
        UsageError, match=r"^bench: no engine ran; onnxruntime, 1 thread: left out: self-test: a logit of"
    ):
        benchmark(strict, (1,), seconds=0.01, engines=("onnxruntime",), peers=False)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("import time; time.sleep(60)", "no answer within 0 s"),
        ("raise SystemExit('so it is')", "its process ended (so it is)"),
        ("pass", "its process ended (without a word)"),
        ('print(\'{"fault": "too small"}\')', "too small"),
        ("print('{\"ready\": true}')", ""),
    ],
)
def test_a_process_that_fails_is_a_reason(script, fault):
    with benchmarking.Worker((sys.executable, "-c", script), {}) as worker:
        assert worker.wait_until_ready(0.1 if "sleep" in script else 20) == fault
    assert worker._process.returncode is not None


def test_wrong_usage(model, tmp_path):
    with pytest.raises(UsageError, match=r"^bench: batches \(0, 2\) for 5 s; use sizes from 1, and some seconds$"):
        benchmark(model, (0, 2), 5)
    with pytest.raises(
        UsageError, match=r"^bench: there is no engine 'abacus'; use some of onnxruntime, openvino, ncnn$"
    ):
        benchmark(model, (1,), 5, engines=("abacus",))
    with pytest.raises(ArtifactError, match=r"absent.onnx: cannot be opened \(No such file or directory\)"):
        benchmark(tmp_path / "absent.onnx")


@pytest.mark.peers
@pytest.mark.parametrize("peer", [name for name in PEERS if name != "torch.compile"])  # compiling takes half a minute
def test_peers_compute_the_same(peer):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((5, *PREPROCESSING.shape)).astype(np.float32)
    threads = torch.get_num_threads()
    logits = open_peer(network(), peer, threads)(x)
    assert np.abs(logits - output(network().astype(np.float64), x.astype(np.float64))).max() < 1e-5
    assert torch.get_num_threads() == threads


def test_the_command_as_json(model, monkeypatch, capsys):
    from striate.cli.app import main

    monkeypatch.setattr(benchmarking, "MIN_TURN_S", 0.001)
    arguments = [
        "bench",
        str(model),
        "--batch",
        "2",
        "--seconds",
        "1",
        "--engine",
        "onnxruntime",
        "--no-peers",
        "--save",
    ]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["saved"] == str(model.with_name("model.bench.json"))
    assert {row["engine"] for row in found["rows"]} == {"onnxruntime"}
    assert found["rows"][0]["of_best"] == 1.0
    assert main(["bench", str(model), "--engine", "abacus"]) == 2
    assert "there is no engine 'abacus'" in capsys.readouterr().err
