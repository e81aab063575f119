"""Every ONNX operator that is a layer: one reader an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx
from onnx import TensorProto

from striate.graph.onnx.arithmetic import add, concat, divide, fixed_power, multiply, negate, power, subtract
from striate.graph.onnx.curves import clip, decimal, gelu, maximum, minimum, prelu, spelled_curve, with_parameters
from striate.graph.onnx.dense import gemm, matmul
from striate.graph.onnx.moves import (
    depth_to_space,
    expand,
    flatten,
    gather,
    of_list,
    reshape,
    slice_,
    space_to_depth,
    split,
    split_to_list,
    squeeze,
    transpose,
    unsqueeze,
)
from striate.graph.onnx.norms import batch_norm, group_norm, instance_norm, layer_norm, response_norm
from striate.graph.onnx.reading import Reading
from striate.graph.onnx.reductions import reduction, softmax
from striate.graph.onnx.resize import resize
from striate.graph.onnx.windows import (
    average_pool,
    conv,
    conv_transpose,
    global_average,
    global_maximum,
    max_pool,
    pad,
)
from striate.ops import Activation, Dropout, Identity

Reader = Callable[[Reading, onnx.NodeProto], None]


def curve(name: str) -> Reader:
    """A reader of an activation without parameters."""

    def read(r: Reading, node: onnx.NodeProto) -> None:
        layer, _, moves = r.bare(node)
        r.emit(node, Activation(name), [layer], moves=moves)

    return read


def _dropout(r: Reading, node: onnx.NodeProto) -> None:
    if (mode := r.constant(node, 2)) is not None and mode.any():
        raise r.refusal(node, "is in training mode; export the model in evaluation mode")
    if len(node.output) > 1 and (r.readers(node.output[1]) or r.is_result(node.output[1])):
        raise r.refusal(node, "also returns what it keeps; export the model in evaluation mode")
    ratio = r.constant(node, 1)
    p = r.attribute(node, "ratio", 0.5) if ratio is None else float(ratio.reshape(()))
    layer, _, moves = r.bare(node)
    r.emit(node, Dropout(decimal(p)), [layer], moves=moves)


def same(r: Reading, node: onnx.NodeProto) -> None:
    """What does nothing to maps of float32."""
    r.give(node, r.value(node))


def _identity(r: Reading, node: onnx.NodeProto) -> None:
    """A layer in our own files, where it was one; elsewhere what exporters leave of a copy, which is nothing."""
    if not r.is_ours:
        same(r, node)
        return
    layer, _, moves = r.bare(node)
    r.emit(node, Identity(), [layer], moves=moves)


def _cast(r: Reading, node: onnx.NodeProto) -> None:
    to = r.attribute(node, "to", 0)
    if to not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise r.refusal(node, "turns feature maps into another type; striate knows float32 and float64")
    r.give(node, r.value(node))


def read_layer(r: Reading, node: onnx.NodeProto) -> None:
    """Read a node as the layer that it is, alone or with the nodes behind it.  Raises: CaptureError."""
    if spelled_curve(r, node):
        return
    reader = LAYERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if reader is None:
        own = node.domain in ("", "ai.onnx")
        called = f"{node.op_type} of ONNX" if own else f"{node.domain}.{node.op_type}"
        raise r.refusal(node, f"striate has no layer for {called}; export the network without it")
    reader(r, node)


LAYERS: Mapping[str, Reader] = MappingProxyType(
    {
        "Abs": curve("abs"),
        "Add": add,
        "AveragePool": average_pool,
        "BatchNormalization": batch_norm,
        "Cast": _cast,
        "CastLike": same,
        "Clip": clip,
        "Concat": concat,
        "Conv": conv,
        "ConvTranspose": conv_transpose,
        "DepthToSpace": depth_to_space,
        "Div": divide,
        "Dropout": _dropout,
        "Elu": with_parameters("elu", alpha=1.0),
        "Expand": expand,
        "Flatten": flatten,
        "Gather": gather,
        "Gelu": gelu,
        "Gemm": gemm,
        "GlobalAveragePool": global_average,
        "GlobalMaxPool": global_maximum,
        "GroupNormalization": group_norm,
        "HardSigmoid": with_parameters("hard_sigmoid", alpha=0.2, beta=0.5),
        "HardSwish": curve("hard_swish"),
        "Identity": _identity,
        "InstanceNormalization": instance_norm,
        "LRN": response_norm,
        "LayerNormalization": layer_norm,
        "LeakyRelu": with_parameters("leaky_relu", alpha=0.01),
        "LogSoftmax": softmax,
        "MatMul": matmul,
        "Max": maximum,
        "MaxPool": max_pool,
        "Min": minimum,
        "Mish": curve("mish"),
        "Mul": multiply,
        "Neg": negate,
        "PRelu": prelu,
        "Pad": pad,
        "Pow": power,
        "Reciprocal": fixed_power(-1.0),
        "ReduceL2": reduction("l2"),
        "ReduceMax": reduction("max"),
        "ReduceMean": reduction("mean"),
        "ReduceSum": reduction("sum"),
        "Relu": curve("relu"),
        "Reshape": reshape,
        "Resize": resize,
        "SequenceAt": of_list,
        "Sigmoid": curve("sigmoid"),
        "Slice": slice_,
        "Softmax": softmax,
        "Softplus": curve("softplus"),
        "Softsign": curve("softsign"),
        "SpaceToDepth": space_to_depth,
        "Split": split,
        "SplitToSequence": split_to_list,
        "Sqrt": fixed_power(0.5),
        "Squeeze": squeeze,
        "Sub": subtract,
        "Sum": add,
        "Tanh": curve("tanh"),
        "Transpose": transpose,
        "Unsqueeze": unsqueeze,
        "Upsample": resize,
    }
)
"""op_type -> its reader. `Celu`, `Erf` and others are read where they compute one of the curves."""
