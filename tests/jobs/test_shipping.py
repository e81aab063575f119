"""Shipping what was trained here or by others: what is asked, what is decided, what is proved, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from strategies import with_random_weights
from striate.artifact import load
from striate.data import Preprocessing, normalise
from striate.errors import DataError, ProofError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Builder, reference
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.jobs import proving, shipping
from striate.jobs.shipping import How, golden_count, ship, ship_named
from striate.jobs.strangers import Described, logits_of, read_stranger
from striate.jobs.verifying import verify, verify_file
from striate.ops import Activation, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool, Softmax
from striate.runtime import Engine, probabilities
from striate.verify import BATCH_SIZES

PREPROCESSING = Preprocessing(3, 11, 7, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
CLASSES = ("ant", "bee", "cow")
PADDED = (Window(3, 2, 1, 1, 0), Window(2, 1, 1, 1, 1))
TOLD = Described(classes="ant, bee,cow", mean="0.4,0.5,0.6", std="0.2,0.25,0.3", fit="crop")


def network(windows=PADDED, *, softmax=False):
    b = Builder("small", PREPROCESSING.shape)
    b.add(Conv(3, 4, windows, bias=False), INPUT, name="conv")
    b.add(BatchNorm(4), "conv", name="bn")
    b.add(Activation("relu6"), "bn", name="act")
    b.add(GlobalAvgPool(), "act", name="gap")
    b.add(Linear(4, 3), "gap", name="fc")
    if softmax:
        b.add(Softmax(), "fc", name="prob")
    return with_random_weights(b.build(), 5)


def images(count=6):
    return np.random.default_rng(1).integers(0, 256, (count, *PREPROCESSING.shape), np.uint8)


@pytest.fixture
def pictures(tmp_path):
    """Unlabelled image files of odd sizes."""
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 31, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def theirs(tmp_path):
    """A file as strangers write them: probabilities at the end, norms kept."""
    path = tmp_path / "theirs.onnx"
    path.write_bytes(to_bytes(to_onnx(network(softmax=True))))
    return path


def by_hand(net, pixels):
    """Logits in float64, the preparation by its definition."""
    mean, std = (np.array(v)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))
    return reference.output(net.astype(np.float64), (pixels / 255 - mean) / std)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_both_kinds_of_input_answer_alike_and_any_runtime_runs_them(tmp_path, dtype):
    path, pixels = tmp_path / "m.onnx", images()
    shipped = ship(network(), CLASSES, PREPROCESSING, path, pixels, how=How(dtype=dtype))
    assert (shipped.batch_norms_before, shipped.batch_norms_after, shipped.proof.fault) == (1, 0, "")
    assert shipped.proof.served_error < 1e-5
    manifest = load(path).manifest
    assert manifest.input.dtype == dtype
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type) == ("input", {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[dtype])
    x = pixels if dtype == "uint8" else normalise(pixels, PREPROCESSING)
    (logits,) = session.run(None, {"input": x})
    np.testing.assert_allclose(logits, by_hand(network(), pixels), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(Engine(path).classify(pixels), probabilities(logits))


@pytest.mark.parametrize(
    ("windows", "more", "layers"),
    [
        (PADDED, False, ["normalised", "bn", "act", "gap", "fc"]),
        (PADDED, True, ["normalised.and_one", "bn", "act", "gap", "fc"]),
        ((Window(3, 2), Window(2)), False, ["bn", "act", "gap", "fc"]),
    ],
)
def test_where_the_preparation_of_pixels_goes(tmp_path, windows, more, layers):
    path = tmp_path / "m.onnx"
    ship(network(windows), CLASSES, PREPROCESSING, path, images(), how=How(constant_channel=more))
    artifact = load(path)
    assert [node.name for node in artifact.network] == layers
    assert verify(artifact, path, network(windows), images(3)).fault == ""


def test_a_failed_proof_names_the_layer_and_writes_nothing(tmp_path, monkeypatch):
    """A pass that forgets beta: found in the folded layer, in float64."""

    def forgetful(net, passes):
        done = rewritten(net, passes)
        bias = done.network.node("bn").weights["bias"]
        weights = {**done.network.weights, bias: done.network.weights[bias] * 0}
        return replace(done, network=done.network.with_weights(weights))

    rewritten = shipping.rewrite
    monkeypatch.setattr(shipping, "rewrite", forgetful)
    with pytest.raises(ProofError, match=r"^small is not the network it was made from: bn: algebra: .*nothing is ship"):
        ship(network(), CLASSES, PREPROCESSING, tmp_path / "m.onnx", images())
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_serves_something_else_ships_nothing(tmp_path, monkeypatch):
    """Every tensor is right when all are given out; what is served is not."""

    def fused_wrongly(model_bytes, dtype):
        serve = serving(model_bytes, dtype)
        return lambda x: serve(x) + np.float32(1e-2)

    serving = proving.serving
    monkeypatch.setattr(proving, "serving", fused_wrongly)
    with pytest.raises(ProofError, match=r"^small is not .*: fc: as the engine serves it, the float32 error is "):
        ship(network(), CLASSES, PREPROCESSING, tmp_path / "m.onnx", images())
    assert list(tmp_path.iterdir()) == []


def test_no_images_no_proof(tmp_path):
    with pytest.raises(DataError, match=r"^small: there are no images to prove it on; name some with --images$"):
        ship(network(), CLASSES, PREPROCESSING, tmp_path / "m.onnx", images(0))


def test_a_strangers_file_ships_and_verifies_against_itself(tmp_path, theirs, pictures):
    out = tmp_path / "ours.onnx"
    shipped = ship_named(str(theirs), out, TOLD, str(pictures))
    assert [(c.name, c.value) for c in shipped.choices] == [
        ("order", "rgb"), ("output", "logits"), ("proof images", 32)
    ]  # fmt: skip
    assert shipped.proof.inputs["image"] == 5
    artifact = load(out)
    assert (artifact.manifest.network, artifact.manifest.classes) == ("theirs", CLASSES)
    assert artifact.manifest.prepared() == PREPROCESSING
    pixels = images()
    session = ort.InferenceSession(theirs.read_bytes(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"input": normalise(pixels, PREPROCESSING)})  # probabilities, as the file gives them
    np.testing.assert_allclose(Engine(out).classify(pixels), want, rtol=0, atol=1e-6)
    found = verify_file(out, str(theirs), str(pictures))
    assert (found.fault, found.recheck.inputs, found.proof.inputs["image"]) == ("", 9, 9)
    assert verify_file(out, None, str(pictures), proof_images=2).recheck.inputs == 6


def test_what_a_stranger_does_not_say_is_asked_for(theirs):
    with pytest.raises(
        UsageError,
        match=r"theirs\.onnx: a network does not say how its images were prepared; "
        r"give --mean, --std, --fit crop\|pad\|stretch, --images as in training$",
    ):
        read_stranger(str(theirs), Described(), has_images=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "ant,bee"}, r"--classes: 2 names for the network's 3 answers; name them all, in order$"),
        ({"classes": "no/such.txt"}, r"no/such\.txt: cannot be read \(No such file or directory\); give a text file"),
        ({"mean": "0.4,0.5"}, r"--mean is '0\.4,0\.5'; give 1 or 3 numbers with commas, one a channel$"),
        ({"std": "wide"}, r"--std is 'wide'; give 1 or 3 numbers with commas"),
        ({"mean": "123.7"}, r"--mean 123\.7 lies beyond the full scale of 1; add --full-scale 255 if it is meant for"),
        ({"full_scale": 2.0}, r"--full-scale is 2; the largest pixel value is 1 or 255$"),
        ({"order": "rbg"}, r"--order is 'rbg' for 3 channels; use rgb or bgr, the latter for 3$"),
        ({"fit": "zoom"}, r"preprocessing: fit is 'zoom'; use one of crop, pad, stretch$"),
        ({"std": "0"}, r"preprocessing: std is \(0\.0, 0\.0, 0\.0\); every value must be above 0$"),
    ],
)
def test_what_contradicts_the_network_is_refused(theirs, changes, message):
    with pytest.raises(UsageError, match=message):
        read_stranger(str(theirs), replace(TOLD, **changes), has_images=True)


def test_full_scale_255_and_names_from_a_file(theirs, tmp_path):
    (tmp_path / "names.txt").write_text("ant\nbee\n\ncow\n", encoding="utf-8")
    told = replace(TOLD, classes=str(tmp_path / "names.txt"), mean="102", std="51,63.75,76.5", full_scale=255.0)
    read = read_stranger(str(theirs), told, has_images=True)
    assert (read.classes, [c.name for c in read.choices]) == (CLASSES, ["order"])
    assert read.preprocessing == replace(PREPROCESSING, mean=(0.4, 0.4, 0.4))
    unnamed = read_stranger(str(theirs), replace(TOLD, classes="", order="rgb"), has_images=True)
    assert unnamed.classes == ("class0", "class1", "class2")
    assert [str(c) for c in unnamed.choices] == ["classes = class0 to class2 (no names were given; --classes does)"]


def test_a_network_of_bgr_images_gets_them(tmp_path, theirs, pictures):
    """mean and std are the network's, in its order; the file takes RGB, and costs one 1 x 1 convolution."""
    out = tmp_path / "ours.onnx"
    shipped = ship_named(str(theirs), out, replace(TOLD, order="bgr"), str(pictures))
    artifact = load(out)
    assert artifact.manifest.prepared() == replace(PREPROCESSING, mean=(0.6, 0.5, 0.4), std=(0.3, 0.25, 0.2))
    assert [node.name for node in artifact.network] == ["bgr", "bn", "act", "gap", "fc"]
    rgb = images()
    np.testing.assert_allclose(Engine(out).logits(rgb), by_hand(network(), rgb[:, ::-1]), rtol=0, atol=1e-5)
    assert shipped.proof.fault == ""
    assert verify_file(out, str(theirs), order="bgr").fault == ""
    assert verify_file(out, str(theirs)).fault.startswith("bn: ")


