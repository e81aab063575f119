"""ONNX operators one by one against ONNX Runtime: every attribute that changes what a layer is, and old opsets."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from graph.test_from_onnx import graph, kinds, same
from striate.errors import CaptureError
from striate.graph.from_onnx import from_onnx

node = helper.make_node
RNG = np.random.default_rng(5)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


# name: nodes, constants, kinds of the layers they become; images are (N, 3, 7, 11) unless a shape is given
CASES = {
    "softmax over columns": ([node("Softmax", ["x"], ["y"], axis=3)], {}, ["permute", "softmax", "permute"]),
    "softmax over channels, from behind": ([node("Softmax", ["x"], ["y"], axis=-3)], {}, ["softmax"]),
    "a slope of 0.2": ([node("LeakyRelu", ["x"], ["y"], alpha=0.2)], {}, ["activation"]),
    "a hard sigmoid of slope 0.2": ([node("HardSigmoid", ["x"], ["y"])], {}, ["activation"]),
    "an ELU of alpha 0.3": ([node("Elu", ["x"], ["y"], alpha=0.3)], {}, ["activation"]),
    "clipped on one side": ([node("Clip", ["x", "", "h"], ["y"])], {"h": np.float32(0.5)}, ["activation"]),
    "a slope a channel": ([node("PRelu", ["x", "s"], ["y"])], {"s": weights(3, 1, 1)}, ["prelu"]),
    "one slope": ([node("PRelu", ["x", "s"], ["y"])], {"s": weights(1)}, ["prelu"]),
    "transposed, grouped, dilated, with output padding": (
        [node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 3], dilations=[2, 1], output_padding=[1, 2],
              pads=[1, 0, 2, 1], group=3)],
        {"w": weights(3, 2, 3, 2), "b": weights(6)}, ["conv_transpose"]),
    "transposed to a stated size": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 3], output_shape=[13, 34])], {"w": weights(3, 2, 3, 2)},
        ["conv_transpose"]),
    "transposed to a multiple": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 3], auto_pad="SAME_UPPER")], {"w": weights(3, 2, 5, 4)},
        ["conv_transpose"]),
    "average pool in ceil mode": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1)], {}, ["avg_pool"]),
    "average pool in ceil mode, padded, pixels only": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 1, 1], ceil_mode=1)], {},
        ["avg_pool"]),
    "max pool in ceil mode, dilated": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], strides=[3, 2], dilations=[2, 1], ceil_mode=1)], {},
        ["max_pool"]),
    "global maximum": ([node("GlobalMaxPool", ["x"], ["y"])], {}, ["global_reduce"]),
    "mean over channels": ([node("ReduceMean", ["x", "a"], ["y"])], {"a": np.array([1])}, ["channel_reduce"]),
    "mean over rows": ([node("ReduceMean", ["x", "a"], ["y"])], {"a": np.array([2])}, ["adaptive_avg_pool"]),
    "norm over columns": (
        [node("ReduceL2", ["x", "a"], ["y"], keepdims=0)], {"a": np.array([-1])},
        ["permute", "channel_reduce", "reshape"]),
    "sum over everything but the batch": (
        [node("ReduceSum", ["x", "a"], ["y"])], {"a": np.array([1, 2, 3])}, ["global_reduce", "channel_reduce"]),
    "resized by factors": (
        [node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        {"s": np.array([1, 1, 2, 3], np.float32)}, ["resize"]),
    "resized by the default grid": ([node("Resize", ["x", "", "s"], ["y"])],
                                    {"s": np.array([1, 1, 2, 3], np.float32)}, ["resize"]),
    "resized linearly to a size": (
        [node("Resize", ["x", "", "", "s"], ["y"], mode="linear")], {"s": np.array([2, 3, 10, 5])}, ["resize"]),
    "resized linearly, corners aligned": (
        [node("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")],
        {"s": np.array([2, 3, 10, 5])}, ["resize"]),
    "mirrored border": ([node("Pad", ["x", "p"], ["y"], mode="reflect")],
                        {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, ["pad"]),
    "repeated border": ([node("Pad", ["x", "p"], ["y"], mode="edge")],
                        {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, ["pad"]),
    "cropped": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 0, -1, 2, 0, 1, -3, 0])}, ["pad"]),
    "padded for a max pool": (
        [node("Pad", ["x", "p", "v"], ["q"]), node("MaxPool", ["q"], ["y"], kernel_shape=[2, 2])],
        {"p": np.array([0, 0, 1, 0, 0, 0, 0, 1]), "v": np.float32(-np.inf)}, ["max_pool"]),
    "padded by zeros for a max pool": (
        [node("Pad", ["x", "p"], ["q"]), node("MaxPool", ["q"], ["y"], kernel_shape=[2, 2])],
        {"p": np.array([0, 0, 1, 0, 0, 0, 0, 1])}, ["pad", "max_pool"]),
    "split and joined the other way": (
        [node("Split", ["x", "n"], ["a", "b"], axis=3), node("Concat", ["b", "a"], ["y"], axis=3)],
        {"n": np.array([4, 7])}, None),
    "one channel taken": ([node("Gather", ["x", "i"], ["y"], axis=1)], {"i": np.array(1)}, ["slice", "reshape"]),
    "rows with a step": ([node("Gather", ["x", "i"], ["y"], axis=2)], {"i": np.array([1, 3, 5])}, ["slice"]),
    "a matrix on maps": ([node("MatMul", ["x", "w"], ["y"])], {"w": weights(11, 4)}, ["permute", "conv", "permute"]),
    "a constant less maps": ([node("Sub", ["c", "x"], ["y"])], {"c": weights(3, 1, 1)}, ["affine", "shift"]),
    "maps over a constant": ([node("Div", ["x", "c"], ["y"])], {"c": 1 + np.abs(weights(1, 3, 1, 1))}, ["scale"]),
    "a constant a column": ([node("Mul", ["x", "c"], ["y"])], {"c": weights(11)}, ["scale"]),
    "two and then one": ([node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]), node("Mul", ["t", "c"], ["u"]),
                          node("Transpose", ["u"], ["y"], perm=[0, 3, 1, 2])], {"c": weights(3)}, ["scale"]),
    "group norm by the channel": (
        [node("GroupNormalization", ["x", "g", "b"], ["y"], num_groups=3)],
        {"g": weights(3), "b": weights(3)}, ["group_norm"]),
    "layer norm of columns": ([node("LayerNormalization", ["x", "g", "b"], ["y"])],
                              {"g": weights(11), "b": weights(11)}, ["permute", "layer_norm", "permute"]),
    "response norm": ([node("LRN", ["x"], ["y"], size=3, alpha=0.5, beta=0.6, bias=2.0)], {}, ["local_response_norm"]),
    "a power": ([node("Abs", ["x"], ["a"]), node("Pow", ["a", "p"], ["y"])], {"p": np.float32(1.5)},
                ["activation", "power"]),
    "softplus and a gate": (
        [node("Softplus", ["x"], ["s"]), node("Tanh", ["s"], ["t"]), node("Mul", ["x", "t"], ["y"])], {},
        ["activation"]),
    "the gelu of 2016": (
        [node("Div", ["x", "r"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "o"], ["p"]),
         node("Mul", ["x", "p"], ["m"]), node("Mul", ["m", "h"], ["y"])],
        {"r": np.float32(2**0.5), "o": np.float32(1), "h": np.float32(0.5)}, ["activation"]),
    "a gelu of another root stays what it is": (
        [node("Mul", ["x", "r"], ["d"]), node("Sigmoid", ["d"], ["e"]), node("Mul", ["x", "e"], ["y"])],
        {"r": np.float32(1.702)}, ["affine", "activation", "mul"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnx_runtime_does(name):
    nodes, constants, wanted = CASES[name]
    opset = 21 if name == "group norm by the channel" else 19
    network = same(graph(nodes, constants, opset=opset))
    if wanted is not None:
        assert kinds(network) == wanted


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_to_space_and_back(mode):
    nodes = [
        node("DepthToSpace", ["x"], ["d"], blocksize=2, mode=mode),
        node("Conv", ["d", "w"], ["c"]),
        node("SpaceToDepth", ["c"], ["y"], blocksize=2),
    ]
    network = same(graph(nodes, {"w": weights(2, 3, 1, 1)}, shape=("N", 12, 4, 6)))
    assert kinds(network)[-3:] == ["conv", "pixel_unshuffle", "channel_shuffle"]


OLD = {
    "axes of a sum that are said": (
        6, [node("Add", ["x", "c"], ["y"], broadcast=1, axis=1)], {"c": weights(3)}, ["shift"]),
    "a dropout at test time": (6, [node("Dropout", ["x"], ["y"], is_test=1, ratio=0.3)], {}, ["dropout"]),
    "bounds as attributes": (6, [node("Clip", ["x"], ["y"], min=-0.5, max=0.7)], {}, ["activation"]),
    "a slice by attributes": (
        9, [node("Slice", ["x"], ["y"], starts=[1, 2], ends=[5, 9], axes=[2, 3])], {}, ["slice"]),
    "upsampling": (9, [node("Upsample", ["x", "s"], ["y"])], {"s": np.array([1, 1, 3, 2], np.float32)}, ["resize"]),
    "resizing without a grid": (
        10, [node("Resize", ["x", "s"], ["y"])], {"s": np.array([1, 1, 3, 2], np.float32)}, ["resize"]),
    "axes as attributes": (
        12, [node("ReduceSum", ["x"], ["s"], axes=[2, 3]), node("Squeeze", ["s"], ["y"], axes=[2, 3])], {},
        ["global_reduce", "flatten"]),
    "pads as attributes": (
        9, [node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)], {}, ["pad"]),
    "split by attributes": (
        12, [node("Split", ["x"], ["a", "b"], axis=2, split=[3, 4]), node("GlobalAveragePool", ["b"], ["y"])], {},
        ["slice", "global_avg_pool"]),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_operators_as_they_were(name):
    opset, nodes, constants, wanted = OLD[name]
    model = graph(nodes, constants, opset=opset)
    model.ir_version = 7
    # ONNX Runtime starts at opset 7 and cannot answer for older files.
    assert kinds(same(model) if opset >= 7 else from_onnx(model)) == wanted


OTHER_RESIZING = {
    "cubic": {"mode": "cubic"},
    "rounded up": {"nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"},
    "the default grid to a size": {},
    "cropping": {"coordinate_transformation_mode": "tf_crop_and_resize"},
}


@pytest.mark.parametrize("name", OTHER_RESIZING)
def test_resizing_that_is_not_torchs_is_refused(name):
    model = graph([node("Resize", ["x", "", "", "s"], ["y"], **OTHER_RESIZING[name])], {"s": np.array([1, 3, 10, 5])})
    with pytest.raises(CaptureError, match=r"^onnx node 'y' \(Resize\): .*(resizes positions|another resizing)"):
        from_onnx(model)
