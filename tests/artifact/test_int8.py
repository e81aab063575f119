"""8-bit integers in a file: what is stored, what comes back, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from striate.artifact import About, Int8, write
from striate.artifact.int8 import add_quantization, remove_quantization
from striate.data.preprocess import Preprocessing
from striate.errors import ArtifactError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.from_onnx import from_onnx
from striate.graph.to_onnx import to_onnx
from striate.ops import Activation, Add, Conv, Flatten, GlobalAvgPool, Linear, MaxPool

PREPROCESSING = Preprocessing(3, 12, 10, "crop", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CLASSES = ("dark", "light")


def network():
    net = Builder("small", PREPROCESSING.shape)
    at = net.add(Conv(3, 8, (Window(3, 1, 1, 1, 1), Window(3, 1, 1, 1, 1)), bias=False), INPUT, name="conv1")
    at = stem = net.add(Activation("relu"), at, name="relu1")
    at = net.add(Conv(8, 8, (Window(3, 1, 1, 1, 1), Window(3, 1, 1, 1, 1))), at, name="conv2")
    at = net.add(Add(), at, stem, name="add")
    at = net.add(MaxPool((Window(2, 2), Window(2, 2))), at, name="pool")
    at = net.add(GlobalAvgPool(keep_axes=True), at, name="mean")
    at = net.add(Flatten(), at, name="flat")
    return initialise(net.build(net.add(Linear(8, 2), at, name="fc")), seed=3)


RANGES = {INPUT: (-2.0, 1.0), "conv1": (-9.0, 9.0), "relu1": (0.0, 9.0), "conv2": (-8.0, 9.0), "add": (-5.0, 11.0)}


def test_weights_come_back_within_half_a_level():
    net, model = network(), to_onnx(network())
    add_quantization(model, RANGES)
    onnx.checker.check_model(model, full_check=True)
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert stored["conv2.weight.int"].dtype == np.int8
    assert np.abs(stored["conv2.weight.int"]).max(axis=(1, 2, 3)).tolist() == [63] * 8  # 7 bits, each channel in full
    assert stored["conv2.bias.int"].dtype == np.int32
    assert stored["input.zero"] == 170
    assert (stored["relu1.scale"], stored["relu1.zero"]) == (np.float32(9 / 255), 0)
    assert stored["pool.scale"] == stored["add.scale"]
    assert "fc.weight" in stored  # nothing is known of what it reads
    assert remove_quantization(model)
    back = from_onnx(model)
    assert [node.op for node in back] == [node.op for node in net]
    for one, other in zip(net, back, strict=True):
        for role, array in net.weights_of(one).items():
            level = np.abs(array).reshape(len(array), -1).max(axis=1) / 63
            off = np.abs(back.weights_of(other)[role] - array).reshape(len(array), -1).max(axis=1)
            assert (off <= 0.5001 * level + 1e-6).all()


def test_a_model_without_integers_stays_as_it_is():
    model = to_onnx(network())
    before = model.SerializeToString()
    assert not remove_quantization(model)
    assert model.SerializeToString() == before


def spoil(change):
    model = to_onnx(network())
    add_quantization(model, RANGES)
    change(model.graph)
    return model


def set_initializer(name, array):
    def change(graph):
        next(t for t in graph.initializer if t.name == name).CopyFrom(numpy_helper.from_array(array, name))

    return change


def node(graph, name):
    return next(n for n in graph.node if n.name == name)


@pytest.mark.parametrize(
    "change",
    [
        set_initializer("conv1.weight.scale", np.zeros(8, np.float32)),
        set_initializer("conv1.weight.scale", np.full(8, np.nan, np.float32)),
        set_initializer("conv1.weight.scale", np.ones(7, np.float32)),
        set_initializer("conv1.weight.zero", np.ones(8, np.int8)),
        set_initializer("conv1.weight.int", np.ones((8, 3, 3, 3), np.float32)),
        set_initializer("relu1.scale", np.float32(np.inf)),
        lambda graph: node(graph, "relu1.int8.back").input.__setitem__(1, "add.scale"),
        lambda graph: node(graph, "relu1.int8.back").input.pop(),
        lambda graph: node(graph, "conv1.weight.back").input.__setitem__(0, "relu1"),
    ],
)
def test_rounding_that_we_do_not_write_is_refused(change):
    with pytest.raises(
        ArtifactError, match=r"^.*: the rounding to integers is not as striate writes it; quantize the mod"
    ):
        remove_quantization(spoil(change))


def test_levels_are_read_by_no_layer():
    change = lambda graph: graph.node.append(helper.make_node("Relu", ["relu1.int8"], ["extra"], name="extra"))  # noqa: E731
    with pytest.raises(
        ArtifactError, match=r"^'relu1.int8', 8-bit levels, is read by a layer; ship the network again$"
    ):
        remove_quantization(spoil(change))


def test_graph_and_manifest_must_agree(tmp_path):
    facts = About(
        network="small", classes=CLASSES, preprocessing=PREPROCESSING.to_json(), created="2026-01-31T12:00:00+00:00"
    )
    with pytest.raises(ArtifactError, match="graph and manifest differ on whether it computes with integers; ship the"):
        write(tmp_path / "a.onnx", network(), facts, ranges=RANGES)
    said = facts.model_copy(
        update={"int8": Int8(images=1, accuracy_before=1, accuracy_after=1, changed=0, calibration_images=1)}
    )
    with pytest.raises(ArtifactError, match="graph and manifest differ on whether it computes with integers; ship the"):
        write(tmp_path / "a.onnx", network(), said)


def test_integers_and_a_proof_exclude_each_other():
    with pytest.raises(
        ValueError, match="a model of 8-bit integers is not exact and carries no proof; leave proof out"
    ):
        About(
            network="small", classes=CLASSES, preprocessing=PREPROCESSING.to_json(),
            created="2026-01-31T12:00:00+00:00", proof={},
            int8=Int8(images=1, accuracy_before=1, accuracy_after=1, changed=0, calibration_images=1),
        )  # fmt: skip
