"""Every engine against the float64 reference, layer kind by layer kind; settings that cannot be are refused."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from striate import ops
from striate.artifact import About, golden_case, load, write
from striate.data.preprocess import Preprocessing, normalise
from striate.errors import ArtifactError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.reference import output
from striate.runtime import Engine, Setting, self_test
from striate.runtime.engines import ENGINES, is_installed, open_runner, version
from striate.runtime.engines.ncnn_form import to_ncnn

SHAPE = (3, 13, 11)
PREPROCESSING = Preprocessing(*SHAPE, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
TOLERANCE = 1e-5  # of the largest logit: float32 rounding, and Winograd's, which is a few times larger


def engine_or_skip(name):
    if not is_installed(name):
        pytest.skip(f"needs the package of the engine {name}")
    return name


def start():
    return Builder("small", SHAPE)


def plain():
    """Uneven padding, strides and dilation, a grouped and a depthwise convolution, both pools."""
    net = start()
    at = net.add(ops.Conv(3, 8, (Window(3, 2, 1, 1, 0), Window(2, 1, 2, 0, 2))), INPUT, name="conv")
    at = net.add(ops.Activation("relu"), at, name="relu")
    at = net.add(
        ops.Conv(8, 12, (Window(3, 1, 1, 1, 1), Window(3, 1, 1, 1, 1)), groups=4, bias=False), at, name="grouped"
    )
    at = net.add(ops.MaxPool((Window(3, 1, 1, 1, 1), Window(2, 2, 1, 0, 0))), at, name="max")
    at = net.add(ops.Conv(12, 12, (Window(3, 1, 1, 1, 1), Window(5, 1, 1, 2, 2)), groups=12), at, name="depthwise")
    at = net.add(ops.Activation("relu6"), at, name="relu6")
    at = net.add(ops.AvgPool((Window(2, 1, 1, 1, 0), Window(3, 1, 1, 1, 1)), count_include_pad=False), at, name="avg")
    at = net.add(ops.Flatten(), at, name="flat")
    at = net.add(ops.Linear(net.shape(at)[0], 7), at, name="fc1")
    at = net.add(ops.Activation("relu"), at, name="relu2")
    return net.build(net.add(ops.Linear(7, 5), at, name="fc2"))


def branched():
    """A sum, a product with a gate, a concatenation, batch normalisation, one tensor read three times."""
    net = start()
    at = net.add(ops.Conv(3, 6, (Window(3, 1, 1, 1, 1), Window(3, 1, 1, 1, 1))), INPUT, name="stem")
    at = net.add(ops.BatchNorm(6), at, name="norm")
    left = net.add(ops.Conv(6, 6, (Window(1), Window(1))), at, name="left")
    total = net.add(ops.Add(), left, at, name="add")
    gate = net.add(ops.GlobalAvgPool(keep_axes=True), total, name="mean")
    gate = net.add(ops.Conv(6, 6, (Window(1), Window(1))), gate, name="gate")
    gate = net.add(ops.Activation("sigmoid"), gate, name="open")
    gated = net.add(ops.Mul(), total, gate, name="mul")
    both = net.add(ops.Concat(), gated, at, name="concat")
    both = net.add(ops.Activation("hard_swish"), both, name="curve")
    both = net.add(ops.Dropout(0.5), both, name="drop")
    pooled = net.add(ops.GlobalAvgPool(), both, name="gap")
    return net.build(net.add(ops.Linear(12, 5), pooled, name="fc"))


NETWORKS = {"plain": plain, "branched": branched}


def shipped(tmp_path, make, bound=TOLERANCE):
    network = initialise(make(), seed=1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
    logits = output(network.astype(np.float64), normalise(pixels, PREPROCESSING).astype(np.float64))
    facts = About(
        network="small", classes=tuple("abcde"), preprocessing=PREPROCESSING.to_json(),
        created="2026-01-31T12:00:00+00:00", golden_bound=bound * float(np.abs(logits).max()),
        golden=tuple(golden_case(p, PREPROCESSING, y) for p, y in zip(pixels, logits, strict=True)),
    )  # fmt: skip
    write(tmp_path / "model.onnx", network, facts)
    return load(tmp_path / "model.onnx")


@pytest.mark.parametrize("part_images", [None, 1, 3])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("made", NETWORKS)
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_computes_the_network(tmp_path, name, made, threads, part_images):
    artifact = shipped(tmp_path, NETWORKS[made])
    engine = Engine(artifact, threads, engine=engine_or_skip(name), part_images=part_images)
    x = np.random.default_rng(5).standard_normal((7, *SHAPE)).astype(np.float32)
    exact = output(artifact.network.astype(np.float64), x.astype(np.float64))
    logits = engine.logits(x)
    assert (logits.dtype, logits.shape) == (np.float32, (7, 5))
    assert np.abs(logits - exact).max() < TOLERANCE * np.abs(exact).max()
    assert np.array_equal(engine.logits(x), logits)
    for size in (2, 5, 1):
        assert np.abs(engine.logits(x[:size]) - exact[:size]).max() < TOLERANCE * np.abs(exact).max()
    assert 0 < self_test(engine, artifact.manifest) < artifact.manifest.golden_bound


@pytest.mark.parametrize("name", ENGINES)
def test_callers_side_by_side_get_their_own_answers(tmp_path, name):
    runner = open_runner(shipped(tmp_path, plain), Setting(engine_or_skip(name)))
    batches = np.random.default_rng(6).standard_normal((24, 2, *SHAPE)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(runner, batches))
    assert all(np.array_equal(runner(x), answer) for x, answer in zip(batches, answers, strict=True))


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_computes_something_else_is_not_used(tmp_path, name):
    artifact = shipped(tmp_path, plain, bound=1e-12)
    engine = Engine(artifact, 1, engine=engine_or_skip(name))
    with pytest.raises(ArtifactError, match=rf"^self-test: .*; {name} computes another function here: do not use it$"):
        self_test(engine, artifact.manifest)


def test_settings_that_cannot_be():
    with pytest.raises(UsageError, match=r"^engine: threads is 0; use at least 1$"):
        Setting(threads=0)
    with pytest.raises(UsageError, match=r"^engine: part_images is 0; use at least 1, or None for no parts$"):
        Setting(part_images=0)
    with pytest.raises(UsageError, match=r"^engine: there is no 'tensorrt'; use one of onnxruntime, openvino, ncnn$"):
        open_runner(None, Setting("tensorrt"))


def test_a_setting_says_itself():
    assert str(Setting()) == "onnxruntime, 1 thread"
    assert str(Setting("ncnn", 3, part_images=4)) == "ncnn, 3 threads, parts of 4"
    assert str(Setting(threads=2, spinning=True)) == "onnxruntime, 2 threads, spinning"
    assert Setting(**asdict(Setting("openvino", 2))) == Setting("openvino", 2)


def test_an_engine_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in ("openvino", "ncnn"):
        with pytest.raises(UsageError, match=rf"^engine: {name} is not installed; pip install 'striate\[{name}\]'$"):
            version(name)


def test_only_onnx_runtime_lets_spinning_be_chosen(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    with pytest.raises(UsageError, match=r"^engine: ncnn does not let spinning be chosen; leave it off$"):
        open_runner(None, Setting("ncnn", 2, spinning=True))


def test_ncnn_text_counts_its_lines_and_tensors():
    text, weights = to_ncnn(initialise(branched(), seed=1), "logits")
    magic, counts, *lines = text.splitlines()
    layers, tensors = map(int, counts.split())
    written = [name for line in lines for name in line.split()[4 + int(line.split()[2]) :][: int(line.split()[3])]]
    read = [name for line in lines for name in line.split()[4:][: int(line.split()[2])]]
    assert (magic, layers) == ("7767517", len(lines))
    assert len(written) == len(set(written)) == tensors
    assert sorted(read) == sorted(set(written) - {"logits"})  # each tensor is read once
    layers_with_tags, parameters = 4, 3 * 6 * 9 + 6 + 4 * 6 + 6 * 6 + 6 + 6 * 6 + 6 + 12 * 5 + 5
    assert len(weights) == 4 * (layers_with_tags + parameters)


@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        (ops.Conv(3, 4, (Window(3, 1, 1, -1, 1), Window(3))), "padding that crops"),
        (
            ops.MaxPool((Window(3, 2, 1, 0, 0, ceil_mode=True), Window(2, 1, 2))),
            "dilation, padding that crops, or a window",
        ),
        (ops.AvgPool((Window(2, 3, 1, 0, 0, ceil_mode=True), Window(2))), "dilation, padding that crops, or a window"),
        (ops.Activation("elu"), "the curve elu"),
        (ops.Activation("leaky_relu", (0.3,)), "the curve leaky_relu 0.3"),
    ],
)
def test_layers_that_are_not_written_for_ncnn(layer, fault):
    net = start()
    at = net.add(layer, INPUT, name="odd")
    network = initialise(net.build(net.add(ops.Flatten(), at, name="flat")), seed=0)
    with pytest.raises(
        UsageError, match=rf"^ncnn: odd: {fault}.* is not written for ncnn; use the engine onnxruntime or"
    ):
        to_ncnn(network, "logits")


def test_a_model_that_openvino_refuses(tmp_path):
    engine_or_skip("openvino")
    broken = replace(shipped(tmp_path, plain), model_bytes=b"no model")
    with pytest.raises(ArtifactError, match=r"^OpenVINO cannot run the model \(.*\); use the engine onnxruntime$"):
        Engine(broken, 1, engine="openvino")