def test_networks_that_cannot_be_shipped(tmp_path):
    with pytest.raises(UsageError, match=r"^4C3-GAP-3: has no weights to ship; train it, or name an \.onnx file that"):
        read_stranger("4C3-GAP-3", replace(TOLD, input_shape="3x11x7"), has_images=True)
    with pytest.raises(UsageError, match=r"a run knows its classes, its input and its preprocessing; leave these opt"):
        ship_named(str(tmp_path), Path("m.onnx"), TOLD, None)
    with pytest.raises(UsageError, match=r"^model\.bin: a shipped model is an \.onnx file; name it so$"):
        ship_named(str(tmp_path), Path("model.bin"), Described(), None)
    with pytest.raises(UsageError, match=r"^ship: the file cannot take float16; use uint8 or float32$"):
        How(dtype="float16")


def test_only_a_softmax_over_the_answers_at_the_very_end_is_left_out():
    net = network(softmax=True)
    assert logits_of(net)[0].output == "fc"
    assert logits_of(network())[1] == ()
    b = Builder("inner", (3,))
    b.add(Linear(3, 4), INPUT, name="a")
    b.add(Softmax(), "a", name="gate")
    b.add(Linear(4, 2), "gate", name="fc")
    assert logits_of(b.build())[0].output == "fc"


