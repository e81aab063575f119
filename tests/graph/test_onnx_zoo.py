"""Networks that other people exported: every light model of the onnx package, and two with trained weights.

The light models have one value in every weight, so each gets random weights here, which tell every channel apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from striate.graph.from_onnx import from_onnx
from striate.graph.reference import output
from striate.measure import inspect_network

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

MODELS = {
    "bvlc_alexnet": 24, "densenet121": 668, "inception_v1": 143, "inception_v2": 371, "resnet50": 176,
    "shufflenet": 171, "squeezenet": 66, "vgg19": 46, "zfnet512": 22,
}  # fmt: skip
"""Layers of each."""
STATISTICS = (3, 4)  # positions of the running mean and variance among a BatchNormalization's inputs


def test_every_light_model_is_listed():
    assert sorted(path.name for path in LIGHT.glob("*.onnx")) == sorted(f"light_{name}.onnx" for name in MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_light_model_is_read(name):
    network = from_onnx(LIGHT / f"light_{name}.onnx")
    found = inspect_network(network)
    assert (len(network), found.unknown) == (MODELS[name], ())
    assert found.parameters == stored_numbers(onnx.load(LIGHT / f"light_{name}.onnx").graph)


def stored_numbers(graph: onnx.GraphProto) -> int:
    """The sizes of all weights in the file, but running averages, added up."""
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    averages = {n.input[i] for n in graph.node if n.op_type == "BatchNormalization" for i in STATISTICS}
    made = [n for n in graph.node if n.op_type == "ConstantOfShape" and n.output[0] not in averages]
    read = {name for n in graph.node for name in n.input} - averages
    kept = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.name in read]
    return sum(int(np.prod(shapes[node.input[0]])) for node in made) + sum(int(np.prod(t.dims)) for t in kept)


def with_random_weights(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The model with normal weights in place of its constant ones, of the size that keeps the variance."""
    rng = np.random.default_rng(seed)
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(n) for n in values[node.input[0]])
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        made = rng.standard_normal(shape) * np.sqrt(2 / fan_in) if len(shape) > 1 else rng.uniform(0.5, 1.5, shape)
        model.graph.initializer.append(numpy_helper.from_array(made.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def at_size(model: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """The model on square images of another size, where it takes any."""
    for dim in entry(model).type.tensor_type.shape.dim[2:]:
        dim.dim_value = side
    for value in (*model.graph.value_info, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    return model


def entry(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input that is no weight."""
    weights = {t.name for t in model.graph.initializer}
    return next(value for value in model.graph.input if value.name not in weights)


def agrees(model: onnx.ModelProto, shape=None, tolerance: float = 1e-4) -> None:
    """The float64 reference of the network read from `model` equals ONNX Runtime on random images."""
    network = from_onnx(model, shape)
    stated = entry(model).type.tensor_type.shape.dim[0].dim_value
    x = np.random.default_rng(3).standard_normal((stated if stated > 0 else 2, *network.input_shape)).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {entry(model).name: x})
    got = output(network.astype(np.float64), x.astype(np.float64))
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()
    assert np.ptp(got) > 0.01 * np.abs(got).max()  # the images leave a trace, so that the comparison says something


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("densenet121", 64),
        ("squeezenet", 50),
        ("inception_v1", 224),
        ("inception_v2", 224),
        ("resnet50", 224),
        ("shufflenet", 224),
    ],
)
def test_a_light_model_computes_what_onnx_runtime_does(name, side):
    model = with_random_weights(onnx.load(LIGHT / f"light_{name}.onnx"), seed=len(name))
    agrees(model if side == 224 else at_size(model, side))


def test_a_real_third_party_network(shared_data):
    model = onnx.load(shared_data / "pretrained" / "resnet20_cifar10.onnx")
    agrees(model, tolerance=1e-5)
    network = from_onnx(model)
    assert [node.op.kind for node in network].count("batch_norm") == 19
    assert (
        network.parameters() == 269_722
    )  # He et al. 2015, arXiv:1512.03385, table 6: 0.27M, its shortcuts without parameters


def test_a_network_with_gates_that_paddle_exported(shared_data):
    """Hard sigmoids with slope 0.2 in its gates, and hard swish in four nodes each."""
    model = onnx.load(shared_data / "pretrained" / "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    agrees(model, (3, 48, 192), tolerance=1e-4)
    network = from_onnx(model, (3, 48, 192))
    curves = [node.op.describe() for node in network if node.op.kind == "activation"]
    assert {curve: curves.count(curve) for curve in set(curves)} == {
        "relu": 15,
        "hard_swish": 18,
        "hard_sigmoid 0.2 0.5": 9,
    }
    assert inspect_network(network).unknown == ()
