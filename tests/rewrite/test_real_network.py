"""A trained network on a tenth of the test set of CIFAR-10: no norm left, and every answer as before.

tests/jobs/test_real_files.py counts what the shipped file gets right of the whole.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from striate.graph import INPUT
from striate.graph.from_onnx import from_onnx
from striate.graph.to_onnx import LOGITS, to_bytes, to_onnx
from striate.ops import Affine, BatchNorm, Scale, Shift
from striate.rewrite import read_pixels, rewrite
from striate.runtime import open_session

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IMAGES, BATCH = 1000, 250


@pytest.fixture(scope="module")
def cifar10(shared_data):
    """uint8 images (1000, 3, 32, 32), spread over the test set, and their classes."""
    table = pytest.importorskip("pyarrow.parquet").read_table(shared_data / "cifar10" / "test.parquet")
    table = table.take(list(range(0, len(table), len(table) // IMAGES)))
    encoded = (row["bytes"] for row in table["image"].to_pylist())
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded])
    return pixels.transpose(0, 3, 1, 2), np.array(table["label"].to_pylist())


@pytest.fixture(scope="module")
def resnet20(shared_data):
    return from_onnx(shared_data / "pretrained" / "resnet20_cifar10.onnx").astype(np.float64)


def answers(network, pixels, prepare):
    """The class that ONNX Runtime gives each image."""
    session = open_session(to_bytes(to_onnx(network.astype(np.float32))), 1, spinning=False)
    starts = range(0, len(pixels), BATCH)
    batches = (prepare(pixels[start : start + BATCH]).astype(np.float32) for start in starts)
    return np.concatenate([session.run([LOGITS], {INPUT: x})[0].argmax(axis=1) for x in batches])


def normalised(pixels):
    return (pixels / 255 - MEAN[:, None, None]) / STD[:, None, None]


def norms(network):
    return sum(isinstance(node.op, BatchNorm) for node in network)


@pytest.mark.slow
def test_resnet20_is_as_right_as_before(resnet20, cifar10):
    pixels, classes = cifar10
    done = rewrite(resnet20)
    raw = rewrite(read_pixels(resnet20, 1 / (255 * STD), -MEAN / STD)).network
    assert (norms(resnet20), norms(done.network), norms(raw)) == (19, 0, 0)
    before, after = (answers(network, pixels, normalised) for network in (resnet20, done.network))
    from_pixels = answers(raw, pixels, lambda x: x)
    assert 0.89 < (before == classes).mean() < 0.94
    assert np.array_equal(before, after)
    assert np.array_equal(before, from_pixels)


def test_a_norm_that_caffe_wrote_as_three_layers_is_one_and_folds():
    """DenseNet-121 of 2017: 121 norms, each with gamma and beta as layers of their own; 62 read what others read."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_densenet121.onnx"
    if not path.exists():
        pytest.skip("this onnx package comes without its test models")
    network = from_onnx(path)
    assert [sum(isinstance(node.op, kind) for node in network) for kind in (BatchNorm, Scale, Shift)] == [121, 121, 121]
    done = rewrite(network).network
    assert sum(isinstance(node.op, BatchNorm) for node in done) == 62
    assert not any(isinstance(node.op, Scale | Shift | Affine) for node in done)