def test_a_large_network_is_proved_on_fewer_images_in_smaller_batches():
    assert proving.batch_sizes(network()) == BATCH_SIZES
    assert proving.image_count(network())[0] == 32
    assert proving.image_count(network(), 3) == (3, ())
    b = Builder("large", (3, 512, 512))
    b.add(Conv(3, 64, (Window(3), Window(3))), INPUT, name="conv")
    b.add(Conv(64, 64, (Window(3), Window(3))), "conv", name="conv2")
    b.add(MaxPool((Window(2), Window(2))), "conv2", name="pool")
    large = b.build()
    assert proving.batch_sizes(large) == (1,)
    count, (choice,) = proving.image_count(large)
    assert count == 8 == choice.value


def test_large_images_make_fewer_golden_cases():
    sizes = ((224, 4), (700, 2), (1024, 1), (2048, 1))
    for side, count in sizes:
        assert golden_count(Preprocessing(3, side, side, "crop", (0.0,) * 3, (1.0,) * 3)) == count


def test_images_are_taken_evenly(pictures):
    first, last = (proving.images_of(str(pictures / f"{i}.png"), (), PREPROCESSING, 1)[0] for i in (0, 2))
    two = proving.images_of(str(pictures), (), PREPROCESSING, 2)
    np.testing.assert_array_equal(two, [first, last])
