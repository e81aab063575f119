"""ONNX operators with stored weights as layers, and the windows that convolution and pooling share."""

from __future__ import annotations

import numpy as np
import onnx

from striate.geometry import Window
from striate.graph.onnx_reading import Reading
from striate.ops import Array, BatchNorm, BlurPool, Conv, Linear, Shape, new_share


def conv(r: Reading, node: onnx.NodeProto) -> None:
    """A convolution, with the padding of a Pad before it."""
    weight = r.demand(node, 1, "weight")
    x, pad_lo, pad_hi = r.padded(node, weight.ndim - 2)
    axes = windows(r, node, r.shape_of(x)[1:], weight.shape[2:], pad_lo, pad_hi)
    groups = r.attribute(node, "group", 1)
    weights = {"weight": (node.input[1], weight)}
    if len(node.input) > 2 and node.input[2]:
        weights["bias"] = (node.input[2], r.demand(node, 2, "bias"))
    if _is_blur(weight, groups, axes) and not weights.get("bias"):
        r.emit(node, BlurPool(axes), [x])
        return
    op = Conv(weight.shape[1] * groups, weight.shape[0], axes, groups, bias="bias" in weights)
    r.emit(node, op, [x], weights)


def _is_blur(weight: Array, groups: int, axes: tuple[Window, ...]) -> bool:
    """Whether a kernel is the binomial one, to the bit and in every channel: nothing that was learnt is."""
    if not len(weight) == groups > 0 or weight.size == groups or any(w.dilation != 1 or w.ceil_mode for w in axes):
        return False
    return weight.shape[1] == 1 and bool((weight == BlurPool(axes).taps.astype(weight.dtype)).all())


def windows(
    r: Reading, node: onnx.NodeProto, sizes: Shape, kernel: Shape, more_lo: list[int], more_hi: list[int]
) -> tuple[Window, ...]:
    """The windows of a convolution or pooling; `more` padding comes from a Pad before it."""
    axes = len(kernel)
    strides = r.attribute(node, "strides", []) or [1] * axes
    dilations = r.attribute(node, "dilations", []) or [1] * axes
    pads = r.attribute(node, "pads", []) or [0] * (2 * axes)
    stated = r.attribute(node, "kernel_shape", []) or list(kernel)
    if stated != list(kernel) or {len(strides), len(dilations), len(pads) // 2, len(sizes)} != {axes}:
        raise r.refusal(node, f"kernel_shape={stated}, strides, dilations and pads do not fit a kernel of {kernel}")
    ceil_mode = bool(r.attribute(node, "ceil_mode", 0))
    auto = r.attribute(node, "auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise r.refusal(node, f"auto_pad={auto!r}; use NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    result = []
    for i in range(axes):
        lo, hi = pads[i], pads[axes + i]
        if auto != "NOTSET":
            size = sizes[i] + more_lo[i] + more_hi[i]
            lo, hi = _auto_pads(auto, size, kernel[i], strides[i], dilations[i])
        result.append(Window(kernel[i], strides[i], dilations[i], lo + more_lo[i], hi + more_hi[i], ceil_mode))
    return tuple(result)


def _auto_pads(auto: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """SAME: ceil(n / s) outputs, the odd pixel after (UPPER) or before (LOWER).  VALID: none."""
    if auto == "VALID":
        return 0, 0
    total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    less, more = total // 2, total - total // 2
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def gemm(r: Reading, node: onnx.NodeProto) -> None:
    """A dense layer on vectors; alpha and beta are multiplied into its weights."""
    weight, name = r.demand(node, 1, "weight"), node.input[1]
    if r.attribute(node, "transA", 0):
        raise r.refusal(node, "transA=1 puts features before images; export it with transA=0")
    if not r.attribute(node, "transB", 0):
        weight, name = weight.T, f"{name}.T"
    weights = {"weight": (name, _scaled(weight, r.attribute(node, "alpha", 1.0)))}
    if len(node.input) > 2 and node.input[2]:
        bias = np.broadcast_to(r.demand(node, 2, "bias"), (1, len(weight)))[0]
        weights["bias"] = (node.input[2], _scaled(bias, r.attribute(node, "beta", 1.0)))
    r.emit(node, Linear(weight.shape[1], weight.shape[0], "bias" in weights), [r.layer(node)], weights)


def _scaled(values: Array, factor: float) -> Array:
    return values if factor == 1 else (values * np.float64(factor)).astype(values.dtype)


def matmul(r: Reading, node: onnx.NodeProto) -> None:
    """A dense layer, with the Add behind it as its bias where that adds one number a feature."""
    weight = r.demand(node, 1, "weight")
    if weight.ndim != 2:
        raise r.refusal(node, f"its weight has {weight.ndim} axes; a dense layer has 2")
    weights = {"weight": (f"{node.input[1]}.T", weight.T)}
    add = r.sole_reader(node, "Add")
    last = node
    if add is not None:
        name = add.input[1] if add.input[0] == node.output[0] else add.input[0]
        bias = r.constants.get(name)
        if bias is not None and bias.ndim <= 2 and bias.size == weight.shape[1] == bias.shape[-1]:
            weights["bias"] = (name, bias.reshape(-1))
            r.absorb(add)
            last = add
    r.emit(last, Linear(weight.shape[0], weight.shape[1], "bias" in weights), [r.layer(node)], weights)


def batch_norm(r: Reading, node: onnx.NodeProto) -> None:
    """Batch normalisation at test time."""
    if r.attribute(node, "training_mode", 0) or (r.opset < 7 and not r.attribute(node, "is_test", 0)):
        raise r.refusal(node, "normalises by the statistics of the batch; export the model in evaluation mode")
    if not r.attribute(node, "spatial", 1):
        raise r.refusal(node, "spatial=0 normalises each pixel on its own; only one pair a channel is supported")
    roles = ("gamma", "beta", "running_mean", "running_var")
    weights = {role: (node.input[i + 1], r.demand(node, i + 1, role)) for i, role in enumerate(roles)}
    eps, momentum = r.attribute(node, "epsilon", 1e-5), r.attribute(node, "momentum", 0.9)
    op = BatchNorm(weights["gamma"][1].size, decimal(eps), decimal(new_share(decimal(momentum))))
    r.emit(node, op, [r.layer(node)], weights)


def decimal(value: float) -> float:
    """The shortest decimal that the file's float32 stands for: 1e-5, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
