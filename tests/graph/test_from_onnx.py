"""The reader against ONNX Runtime: our own files, torch's exports, third parties' files, and hand-made graphs."""

# ruff: noqa: E501 - a table of refusals, one row a line

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from striate.errors import CaptureError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.from_onnx import from_onnx
from striate.graph.reference import output
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.ops import Activation, Add, AvgPool, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool, Softmax

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def graph(nodes, weights=(), shape=("N", 3, 7, 11), out=None, opset=19, **fields):
    """A model around hand-made nodes, whose last output is the result."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "hand",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, out)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9,
    )
    for name, value in fields.items():
        getattr(model, name).extend(value)
    return model


def same(model: onnx.ModelProto, shape=None, tolerance=2e-5):
    """The network read from `model` computes what ONNX Runtime does; returned for a closer look."""
    network = from_onnx(model, shape)
    x = np.random.default_rng(3).standard_normal((2, *network.input_shape)).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {session.get_inputs()[0].name: x})
    got = output(network.astype(np.float64), x.astype(np.float64))
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * max(1, np.abs(wanted).max())
    return network


def kinds(network):
    return [node.op.kind for node in network]


def ours():
    builder = Builder("ours", (3, 11, 7))
    conv = Conv(3, 6, (Window(3, 2, 1, 1, 2), Window(2, 1, 1, 1, 0)), groups=3)
    at = builder.add(conv, INPUT, name="stem.conv")
    at = builder.add(BatchNorm(6, eps=1e-3, momentum=0.3), at, name="stem.bn")
    act = builder.add(Activation("silu"), at, name="stem.act")
    at = builder.add(MaxPool((Window(3, 1, 1, 1, 1), Window(3, 1, 1, 1, 1))), act, name="pool")
    at = builder.add(Add(), at, act, name="sum")
    at = builder.add(GlobalAvgPool(), at, name="gap")
    builder.add(Linear(6, 4), at, name="fc")
    return initialise(builder.build(), seed=1)


def test_our_own_file_comes_back_as_it_was(tmp_path):
    network = ours()
    (tmp_path / "m.onnx").write_bytes(to_bytes(to_onnx(network)))
    back = from_onnx(tmp_path / "m.onnx")
    assert (back.name, back.input_shape, back.output) == (network.name, network.input_shape, network.output)
    assert [(n.name, n.op, n.inputs, dict(n.weights), n.path) for n in back] == [
        (n.name, n.op, n.inputs, dict(n.weights), n.path if n.weights else "") for n in network
    ]
    assert all(np.array_equal(back.weights[name], array) for name, array in network.weights.items())
    assert to_bytes(to_onnx(back)) == to_bytes(to_onnx(network))


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("op_type", ["Conv", "MaxPool", "AveragePool"])
def test_automatic_padding(auto, op_type):
    """Sizes, kernels and strides all different, so that no axis can stand in for another."""
    weights = {"w": np.random.default_rng(0).standard_normal((5, 3, 3, 2)).astype(np.float32)}
    inputs = ["x", "w"] if op_type == "Conv" else ["x"]
    node = helper.make_node(op_type, inputs, ["y"], auto_pad=auto, kernel_shape=[3, 2], strides=[2, 1])
    same(graph([node], weights if op_type == "Conv" else {}))


@pytest.mark.parametrize(("auto", "pads"), [("SAME_UPPER", ((2, 2), (1, 2))), ("SAME_LOWER", ((2, 2), (2, 1)))])
def test_automatic_padding_counts_the_dilated_extent(auto, pads):
    """ONNX Runtime refuses this case, so by hand: ceil(7/2) = 4 windows of 5 px need 11; 11 windows of 4 px need 14."""
    node = helper.make_node(
        "MaxPool", ["x"], ["y"], auto_pad=auto, kernel_shape=[3, 2], strides=[2, 1], dilations=[2, 3]
    )
    windows = (Window(3, 2, 2, *pads[0]), Window(2, 1, 3, *pads[1]))
    assert from_onnx(graph([node])).node("y").op == MaxPool(windows)


def test_spelt_out_forms_become_one_layer():
    w, b = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)[0], np.ones(3, np.float32)
    model = graph(
        [
            helper.make_node("Add", ["x", "three"], ["a"]),
            helper.make_node("Clip", ["a", "zero", "six"], ["c"]),
            helper.make_node("Mul", ["x", "c"], ["m"]),
            helper.make_node("Div", ["m", "six"], ["h"]),
            helper.make_node("Sigmoid", ["h"], ["s"]),
            helper.make_node("Mul", ["h", "s"], ["silu"]),
            helper.make_node("Add", ["silu", "shift"], ["t"]),
            helper.make_node("ReduceMean", ["t", "axes"], ["g"], keepdims=0),
            helper.make_node("MatMul", ["g", "w"], ["d"]),
            helper.make_node("Add", ["b", "d"], ["y"]),
        ],
        {
            "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6), "w": w, "b": b,
            "axes": np.array([-1, 2]), "shift": np.array([1, -2, 3], np.float32).reshape(3, 1, 1),
        },
    )  # fmt: skip
    network = same(model)
    assert kinds(network) == ["activation", "activation", "shift", "global_avg_pool", "linear"]
    assert [n.op.curve for n in network if n.op.kind == "activation"] == ["hard_swish", "silu"]
    assert network.node("y").op == Linear(3, 3, bias=True)


def test_hard_swish_with_its_inside_used_elsewhere_stays_apart():
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["m"]),
        helper.make_node("Add", ["m", "s"], ["y"]),
    ]
    assert kinds(same(graph(nodes))) == ["activation", "mul", "add"]


def test_flattening_by_shape_arithmetic_and_bare_weights():
    """Shape, Slice, Concat, Reshape; Gemm with transB=0, alpha, beta and a bias of one row."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Slice", ["sizes", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"], alpha=0.5, beta=2.0),
    ]
    weights = {
        "zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1]),
        "w": rng.standard_normal((231, 5)).astype(np.float32), "b": rng.standard_normal((1, 5)).astype(np.float32),
    }  # fmt: skip
    network = same(graph(nodes, weights))
    assert kinds(network) == ["flatten", "linear"]
    assert sorted(network.weights) == ["b", "w.T"]


