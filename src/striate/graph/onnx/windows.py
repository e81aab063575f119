"""ONNX operators with windows as layers: convolution, its adjoint, pooling, and padding for them to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import onnx

from striate.geometry import Transposed, Window
from striate.graph.onnx.reading import Reading
from striate.ops import (
    Array,
    AvgPool,
    BlurPool,
    Conv,
    ConvTranspose,
    GlobalAvgPool,
    GlobalReduce,
    MaxPool,
    Pad,
    Shape,
)

MAX_WINDOW = 2**12  # kernel, stride, dilation, padding: beyond it, even the arithmetic of shapes takes its time


def padded(r: Reading, node: onnx.NodeProto, fill: float | None) -> tuple[str, list[int], list[int]]:
    """The layer behind a window's input, and the padding by `fill` before it that the window takes upon itself."""
    value = r.value(node)
    if value.moves or not value.before or value.fill != fill or value.before[0] or value.after[0]:
        layer = r.layer(node)
        none = [0] * (len(r.shape(node)) - 1)
        return layer, none, none
    return value.layer, list(value.before[1:]), list(value.after[1:])


def _numbers(r: Reading, node: onnx.NodeProto, name: str, default: Sequence[int], count: int) -> list[int]:
    """A list of whole numbers, one an axis.  Raises: CaptureError on another length, or numbers beyond use."""
    found: list[int] = r.attribute(node, name, []) or list(default)
    if len(found) != count or any(type(n) is not int or abs(n) > MAX_WINDOW for n in found):
        raise r.refusal(node, f"{name}={found}; needs {count} whole numbers up to {MAX_WINDOW:,}")
    return found


def windows(
    r: Reading, node: onnx.NodeProto, sizes: Shape, kernel: Shape, more_lo: list[int], more_hi: list[int]
) -> tuple[Window, ...]:
    """The windows of a convolution or pooling; `more` padding comes from a Pad before it."""
    axes = len(kernel)
    stated = _numbers(r, node, "kernel_shape", kernel, axes)
    if stated != list(kernel) or len(sizes) != axes:
        raise r.refusal(node, f"kernel_shape={stated} does not fit a kernel of {kernel} on maps of {sizes}")
    strides, dilations = (_numbers(r, node, what, [1] * axes, axes) for what in ("strides", "dilations"))
    pads = _numbers(r, node, "pads", [0] * (2 * axes), 2 * axes)
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
    return _halves(total, auto)


def _halves(total: int, auto: str) -> tuple[int, int]:
    less, more = total // 2, total - total // 2
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def conv(r: Reading, node: onnx.NodeProto) -> None:
    """A convolution, with the padding of a Pad before it."""
    weight = r.demand(node, 1, "weight")
    own = any(r.attribute(node, "pads", [])) or r.attribute(node, "auto_pad", "NOTSET") != "NOTSET"
    crops = any(n < 0 for n in (*r.value(node).before, *r.value(node).after))
    x, more_lo, more_hi = padded(r, node, None if own and crops else 0.0)
    sizes = [n - lo - hi for n, lo, hi in zip(r.shape(node)[1:], more_lo, more_hi, strict=True)]
    axes = windows(r, node, tuple(sizes), weight.shape[2:], more_lo, more_hi)
    groups = r.attribute(node, "group", 1)
    weights = weight_and_bias(r, node, weight)
    if "bias" not in weights and _is_blur(weight, groups, axes):
        r.emit(node, BlurPool(axes), [x])
        return
    op = Conv(weight.shape[1] * groups, weight.shape[0], axes, groups, bias="bias" in weights)
    r.emit(node, op, [x], weights)


def weight_and_bias(r: Reading, node: onnx.NodeProto, weight: Array) -> dict[str, tuple[str, Array]]:
    """The second and, where it is there, the third input by their roles.

    Zeros that the file does not keep as a weight are an exporter's word for no bias.
    """
    weights = {"weight": (r.weight_name(node.input[1]), weight)}
    if len(node.input) > 2 and node.input[2]:
        bias = r.demand(node, 2, "bias")
        if node.input[2] in r.stored or bias.any():
            weights["bias"] = (r.weight_name(node.input[2]), bias)
    return weights


def _is_blur(weight: Array, groups: int, axes: tuple[Window, ...]) -> bool:
    """Whether a kernel is the binomial one, to the bit and in every channel: nothing that was learnt is."""
    if not len(weight) == groups > 0 or weight.size == groups or any(w.dilation != 1 or w.ceil_mode for w in axes):
        return False
    return weight.shape[1] == 1 and bool((weight == BlurPool(axes).taps.astype(weight.dtype)).all())


