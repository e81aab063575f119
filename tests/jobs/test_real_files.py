"""Two files of other people's, shipped: as many answers right as before, and the answers of the file itself."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from striate.artifact import load
from striate.jobs.shipping import How, ship_named
from striate.jobs.strangers import Described
from striate.jobs.verifying import verify_file
from striate.ops import BatchNorm
from striate.runtime import Engine, probabilities

RIGHT = 9_173  # of 10,000, as ../shared/data/README.md states of this file
FEW = How(proof_images=4)
CIFAR = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"


def norms(path):
    return sum(isinstance(node.op, BatchNorm) for node in load(path).network)


@pytest.mark.slow
def test_resnet20_ships_without_norms_and_answers_as_many_right(shared_data, tmp_path):
    table = pytest.importorskip("pyarrow.parquet").read_table(shared_data / "cifar10" / "test.parquet")
    out, theirs = tmp_path / "r20.onnx", str(shared_data / "pretrained" / "resnet20_cifar10.onnx")
    told = Described(classes=CIFAR, mean=".485,.456,.406", std=".229,.224,.225", fit="stretch")
    shipped = ship_named(theirs, out, told, str(shared_data / "cifar10" / "test.parquet"), how=FEW)
    assert (shipped.batch_norms_before, shipped.batch_norms_after, norms(out), shipped.proof.fault) == (19, 0, 0, "")
    assert verify_file(out, theirs).fault == ""
    encoded = (row["bytes"] for row in table["image"].to_pylist())
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded])
    engine, pixels = Engine(out, 1), np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    answers = np.concatenate([engine.logits(pixels[i : i + 250]).argmax(axis=1) for i in range(0, len(pixels), 250)])
    assert int((answers == np.array(table["label"].to_pylist())).sum()) == RIGHT


@pytest.mark.slow
def test_a_file_with_squeeze_excite_and_softmax_gives_its_probabilities(shared_data, tmp_path):
    theirs = shared_data / "pretrained" / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
    told = Described(input_shape="3x48x192", mean="0.5", std="0.5", fit="stretch", order="bgr", classes="0,180")
    out = tmp_path / "ocr.onnx"
    shipped = ship_named(str(theirs), out, told, str(shared_data / "trashnet"), how=FEW)
    assert (shipped.batch_norms_before, shipped.batch_norms_after, shipped.proof.fault) == (35, 0, "")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 48, 192), np.uint8)
    session = ort.InferenceSession(theirs.read_bytes(), providers=["CPUExecutionProvider"])
    x = ((pixels[:, ::-1] / 255 - 0.5) / 0.5).astype(np.float32)
    (want,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(probabilities(Engine(out, 1).logits(pixels)), want, rtol=0, atol=2e-6)