def test_padding_before_a_convolution_and_option_a_shortcut():
    """ResNet's parameter-free shortcut: every second pixel, then zero channels; and a Pad that a Conv takes over."""
    w = np.random.default_rng(0).standard_normal((4, 5, 2, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Slice", ["x", "starts", "ends", "axes", "steps"], ["half"]),
        helper.make_node("Pad", ["half", "channels"], ["wide"]),
        helper.make_node("Pad", ["wide", "around"], ["big"]),
        helper.make_node("Conv", ["big", "w"], ["y"], pads=[1, 0, 0, 1]),
    ]
    weights = {
        "starts": np.array([0, 0]), "ends": np.array([2**62, 2**62]), "axes": np.array([2, 3]), "steps": np.array([2, 3]),
        "channels": np.array([0, 1, 0, 0, 0, 1, 0, 0]), "around": np.array([0, 0, 1, 2, 0, 0, 0, 3]), "w": w,
    }  # fmt: skip
    network = same(graph(nodes, weights))
    assert network.node("y").op.windows == (Window(2, 1, 1, 2, 0), Window(3, 1, 1, 2, 4))


@pytest.mark.parametrize("exporter", ["torchscript"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_torch_export(exporter, seeded, tmp_path):
    torch = pytest.importorskip("torch")
    from torch import nn

    module = nn.Sequential(
        nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=3), nn.BatchNorm2d(6, eps=1e-3), nn.Hardswish(),
        nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(6, 4, 1, bias=False), nn.ReLU6(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(4, 3), nn.Softmax(1),
    ).eval()  # fmt: skip
    module[1].running_mean.normal_()
    torch.onnx.export(
        module, (torch.zeros(1, 3, 13, 10),), tmp_path / "t.onnx", dynamo=False, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE, dynamic_axes={"input": {0: "n"}}, input_names=["input"],
    )  # fmt: skip
    network = same(onnx.load(tmp_path / "t.onnx"))
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 10)).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    assert np.abs(output(network, x) - wanted).max() < 1e-5
    assert "batch_norm" in kinds(network)


def test_open_sizes_are_given_by_the_caller():
    model = graph([helper.make_node("Relu", ["x"], ["y"])], shape=("N", 3, "h", "w"))
    assert from_onnx(model, (3, 5, 9)).input_shape == (3, 5, 9)
    with pytest.raises(
        CaptureError,
        match=r"^onnx: input 'x' leaves its size open \(N, 3, h, w\); pass "
        r"input_shape=\(channels, height, width\), or --input CxHxW$",
    ):
        from_onnx(model)
    with pytest.raises(CaptureError, match=r"^onnx: input 'x' is \('N', 3, 'h', 'w'\), which input_shape=\(4, 5, 9\)"):
        from_onnx(model, (4, 5, 9))


REFUSED = {
    "operator": (helper.make_node("Cosh", ["x"], ["y"]), {}, r"^onnx node 'y' \(Cosh\): striate has no layer for Cosh of ONNX; export the network without it$"),
    "domain": (helper.make_node("Relu", ["x"], ["y"], domain="com.x"), {}, r"^onnx node 'y' \(Relu\): striate has no layer for com.x.Relu; export"),
    "type": (helper.make_node("LeakyRelu", ["x"], ["y"], alpha="a", name="act"), {}, r"^onnx node 'act' \(LeakyRelu\): attribute alpha is str, not float$"),
    "weight": (helper.make_node("Conv", ["x", "x"], ["y"]), {}, r"^onnx node 'y' \(Conv\): its weight is computed or missing; a network's weight must be stored in the file$"),
    "training": (helper.make_node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y"], training_mode=1), {"w": np.ones(3, np.float32)}, r"normalises by the statistics of the batch; export the model in evaluation mode$"),
    "softmax": (helper.make_node("Softmax", ["x"], ["y"], axis=0), {}, r"runs over axes 0 and up of \(N, 3, 7, 11\); supported is one axis of an image$"),
    "reshape": (helper.make_node("Reshape", ["x", "w"], ["y"]), {"w": np.array([3, -1, 11])}, r"from \(N, 3, 7, 11\) to \[3, -1, 11\] goes across images; striate keeps the batch first$"),
    "slice": (helper.make_node("Slice", ["x", "w", "v"], ["y"]), {"w": np.array([0, 0, 1]), "v": np.array([1, 9, 9])}, r"takes some images of the batch; striate describes one image, whichever it is$"),
    "reflect": (helper.make_node("Pad", ["x", "w"], ["y"], mode="reflect"), {"w": np.array([0, 1, 1, 1] * 2)}, r"pad: reflect neither crops nor pads channels; use constant$"),
    "channels": (helper.make_node("Conv", ["x", "w"], ["y"]), {"w": np.ones((2, 4, 1, 1), np.float32)}, r"^onnx node 'y' \(Conv\): conv got 3 channels, needs 4"),
    "half": (helper.make_node("Conv", ["x", "w"], ["y"]), {"w": np.ones((2, 3, 1, 1), np.float16)}, r"^onnx: tensor 'w' is FLOAT16; export the model in float32 or float64$"),
    "dangling": (helper.make_node("Relu", ["z"], ["y"]), {}, r"^onnx node 'y' \(Relu\): input 0 \('z'\) is not the result of a layer before it$"),
}  # fmt: skip


@pytest.mark.parametrize(("node", "weights", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_layer_is_refused_by_name(node, weights, message):
    with pytest.raises(CaptureError, match=message):
        from_onnx(graph([node], weights))


def test_data_outside_the_file_is_never_read():
    model = graph([helper.make_node("Gemm", ["x", "w"], ["y"])], {"w": np.ones((3, 2), np.float32)}, shape=("N", 3))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(
        CaptureError, match=r"^onnx: tensor 'w' lies outside the file; export with external_data=False$"
    ):
        from_onnx(model)


def test_files_that_are_none(tmp_path):
    with pytest.raises(CaptureError, match=r"none.onnx: cannot be read \(No such file or directory\); check the path$"):
        from_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(
        CaptureError, match=r"text.onnx: not an ONNX file, or a damaged or truncated one; export or copy it again$"
    ):
        from_onnx(tmp_path / "text.onnx")


def test_softmax_of_old_opsets_over_single_pixels():
    node = helper.make_node("Softmax", ["x"], ["y"])
    assert kinds(same(graph([node], shape=("N", 5, 1, 1), opset=9))) == ["softmax"]
    assert from_onnx(graph([node], shape=("N", 5), opset=9)).node("y").op == Softmax()


@pytest.mark.parametrize(("nudge", "kind"), [(0.0, "blur_pool"), (1e-6, "conv")])
def test_a_binomial_kernel_is_a_blur_and_no_other_is(nudge, kind):
    taps = np.outer([0.25, 0.5, 0.25], [0.5, 0.5])
    weight = np.tile(taps, (5, 1, 1, 1)).astype(np.float32)
    weight[3, 0, 1, 0] += nudge
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=5, strides=[2, 1], pads=[1, 0, 0, 1])
    network = same(graph([node], {"w": weight}, shape=("N", 5, 8, 6)))
    assert kinds(network) == [kind]


def test_averages_count_padding_as_the_file_says():
    for counted in (0, 1):
        node = helper.make_node(
            "AveragePool", ["x"], ["y"], kernel_shape=[3, 2], pads=[1, 0, 0, 1], count_include_pad=counted
        )
        assert same(graph([node])).node("y").op == AvgPool(
            (Window(3, 1, 1, 1, 0), Window(2, 1, 1, 0, 1)), bool(counted)
        )


def test_a_flattening_that_is_spelled_twice_is_one_layer():
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Flatten", ["g"], ["f2"]),
        helper.make_node("Add", ["f", "f2"], ["y"]),
    ]
    network = same(graph(nodes))
    assert kinds(network) == ["global_avg_pool", "flatten", "add"]
    assert network.node("y").inputs == ("f", "f")


def test_weights_standardised_in_the_graph_are_computed():
    """As by ScaledStdConv of NFNets: each kernel by its own mean and variance, through a batch normalisation."""
    w = np.random.default_rng(0).standard_normal((5, 3, 2, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["w", "row"], ["r"]),
        helper.make_node("BatchNormalization", ["r", "g", "z", "z", "o"], ["n", "m", "v"], training_mode=1),
        helper.make_node("Reshape", ["n", "back"], ["k"]),
        helper.make_node("Conv", ["x", "k"], ["y"]),
    ]
    five = {"g": np.linspace(0.5, 2, 5), "z": np.zeros(5), "o": np.ones(5)}
    constants = {
        "w": w, "row": np.array([1, 5, -1]), "back": np.array([5, 3, 2, 3]),
        **{name: value.astype(np.float32) for name, value in five.items()},
    }  # fmt: skip
    assert kinds(same(graph(nodes, constants))) == ["conv"]
