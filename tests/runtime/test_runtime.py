"""Engine, self-test and prediction over files, against the float64 reference; without torch, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.artifact import About, golden_case, load, write
from striate.data.decode import decode
from striate.data.preprocess import Preprocessing, normalise
from striate.errors import ArtifactError, DataError, UsageError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.reference import output
from striate.ops import Activation, Conv, GlobalAvgPool, Linear
from striate.runtime import Engine, Prediction, Unreadable, predict, probabilities, self_test

PREPROCESSING = Preprocessing(3, 11, 7, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
CLASSES = ("ant", "bee", "cow")


def network():
    builder = Builder("small", PREPROCESSING.shape)
    at = builder.add(Conv(3, 8, (Window(3, 2, 1, 1, 0), Window(2)), bias=False), INPUT, name="conv")
    at = builder.add(Activation("relu"), at, name="relu")
    at = builder.add(GlobalAvgPool(), at, name="gap")
    builder.add(Linear(8, 3), at, name="fc")
    return initialise(builder.build(), seed=2)


def exact(images):
    return output(network().astype(np.float64), normalise(images, PREPROCESSING).astype(np.float64))


@pytest.fixture
def shipped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *PREPROCESSING.shape), np.uint8)
    golden = tuple(golden_case(p, PREPROCESSING, y) for p, y in zip(pixels, exact(pixels), strict=True))
    facts = About(
        network="small", classes=CLASSES, preprocessing=PREPROCESSING.to_json(), created="2026-01-31T12:00:00+00:00",
        golden=golden, golden_bound=1e-5,
    )  # fmt: skip
    write(tmp_path / "model.onnx", network(), facts)
    return tmp_path / "model.onnx"


@pytest.fixture
def pictures(tmp_path):
    """Images of several sizes and formats, one of them broken, one hidden, one text."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(4)
    (folder / "deep").mkdir(parents=True)
    for name, size in {
        "a10.png": (23, 31, 3),
        "a9.png": (11, 7, 3),
        "deep/b.jpg": (40, 13, 3),
        ".h.png": (9, 9, 3),
    }.items():
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / name)
    (folder / "a11.png").write_bytes((folder / "a10.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("spinning", [False, True])
def test_logits_equal_the_reference(shipped, threads, spinning):
    images = np.random.default_rng(1).integers(0, 256, (5, *PREPROCESSING.shape), np.uint8)
    engine = Engine(shipped, threads, spinning=spinning)
    logits = engine.logits(normalise(images, PREPROCESSING))
    assert (logits.dtype, logits.shape) == (np.float32, (5, 3))
    assert np.abs(logits - exact(images)).max() < 1e-5
    assert np.allclose(engine.classify(images), probabilities(logits), rtol=0, atol=0)


def test_probabilities_are_a_softmax_in_float64():
    logits = np.array([[1000.0, 999.0, -1000.0], [0.5, 0.25, 0.125]], np.float32)
    p = probabilities(logits)
    assert p.dtype == np.float64
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-15
    assert np.allclose(p[0], [np.e / (1 + np.e), 1 / (1 + np.e), 0], rtol=1e-14)


def test_no_images_no_logits(shipped):
    assert Engine(shipped, 1).logits(np.empty((0, *PREPROCESSING.shape), np.float32)).shape == (0, 3)


def test_wrong_input_is_refused(shipped):
    with pytest.raises(
        DataError, match=r"^engine: got float64 \(1, 3, 7, 11\); expected float32 \(N, 3, 11, 7\), normalised$"
    ):
        Engine(shipped, 1).logits(np.zeros((1, 3, 7, 11)))
    with pytest.raises(UsageError, match=r"^engine: threads is 0; use at least 1$"):
        Engine(shipped, 0)


def test_self_test_passes_and_can_fail(shipped):
    artifact = load(shipped)
    engine = Engine(artifact, 1)
    assert 0 < self_test(engine, artifact.manifest) < 1e-5
    strict = artifact.manifest.model_copy(update={"golden_bound": 1e-12})
    with pytest.raises(
        ArtifactError, match=r"^self-test: a logit of golden case 0 is off by .*, allowed is 1e-12; onnxruntime"
    ):
        self_test(engine, strict)
    case = artifact.manifest.golden[0].model_copy(update={"tensor_sha256": "0" * 64})
    with pytest.raises(ArtifactError, match=r"^self-test: golden case 0 is normalised to other bits than when it was"):
        self_test(engine, artifact.manifest.model_copy(update={"golden": (case,)}))


def test_self_test_finds_another_network(shipped):
    artifact = load(shipped)
    other = write(
        shipped, initialise(network(), seed=3), About(**{k: getattr(artifact.manifest, k) for k in About.model_fields})
    )
    with pytest.raises(ArtifactError, match="golden case 0 is off by"):
        self_test(Engine(shipped, 1), other)


@pytest.mark.parametrize("batch_images", [1, 2, 32])
def test_files_and_folders(shipped, pictures, batch_images):
    results = list(predict(shipped, [pictures, pictures / "a9.png"], batch_images, threads=2))
    names = [Path(r.path).relative_to(pictures).as_posix() for r in results]
    assert names == ["a9.png", "a10.png", "a11.png", "deep/b.jpg", "a9.png"]
    for result in results:
        if result.path.endswith("a11.png"):
            assert isinstance(result, Unreadable)
            assert "a11.png: unreadable image" in result.reason
            continue
        wanted = probabilities(exact(decode(Path(result.path), PREPROCESSING)[None]))[0]
        assert isinstance(result, Prediction)
        assert np.abs(np.array(result.probabilities) - wanted).max() < 1e-6
        assert (result.label, result.probability) == (CLASSES[wanted.argmax()], max(result.probabilities))


def test_stopping_early_leaves_no_threads(shipped, pictures):
    results = predict(shipped, [pictures] * 20, batch_images=1, threads=2)
    assert isinstance(next(results), Prediction)
    results.close()


def test_paths_that_are_none(shipped, tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=r"bare: holds no images \(.jpg, .*\); check the path, or name archives"):
        predict(shipped, [tmp_path / "bare"])
    with pytest.raises(DataError, match=r"none.png: no such file or folder; check the path$"):
        predict(shipped, [tmp_path / "none.png"])
    with pytest.raises(UsageError, match=r"^predict: batch_images is 0; use at least 1$"):
        predict(shipped, [], batch_images=0)


def test_a_model_that_onnx_runtime_refuses(shipped):
    broken = replace(load(shipped), model_bytes=b"no model")
    with pytest.raises(ArtifactError, match=r"^ONNX Runtime cannot run the model \(.*\); ship the network again$"):
        Engine(broken, 1)


def test_predicting_imports_no_torch(shipped, pictures):
    code = (
        "import sys; from pathlib import Path; from striate.runtime import predict\n"
        "results = list(predict(Path(sys.argv[1]), [Path(sys.argv[2])], threads=1))\n"
        "sys.exit('torch is loaded' if 'torch' in sys.modules or len(results) != 4 else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, shipped, pictures], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(shipped).is_file()
