from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from striate.data import load
from striate.data.fashion import CLASSES, FOLDER, read_fashion_mnist, read_idx
from striate.errors import DataError

PIXELS = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
HEAD = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2, 3, 5)


def test_an_absent_set_says_how_to_get_it(tmp_path):
    message = (
        rf"^{tmp_path}/train-images-idx3-ubyte\.gz: not found; "
        r"install the data with: apt-get install dataset-fashion-mnist$"
    )
    with pytest.raises(DataError, match=message):
        read_fashion_mnist(tmp_path)


def test_an_idx_file_is_read(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(mtime=0, data=HEAD + PIXELS.tobytes()))
    np.testing.assert_array_equal(read_idx(path, axes=3), PIXELS)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(mtime=0, data=HEAD + PIXELS.tobytes())[:-12],
        gzip.compress(mtime=0, data=HEAD + PIXELS.tobytes()[:-1]),
        gzip.compress(mtime=0, data=HEAD[:7]),
        gzip.compress(mtime=0, data=bytes((0, 0, 8, 1)) + HEAD[4:] + PIXELS.tobytes()),
        b"not gzip",
        b"",
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content):
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{path}: .*; reinstall dataset-fashion-mnist$"):
        read_idx(path, axes=3)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_complete_set_is_balanced_and_has_the_published_statistics():
    dataset, choices = load("fashion-mnist")
    assert dataset.classes == CLASSES
    assert [len(part) for part in dataset.parts.values()] == [54_000, 6_000, 10_000]
    for part, count in zip(dataset.parts.values(), (5400, 600, 1000), strict=True):
        assert np.bincount(part.labels).tolist() == [count] * 10
    # 0.2860 and 0.3530 are the values in use for the 60,000 training images.
    assert dataset.preprocessing.mean[0] == pytest.approx(0.2860, abs=5e-4)
    assert dataset.preprocessing.std[0] == pytest.approx(0.3530, abs=5e-4)
    assert [choice.name for choice in choices] == ["validation", "image_size", "channels", "mean", "std"]
