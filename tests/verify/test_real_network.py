"""A trained network with its norms kept: folds completely, proves, and still fails when one weight is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from striate.graph.from_onnx import from_onnx
from striate.ops import BatchNorm
from striate.rewrite import rewrite
from striate.verify import input_cases, prove

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def resnet20(shared_data):
    network = from_onnx(shared_data / "pretrained" / "resnet20_cifar10.onnx").astype(np.float64)
    return network, rewrite(network)


def proof_of(original, rewritten, shipped, engine):
    cases = input_cases((3, 32, 32), -MEAN / STD, (1 - MEAN) / STD, seed=0)
    return prove(original, rewritten, engine(shipped), engine(original), cases)


def test_resnet20_folds_completely_and_proves(resnet20, engine):
    original, done = resnet20
    assert done.refused == ()
    assert not any(isinstance(node.op, BatchNorm) for node in done.network)
    proof = proof_of(original, done.network, done.network, engine)
    assert proof.fault == ""
    assert proof.end_to_end.value < 1e-13
    assert max(layer.algebra.value for layer in proof.layers) < 1e-14
    assert proof.decisions.flips == 0
    assert proof.decisions.smallest_margin > 2 * proof.decisions.largest_error


def test_one_wrong_weight_deep_inside_is_named(resnet20, numpy_engine):
    original, done = resnet20
    layer = [node for node in done.network if "weight" in node.weights][10]
    weight = done.network.weights[layer.weights["weight"]].copy()
    weight.flat[5] += 6 * weight.std()
    shipped = done.network.with_weights({**done.network.weights, layer.weights["weight"]: weight})
    assert proof_of(original, done.network, shipped, numpy_engine).fault.startswith(f"{layer.name}: rounding: ")
