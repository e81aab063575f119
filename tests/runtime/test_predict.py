"""Prediction over images: what the engine is given, in what order, in how much memory, and what it makes of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import predicted
from striate.data import decode, normalise
from striate.errors import ArtifactError, DataError, UsageError
from striate.runtime import Engine, Prediction, Unreadable, predict, probabilities
from striate.runtime.predict import readable

COUNT = 21


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    return predicted.ship(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def pictures(tmp_path):
    """Twenty-one pictures, the fifth of them cut short."""
    paths = predicted.write_pictures(tmp_path / "pictures", COUNT)
    paths[4].write_bytes(paths[4].read_bytes()[:60])
    return tmp_path / "pictures"


def logits_of(shipped, path):
    return Engine(shipped, 1).logits(normalise(decode(path, predicted.PREPROCESSING)[None], predicted.PREPROCESSING))


def test_the_engine_is_given_the_pixels_of_the_shared_decode(shipped, pictures, monkeypatch):
    seen = []
    real = Engine.classify
    monkeypatch.setattr(Engine, "classify", lambda self, images: seen.append(images.copy()) or real(self, images))
    results = list(predict(shipped, [pictures], batch_images=5, threads=1))
    good = [Path(one.path) for one in results if isinstance(one, Prediction)]
    assert [len(images) for images in seen] == [4, 5, 5, 5, 1]  # the bad one leaves a gap and is not filled up
    wanted = np.stack([decode(path, predicted.PREPROCESSING) for path in good])
    assert np.concatenate(seen).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("batch_images", [1, 8, 32])
def test_any_number_of_threads_gives_the_same_bits(shipped, pictures, batch_images):
    one, two, five = (list(predict(str(shipped), [str(pictures)], batch_images, threads=n)) for n in (1, 2, 5))
    assert one == two == five
    assert len(one) == COUNT


def test_a_bad_image_is_named_and_nothing_stands_in_its_place(shipped, pictures):
    results = list(predict(shipped, [pictures], threads=2))
    bad = [one for one in results if isinstance(one, Unreadable)]
    assert [one.path for one in bad] == [f"{pictures}/cat/4.jpg"]
    assert bad[0].reason.startswith(f"{pictures}/cat/4.jpg: unreadable image (")
    assert [Path(one.path).stem for one in results] == [str(i) for i in range(COUNT)]


def test_temperature_and_threshold_come_from_the_manifest(tmp_path, pictures):
    plain = predicted.ship(tmp_path / "plain.onnx")
    path = pictures / "cat" / "3.jpg"
    logits = logits_of(plain, path).astype(np.float64)[0]
    for temperature in (0.25, 3.0):
        exponents = np.exp(logits / temperature)
        wanted = exponents / exponents.sum()
        for threshold, abstains in ((wanted.max() - 1e-3, False), (wanted.max() + 1e-3, True)):
            cool = predicted.ship(tmp_path / "cool.onnx", temperature=temperature, abstain_below=float(threshold))
            (one,) = predict(cool, [path])
            assert np.allclose(one.probabilities, wanted, rtol=1e-12, atol=0)
            assert (one.label, one.abstains) == (predicted.CLASSES[logits.argmax()], abstains)
    (one,) = predict(plain, [path])
    assert np.array_equal(one.probabilities, probabilities(logits_of(plain, path))[0])
    assert not one.abstains


def test_results_come_lazily(shipped, pictures, monkeypatch):
    seen = []
    real = Engine.classify
    monkeypatch.setattr(Engine, "classify", lambda self, images: seen.append(len(images)) or real(self, images))
    results = predict(shipped, [pictures] * 50, batch_images=4, threads=1)
    assert seen == []
    assert isinstance(next(results), Prediction)
    results.close()
    assert len(seen) <= 3


def test_a_broken_shard_ends_it_after_what_stood_before(shipped, pictures, tmp_path):
    good = predicted.write_tar(tmp_path / "a.tar", {f"{i}.jpg": predicted.picture(i) for i in range(7)})
    broken = predicted.write_tar(tmp_path / "b.tar", {f"{i}.jpg": predicted.picture(i) for i in range(7)})
    broken.write_bytes(broken.read_bytes()[: broken.read_bytes().index(b"5.jpg") + 600])
    results = predict(shipped, [good, broken, pictures], batch_images=2, threads=2)
    names = []
    with pytest.raises(DataError, match=r"b\.tar: "):
        names.extend(one.path for one in results)
    assert names == [f"{good}/{i}.jpg" for i in range(7)] + [f"{broken}/{i}.jpg" for i in range(4)]  # whole batches


def test_wrong_calls_are_refused_at_once(shipped, pictures, tmp_path):
    with pytest.raises(UsageError, match=r"^predict: batch_images is 0; use at least 1$"):
        predict(shipped, [pictures], batch_images=0)
    with pytest.raises(UsageError, match=r"^predict: threads is -1; use at least 1$"):
        predict(shipped, [pictures], threads=-1)
    with pytest.raises(UsageError, match=r"^predict: sources is one path, '.*pictures'; give a list of them$"):
        predict(shipped, str(pictures))
    with pytest.raises(ArtifactError, match=r"none\.onnx: cannot be opened \(No such file"):
        predict(tmp_path / "none.onnx", [pictures])


def test_an_answer_that_is_no_number_is_no_answer(shipped, pictures, monkeypatch):
    monkeypatch.setattr(Engine, "classify", lambda self, images: np.full((len(images), 3), np.nan))
    with pytest.raises(ArtifactError, match=r"cat/0\.jpg: the model's answer is not a number; ship the network again$"):
        next(predict(shipped, [pictures]))


def test_a_name_that_is_not_utf8_is_text():
    assert readable("caf\udce9.jpg") == "caf\\xe9.jpg"
    assert readable("größe.jpg") == "größe.jpg"


MEMORY = """
import resource, sys
from pathlib import Path
from striate.runtime import predict

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

model, small, large = map(Path, sys.argv[1:])
list_of = lambda source: sum(1 for _ in predict(model, [source], threads=2))
counts = [list_of(small)]
before = peak_kib()
counts.append(list_of(large))
print(*counts, peak_kib() - before)
"""


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, kind):
    """Ten times the images take no more memory; 1,800 decoded images held would be 37 MB, their files 30 MB."""
    model = predicted.ship(tmp_path / "model.onnx", preprocessing=replace(predicted.PREPROCESSING, height=83, width=79))
    rng = np.random.default_rng(0)
    image = predicted.encoded(rng.integers(0, 256, (101, 97, 3), np.uint8), "JPEG")
    sources = []
    for count in (200, 2000):
        names = [f"{i}.jpg" for i in range(count)]
        if kind == "tar":
            sources.append(predicted.write_tar(tmp_path / f"{count}.tar", dict.fromkeys(names, image)))
            continue
        sources.append(tmp_path / str(count))
        sources[-1].mkdir()
        for name in names:
            (sources[-1] / name).write_bytes(image)
    arguments = [sys.executable, "-c", MEMORY, str(model), *map(str, sources)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    small, large, grown_kib = map(int, done.stdout.split())
    assert (small, large) == (200, 2000)
    assert grown_kib < 6 * 1024