def conv_transpose(r: Reading, node: onnx.NodeProto) -> None:
    """A transposed convolution; its padding is stated, or follows from the output's size."""
    weight, sizes = r.demand(node, 1, "weight"), r.shape(node)[1:]
    x, kernel, groups = r.layer(node), weight.shape[2:], r.attribute(node, "group", 1)
    axes = len(kernel)
    if len(sizes) != axes or _numbers(r, node, "kernel_shape", kernel, axes) != list(kernel):
        raise r.refusal(node, f"its kernel of {kernel} does not fit maps of {sizes}")
    names = ("strides", "dilations", "output_padding")
    rows = [_numbers(r, node, name, [d] * axes, axes) for name, d in zip(names, (1, 1, 0), strict=True)]
    pads = _numbers(r, node, "pads", [0] * (2 * axes), 2 * axes)
    stated = r.attribute(node, "output_shape", [])[-axes:]
    auto = r.attribute(node, "auto_pad", "NOTSET")
    found = []
    for i, (k, s, d, extra) in enumerate(zip(kernel, *rows, strict=True)):
        lo, hi, more = (0, 0, 0) if auto == "VALID" else (pads[i], pads[axes + i], 0)
        if stated or auto in ("SAME_UPPER", "SAME_LOWER"):
            full = (sizes[i] - 1) * s + extra + d * (k - 1) + 1
            total = full - (stated[i] if stated else sizes[i] * s)
            lo, hi = _halves(max(0, total), "SAME_UPPER" if auto == "SAME_UPPER" else "SAME_LOWER")
            more = max(0, -total)
        found.append(Transposed(k, s, d, lo, hi, extra + more))
    weights = weight_and_bias(r, node, weight)
    op = ConvTranspose(weight.shape[0], weight.shape[1] * groups, tuple(found), groups, "bias" in weights)
    r.emit(node, op, [x], weights)


def max_pool(r: Reading, node: onnx.NodeProto) -> None:
    """Max pooling; where the maxima are is not told on."""
    if len(node.output) > 1 and (r.readers(node.output[1]) or r.is_result(node.output[1])):
        raise r.refusal(node, "also returns where the maxima are; export it without indices")
    x, axes = _pool_windows(r, node, -inf)
    r.emit(node, MaxPool(axes), [x])


def average_pool(r: Reading, node: onnx.NodeProto) -> None:
    """Average pooling, counting padding where the file says so."""
    counts = bool(r.attribute(node, "count_include_pad", 0))
    own = any(r.attribute(node, "pads", [])) or r.attribute(node, "ceil_mode", 0)
    takes = not own and all(n >= 0 for n in (*r.value(node).before, *r.value(node).after))
    was_padded = bool(r.value(node).before)
    x, axes = _pool_windows(r, node, 0.0 if takes else None)
    taken = takes and was_padded and any(w.pad_lo or w.pad_hi for w in axes)
    r.emit(node, AvgPool(axes, counts or taken or not any(w.pad_lo or w.pad_hi or w.ceil_mode for w in axes)), [x])


def _pool_windows(r: Reading, node: onnx.NodeProto, fill: float | None) -> tuple[str, tuple[Window, ...]]:
    x, more_lo, more_hi = padded(r, node, fill)
    sizes = [n - lo - hi for n, lo, hi in zip(r.shape(node)[1:], more_lo, more_hi, strict=True)]
    kernel = tuple(r.attribute(node, "kernel_shape", []))
    return x, windows(r, node, tuple(sizes), kernel, more_lo, more_hi)


def global_average(r: Reading, node: onnx.NodeProto) -> None:
    """A global average that keeps its axes; one layer with the flattening where our own writer says that it is."""
    flattening = r.sole_reader(node, "Flatten")
    if flattening is not None and r.is_part(node):
        r.absorb([flattening.output[0]])
        r.emit(flattening, GlobalAvgPool(), [r.layer(node)])
    else:
        r.emit(node, GlobalAvgPool(keep_axes=True), [r.layer(node)])


def global_maximum(r: Reading, node: onnx.NodeProto) -> None:
    """A global maximum."""
    r.emit(node, GlobalReduce("max", keep_axes=True), [r.layer(node)])


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(r: Reading, node: onnx.NodeProto) -> None:
    """Padding: by a number it waits for a window that can take it, by image values it is a layer."""
    axes = len(r.shape(node)) + 1
    mode = r.attribute(node, "mode", "constant")
    before, after = _pad_widths(r, node, axes)
    if mode not in PAD_MODES or before[0] or after[0]:
        raise r.refusal(node, f"mode={mode!r}, pads={[*before, *after]}; striate pads images, not the batch")
    value = r.constant(node, 2)
    fill = r.attribute(node, "value", 0.0) if value is None else float(value.reshape(()))
    if not any((*before, *after)):
        r.alias(node, r.value(node))
        return
    if mode != "constant":
        r.emit(node, Pad(tuple(before[1:]), tuple(after[1:]), PAD_MODES[mode]), [r.layer(node)])
        return
    r.layer(node)  # whatever waits before it is a layer from here on
    r.give(node, replace(r.value(node), before=tuple(before[1:]), after=tuple(after[1:]), fill=fill))


def _pad_widths(r: Reading, node: onnx.NodeProto, axes: int) -> tuple[list[int], list[int]]:
    """Values added before and after each axis, the batch's first."""
    given = r.attribute(node, "pads", []) or r.attribute(node, "paddings", [])
    given = given or [int(n) for n in r.demand(node, 1, "pads").reshape(-1)]
    named = r.constant(node, 3)
    over = list(range(axes)) if named is None else [int(a) % axes for a in named.reshape(-1)]
    if len(given) != 2 * len(over) or max(map(abs, given), default=0) > MAX_WINDOW:
        raise r.refusal(node, f"pads={given}; needs two numbers up to {MAX_WINDOW:,} for each of {len(over)} axes")
    before, after = [0] * axes, [0] * axes
    for i, axis in enumerate(over):
        before[axis], after[axis] = given[i], given[len(over) + i]
    return before, after
