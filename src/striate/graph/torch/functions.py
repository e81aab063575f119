"""What each torch function records: a table by the function's identity, never by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from striate import ops
from striate.errors import CaptureError
from striate.geometry import Transposed, Window, per_axis
from striate.graph.torch.arithmetic import ARITHMETIC, dressed, in_front
from striate.graph.torch.moves import MOVES, takes_moves, takes_pads
from striate.graph.torch.reductions import REDUCTIONS
from striate.graph.torch.standin import Standin
from striate.graph.torch.trace import NEVER_UNKNOWN, Trace
from striate.ops.base import need_maps

Ints = int | Sequence[int]


def _windows(
    x: Standin, kernel: Ints, stride: Ints, pads: Ints | str, dilation: Ints, *, ceil: bool = False
) -> tuple[Window, ...]:
    axes = len(x.base) - 1
    kernels, strides, dilations = (
        per_axis(v, axes, w) for v, w in ((kernel, "kernel"), (stride, "stride"), (dilation, "dilation"))
    )
    if pads == "valid":
        pads = 0
    if pads == "same":  # torch: stride 1, the odd pixel after
        totals = [d * (k - 1) for d, k in zip(dilations, kernels, strict=True)]
        both = [(t // 2, t - t // 2) for t in totals]
    else:
        both = [(p, p) for p in per_axis(pads, axes, "padding")]  # type: ignore[arg-type]
    if x.pads:  # F.pad counts from the last axis
        explicit = [*x.pads, *(0,) * (2 * axes - len(x.pads))][: 2 * axes]
        both = [
            (lo + explicit[2 * i], hi + explicit[2 * i + 1])
            for i, (lo, hi) in zip(reversed(range(axes)), both, strict=True)
        ]
    return tuple(
        Window(k, s, d, lo, hi, ceil) for k, s, d, (lo, hi) in zip(kernels, strides, dilations, both, strict=True)
    )


def _settle_unless(trace: Trace, x: Standin, fill: float | None, kernel: Ints = ()) -> None:
    """Make a layer of padding that the next window cannot take: another value than `fill`, or padded channels.

    kernel: of a pool, which may not read padding only.
    """
    axes = len(x.base) - 1
    kernels = per_axis(kernel, axes, "kernel")[::-1] if kernel else ()
    sides = zip(x.pads[::2], x.pads[1::2], strict=True)
    too_wide = any(max(both) >= k for both, k in zip(sides, kernels, strict=False))  # F.pad counts from the last axis
    if x.pads and (x.fill != fill or too_wide or any(x.pads[2 * axes :])):
        trace.settle(x)


@takes_pads
def _conv(
    trace: Trace, input: Standin, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1,
) -> Standin:  # fmt: skip
    if isinstance(weight, Standin):
        raise CaptureError(f"{trace.where()}: the kernel of a convolution is computed from the image; it is no weight")
    crops_and_pads = bool(input.pads) and min(input.pads) < 0 and padding not in (0, (0,) * (len(input.base) - 1))
    _settle_unless(trace, input, None if crops_and_pads else 0.0)
    out, per_group, *kernel = weight.shape
    need_maps("conv", input.image_shape, None, len(kernel))
    op = ops.Conv(per_group * groups, out, _windows(input, kernel, stride, padding, dilation), groups, bias is not None)
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return trace.add(op, input, kind="conv", weights=weights)


def _conv_transpose(
    trace: Trace, input: Standin, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Standin:  # fmt: skip
    if isinstance(weight, Standin):
        raise CaptureError(f"{trace.where()}: the kernel of a convolution is computed from the image; it is no weight")
    channels, per_group, *kernel = weight.shape
    given = (stride, dilation, padding, output_padding)
    rows = zip(kernel, *(per_axis(v, len(kernel), "transposed window") for v in given), strict=True)
    windows = tuple(Transposed(k, s, d, p, p, extra) for k, s, d, p, extra in rows)
    op = ops.ConvTranspose(channels, per_group * groups, windows, groups, bias is not None)
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return trace.add(op, input, kind="conv", weights=weights)


@takes_moves
def _linear(trace: Trace, input: Standin, weight: Tensor, bias: Tensor | None = None) -> Standin:
    """A dense layer on vectors; on maps, over their last axis, the same at each position: a 1 x 1 convolution."""
    out, features = weight.shape
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    maps, back = in_front(trace, input, len(input.sizes) - 1)
    if len(maps.base) == 1:
        return trace.add(ops.Linear(features, out, bias is not None), maps, kind="linear", weights=weights)
    op = ops.Conv(features, out, tuple(Window(1) for _ in maps.base[1:]), 1, bias is not None)
    weights["weight"] = trace.reshaped(weight, out, features, *(1,) * (len(maps.base) - 1))
    return dressed(trace, trace.add(op, maps, kind="linear", weights=weights), back)


@takes_moves
def _matmul(trace: Trace, input: Any, other: Any) -> Standin:
    """Maps times a matrix that is learnt or stored: a dense layer."""
    if not isinstance(input, Standin) or isinstance(other, Standin) or other.ndim != 2:
        raise CaptureError(f"{trace.where()}: multiplies two tensors as matrices; striate knows maps times a weight")
    return _linear(trace, input, other.detach().t())


def _batch_norm(
    trace: Trace, input: Standin, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5,
) -> Standin:  # fmt: skip
    if running_mean is None or running_var is None:
        raise CaptureError(
            f"{trace.where()}: keeps no running statistics, so its output depends on the batch; "
            "use track_running_stats=True"
        )
    if training or (weight is None) != (bias is None):
        what = "uses the statistics of its batch" if training else "has only one of weight and bias"
        raise CaptureError(
            f"{trace.where()}: batch_norm {what}; striate knows gamma and beta, or neither, at test time"
        )
    affine = weight is not None
    op = ops.BatchNorm(len(running_mean), eps, 0.1 if momentum is None else momentum, affine)
    learnt = {"gamma": weight, "beta": bias} if weight is not None and bias is not None else {}
    return trace.add(op, input, kind="bn", weights={**learnt, "running_mean": running_mean, "running_var": running_var})


@takes_pads
def _max_pool(
    trace: Trace, input: Standin, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Standin:  # fmt: skip
    if return_indices:
        raise CaptureError(f"{trace.where()}: max pooling returns its indices; striate has no unpooling")
    _settle_unless(trace, input, -inf, kernel_size)
    windows = _windows(input, kernel_size, stride or kernel_size, padding, dilation, ceil=ceil_mode)
    return trace.add(ops.MaxPool(windows), input, kind="pool")


@takes_pads
def _avg_pool(
    trace: Trace, input: Standin, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Standin:  # fmt: skip
    if divisor_override is not None:
        raise CaptureError(f"{trace.where()}: average pooling with divisor_override={divisor_override}; leave it out")
    own = any(per_axis(padding, len(input.base) - 1, "padding"))
    _settle_unless(trace, input, 0.0 if count_include_pad and not own and not ceil_mode else None, kernel_size)
    windows = _windows(input, kernel_size, stride or kernel_size, padding, 1, ceil=ceil_mode)
    return trace.add(ops.AvgPool(windows, count_include_pad), input, kind="pool")


def _adaptive_out(input: Standin, output_size: Any) -> tuple[int, ...]:
    sizes = input.image_shape[1:]
    wanted = (output_size,) * len(sizes) if isinstance(output_size, int | None) else tuple(output_size)
    return tuple(n if m is None else m for m, n in zip(wanted, sizes, strict=True))


def _adaptive_avg_pool(trace: Trace, input: Standin, output_size: Any) -> Standin:
    out = _adaptive_out(input, output_size)
    if set(out) == {1}:
        return trace.add(ops.GlobalAvgPool(keep_axes=True), input, kind="pool")
    return trace.add(ops.AdaptiveAvgPool(out), input, kind="pool")


def _adaptive_max_pool(trace: Trace, input: Standin, output_size: Any, return_indices: bool = False) -> Standin:
    if return_indices:
        raise CaptureError(f"{trace.where()}: max pooling returns its indices; striate has no unpooling")
    out = _adaptive_out(input, output_size)
    if set(out) == {1}:
        return trace.add(ops.GlobalReduce("max", keep_axes=True), input, kind="pool")
    return trace.add(ops.AdaptiveMaxPool(out), input, kind="pool")


@takes_pads
def _pad(
    trace: Trace, input: Standin, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Standin:
    pads, fill = tuple(pad), 0.0 if value is None else float(value)
    if not any(pads):
        return input
    if input.pads or input.moves:
        trace.settle(input)
    if mode == "constant":
        return trace.padded(input, pads, fill)
    widths = [*pads, *(0,) * (2 * len(input.base) - len(pads))]
    before, after = tuple(reversed(widths[::2])), tuple(reversed(widths[1::2]))
    return trace.add(ops.Pad(before, after, mode), input, kind="pad")


def _interpolate(
    trace: Trace, input: Standin, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Standin:  # fmt: skip
    positions = input.image_shape[1:]
    if mode not in {"nearest", "linear", "bilinear", "trilinear"} or antialias:
        raise CaptureError(
            f"{trace.where()}: interpolates {mode}, antialias={antialias}; striate knows nearest and linear"
        )
    linear, corners = mode != "nearest", bool(align_corners)
    if size is not None:
        out = tuple(int(n) for n in per_axis(size, len(positions), "size"))
        return trace.add(ops.Resize(out, (), linear, corners), input, kind="resize")
    factors = (scale_factor,) * len(positions) if isinstance(scale_factor, int | float) else tuple(scale_factor)
    if all(float(f).is_integer() for f in factors):
        return trace.add(ops.Resize((), tuple(int(f) for f in factors), linear, corners), input, kind="resize")
    exact = tuple(f * n for f, n in zip(factors, positions, strict=True))
    if not all(float(n).is_integer() for n in exact):
        raise CaptureError(
            f"{trace.where()}: interpolates {positions} by {factors} to fractions of a pixel; give a size"
        )
    return trace.add(ops.Resize(tuple(int(n) for n in exact), (), linear, corners), input, kind="resize")


def _no_values(trace: Trace, *_: Any, **__: Any) -> None:
    raise CaptureError(
        f"{trace.where()}: looks at the values of the image to decide what to do, and striate follows shapes only; "
        "give the part before it as a module"
    )


def _no_size(trace: Trace, *_: Any, **__: Any) -> None:
    raise CaptureError(
        f"{trace.where()}: makes a tensor whose size depends on the values of the image, and striate follows shapes "
        "only; give the part before it as a module"
    )


VALUES_ONLY = (
    Tensor.__bool__, Tensor.item, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.tolist, Tensor.numpy,
    Tensor.__array__, torch.equal, torch.allclose,
)  # fmt: skip
SIZED_BY_VALUES = (
    torch.nonzero, Tensor.nonzero, torch.argwhere, torch.masked_select, Tensor.masked_select, torch.unique,
    Tensor.unique, torch.bincount, torch.repeat_interleave,
)  # fmt: skip

FUNCTIONS: Mapping[Any, Any] = MappingProxyType(
    {
        **MOVES,
        **ARITHMETIC,
        **REDUCTIONS,
        **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _conv),
        **dict.fromkeys(
            (
                F.conv_transpose1d,
                F.conv_transpose2d,
                F.conv_transpose3d,
                torch.conv_transpose1d,
                torch.conv_transpose2d,
                torch.conv_transpose3d,
            ),
            _conv_transpose,
        ),
        F.linear: _linear,
        **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _matmul),
        F.batch_norm: _batch_norm,
        **dict.fromkeys(
            (F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, torch.max_pool3d), _max_pool
        ),
        **dict.fromkeys((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), _avg_pool),
        **dict.fromkeys((F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d), _adaptive_avg_pool),
        **dict.fromkeys((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d), _adaptive_max_pool),
        F.pad: _pad,
        **dict.fromkeys((F.interpolate, F.upsample), _interpolate),
        **dict.fromkeys(VALUES_ONLY, _no_values),
        **dict.fromkeys(SIZED_BY_VALUES, _no_size),
        NEVER_UNKNOWN: {_no_values, _no_size},
    }
)
"""torch function -> what it records."""
