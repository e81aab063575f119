from __future__ import annotations

import runpy
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import load, load_part, write_sample_images
from striate.data.fashion import CLASSES, FOLDER, read_fashion_mnist
from striate.data.sample import FILE, read_sample
from striate.errors import DataError

needs_debian = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
SAMPLE = resources.files("striate.data.sample")


def test_the_sample_is_balanced_small_and_licensed():
    dataset, choices = load("sample")
    assert dataset.classes == CLASSES
    assert [len(part) for part in dataset.parts.values()] == [4500, 500, 1000]
    for part, count in zip(dataset.parts.values(), (450, 50, 100), strict=True):
        assert part.images.shape[1:] == (1, 28, 28)
        assert np.bincount(part.labels).tolist() == [count] * 10
    assert len(SAMPLE.joinpath(FILE).read_bytes()) < 2.7e6
    assert "Copyright (c) 2017 Zalando SE" in SAMPLE.joinpath("NOTICE").read_text()
    assert str(choices[0]) == ("validation = 500 images (0.1 of each class, held out of 5,000 images with seed 0)")


@needs_debian
def test_the_samples_images_are_the_originals_that_they_name():
    full = read_fashion_mnist().parts
    for part, raw in read_sample().parts.items():
        positions = [int(name.split("/")[1]) for name in raw.names]
        assert len(set(positions)) == len(positions)
        np.testing.assert_array_equal(raw.pixels, full[part].pixels[positions])
        np.testing.assert_array_equal(raw.class_names, full[part].class_names[positions])


@needs_debian
def test_making_the_sample_again_gives_the_same_content(tmp_path):
    script = runpy.run_path(str(Path(__file__).parents[2] / "dev" / "make_sample.py"))
    for name in ("a.npz", "b.npz"):
        script["main"](tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as again, SAMPLE.joinpath(FILE).open("rb") as file:
        committed = np.load(file)
        assert sorted(committed) == sorted(again)
        for key in committed:  # contents: another zlib may pack the same arrays into other bytes
            np.testing.assert_array_equal(committed[key], again[key])
            assert committed[key].dtype == again[key].dtype


def test_written_images_are_test_images_with_the_classes_in_turn(tmp_path):
    paths = write_sample_images(tmp_path, 23)
    assert [path.parent.name for path in paths[:11]] == [
        "T-shirt-top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot", "T-shirt-top",
    ]  # fmt: skip
    test = read_sample().parts["test"]
    i = test.names.tolist().index(f"test/{int(paths[7].stem)}")
    assert test.class_names[i] == "Sneaker"
    with Image.open(paths[7]) as image:
        np.testing.assert_array_equal(np.asarray(image), test.pixels[i, 0])


def test_written_images_are_read_back_under_the_classes_own_names(tmp_path):
    dataset, _ = load("sample")
    write_sample_images(tmp_path, 30)
    part, _ = load_part(tmp_path, dataset.classes, dataset.preprocessing)
    assert np.bincount(part.labels).tolist() == [3] * 10
    i = part.names.tolist().index(next(name for name in part.names if name.startswith("T-shirt-top/")))
    assert dataset.classes[part.labels[i]] == "T-shirt/top"
    j = dataset.test.names.tolist().index(f"test/{int(Path(part.names[i]).stem)}")
    np.testing.assert_array_equal(part.images[i], dataset.test.images[j])


@pytest.mark.parametrize("count", [0, 1001])
def test_more_images_than_there_are_is_refused(tmp_path, count):
    with pytest.raises(DataError, match=rf"^the sample has 1,000 test images; asked for {count}$"):
        write_sample_images(tmp_path, count)
