"""What each torch function records: a table by the function's identity, never by its name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from striate import ops
from striate.errors import CaptureError
from striate.geometry import Window, per_axis
from striate.graph.torch_trace import BATCH, Handler, Standin, Trace

Ints = int | Sequence[int]


def _takes_pads(handler: Handler) -> Handler:
    handler.takes_pads = True  # type: ignore[attr-defined]
    return handler


def _windows(
    x: Standin, kernel: Ints, stride: Ints, pads: Ints | str, dilation: Ints, *, ceil: bool = False
) -> tuple[Window, ...]:
    axes = len(x.image_shape) - 1
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
        explicit = [*x.pads, *(0,) * (2 * axes - len(x.pads))]
        if min(explicit) < 0 and any(lo or hi for lo, hi in both):
            raise CaptureError("crops before a layer that pads; crop by slicing after it, or do not pad")
        both = [
            (lo + explicit[2 * i], hi + explicit[2 * i + 1])
            for i, (lo, hi) in zip(reversed(range(axes)), both, strict=True)
        ]
    return tuple(
        Window(k, s, d, lo, hi, ceil) for k, s, d, (lo, hi) in zip(kernels, strides, dilations, both, strict=True)
    )


@_takes_pads
def _conv(
    trace: Trace, input: Standin, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1,
) -> Standin:  # fmt: skip
    if isinstance(weight, Standin):
        raise CaptureError(f"{trace.where()}: the kernel of a convolution is computed from the image; it is no weight")
    out, per_group, *kernel = weight.shape
    op = ops.Conv(per_group * groups, out, _windows(input, kernel, stride, padding, dilation), groups, bias is not None)
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return trace.add(op, input, kind="conv", weights=weights)


def _linear(trace: Trace, input: Standin, weight: Tensor, bias: Tensor | None = None) -> Standin:
    out, features = weight.shape
    weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return trace.add(ops.Linear(features, out, bias is not None), input, kind="linear", weights=weights)


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


def _curve(name: str) -> Handler:
    def handler(trace: Trace, input: Standin, inplace: bool = False) -> Standin:
        return trace.add(ops.Activation(name), input, kind=name)

    return handler


def _fixed(name: str, **expected: float) -> Handler:
    """An activation with parameters, of which striate has the usual values only."""

    def handler(trace: Trace, input: Standin, *values: float, inplace: bool = False, **named: float) -> Standin:
        given = dict(zip(expected, values, strict=False)) | named
        for what, value in given.items():
            if value != expected.get(what, value):
                raise CaptureError(
                    f"{trace.where()}: {name} with {what}={value}; striate knows {what}={expected[what]}"
                )
        return trace.add(ops.Activation(name), input, kind=name)

    return handler


def _hardtanh(
    trace: Trace, input: Standin, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Standin:
    if (min_val, max_val) != (0, 6):
        raise CaptureError(f"{trace.where()}: hardtanh to [{min_val}, {max_val}]; striate knows ReLU6, [0, 6]")
    return trace.add(ops.Activation("relu6"), input, kind="relu6")


def _softmax(trace: Trace, input: Standin, dim: int | None = None, *_: Any, **__: Any) -> Standin:
    if dim not in (1, 1 - len(input.image_shape) - 1):
        raise CaptureError(f"{trace.where()}: softmax over axis {dim}; striate knows the channel axis, 1")
    return trace.add(ops.Softmax(), input, kind="softmax")


def _max_pool(
    trace: Trace, input: Standin, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Standin:  # fmt: skip
    if return_indices:
        raise CaptureError(f"{trace.where()}: max pooling returns its indices; striate has no unpooling")
    windows = _windows(input, kernel_size, stride or kernel_size, padding, dilation, ceil=ceil_mode)
    return trace.add(ops.MaxPool(windows), input, kind="pool")


def _avg_pool(
    trace: Trace, input: Standin, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Standin:  # fmt: skip
    if divisor_override is not None:
        raise CaptureError(f"{trace.where()}: average pooling with divisor_override={divisor_override}; leave it out")
    windows = _windows(input, kernel_size, stride or kernel_size, padding, 1, ceil=ceil_mode)
    return trace.add(ops.AvgPool(windows, count_include_pad), input, kind="pool")


def _adaptive_avg_pool(trace: Trace, input: Standin, output_size: Any) -> Standin:
    sizes = input.image_shape[1:]
    wanted = (output_size,) * len(sizes) if isinstance(output_size, int | None) else tuple(output_size)
    out = tuple(n if m is None else m for m, n in zip(wanted, sizes, strict=True))
    if set(out) == {1}:
        return trace.add(ops.GlobalAvgPool(keep_axes=True), input, kind="pool")
    return trace.add(ops.AdaptiveAvgPool(out), input, kind="pool")


def _mean(trace: Trace, input: Standin, dim: Any = None, keepdim: bool = False, **_: Any) -> Standin:
    rank = len(input.image_shape) + 1
    axes = sorted(d % rank for d in ((dim,) if isinstance(dim, int) else dim or range(rank)))
    if rank < 3 or axes != list(range(2, rank)):
        raise CaptureError(f"{trace.where()}: mean over axes {axes}; striate knows the mean of whole feature maps")
    return trace.add(ops.GlobalAvgPool(keep_axes=keepdim), input, kind="pool")


def _flatten(trace: Trace, input: Standin, start_dim: int = 0, end_dim: int = -1) -> Standin:
    rank = len(input.image_shape) + 1
    if start_dim % rank != 1 or end_dim % rank != rank - 1:
        raise CaptureError(f"{trace.where()}: flattens axes {start_dim} to {end_dim}; striate knows all but the batch")
    return input if rank == 2 else trace.add(ops.Flatten(), input, kind="flatten", view_of=input)


def _reshape(trace: Trace, input: Standin, *shape: Any) -> Standin:
    wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence | torch.Size) else shape
    features = 1
    for n in input.image_shape:
        features *= n
    if tuple(wanted) not in {(BATCH, -1), (-1, features), (BATCH, features)}:
        raise CaptureError(f"{trace.where()}: reshapes to {tuple(wanted)}; striate knows flattening, (N, -1)")
    return _flatten(trace, input, 1)


def _dropout(whole_channels: bool) -> Handler:
    def handler(trace: Trace, input: Standin, p: float = 0.5, training: bool = True, inplace: bool = False) -> Standin:
        if training and p > 0:
            raise CaptureError(f"{trace.where()}: drops values at test time too; pass training=self.training")
        return trace.add(ops.Dropout(p, whole_channels), input, kind="dropout")

    return handler


def _merge(op: Callable[[], ops.Op], kind: str) -> Handler:
    def handler(trace: Trace, input: Any, other: Any, *, alpha: float = 1) -> Standin:
        if op is ops.Add and isinstance(other, int | float) and other == 0:
            return _clone(trace, input)  # with 0 + x, sum([x, y]) starts
        if not (isinstance(input, Standin) and isinstance(other, Standin)) or alpha != 1:
            raise CaptureError(
                f"{trace.where()}: {kind} of a feature map and a constant; striate knows two feature maps"
            )
        return trace.add(op(), input, other, kind=kind)

    return handler


def _concat(trace: Trace, tensors: Sequence[Standin], dim: int = 0) -> Standin:
    if dim % (len(tensors[0].image_shape) + 1) != 1:
        raise CaptureError(f"{trace.where()}: concatenates along axis {dim}; striate knows the channel axis, 1")
    return tensors[0] if len(tensors) == 1 else trace.add(ops.Concat(), *tensors, kind="concat")


@_takes_pads
def _pad(
    trace: Trace, input: Standin, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Standin:
    if mode != "constant" or value not in (None, 0):
        raise CaptureError(f"{trace.where()}: pads with {mode if mode != 'constant' else value}; striate knows zeros")
    if input.pads:
        raise CaptureError(f"{trace.where()}: pads twice; pad once")
    return Standin.of(trace, input.tensor_name, input.image_shape, tuple(pad)) if any(pad) else input


def _same(trace: Trace, input: Standin, *args: Any, **kwargs: Any) -> Standin:
    for one in (*args, *kwargs.values()):
        if isinstance(one, torch.dtype) and not one.is_floating_point:
            raise CaptureError(f"{trace.where()}: turns feature maps into {one}; striate knows floating point")
    return input


def _clone(trace: Trace, input: Standin, **_: Any) -> Standin:
    return Standin.of(trace, input.tensor_name, input.image_shape)


def _no_values(trace: Trace, *_: Any, **__: Any) -> None:
    raise CaptureError(
        f"{trace.where()}: looks at the values of the image to decide what to do; striate follows shapes only"
    )


FUNCTIONS: Mapping[Any, Handler] = MappingProxyType(
    {
        **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _conv),
        F.linear: _linear,
        F.batch_norm: _batch_norm,
        **dict.fromkeys((F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _curve("relu")),
        F.relu6: _curve("relu6"),
        F.hardtanh: _hardtanh,
        F.leaky_relu: _fixed("leaky_relu", negative_slope=0.01),
        F.elu: _fixed("elu", alpha=1.0),
        **dict.fromkeys((F.sigmoid, torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_), _curve("sigmoid")),
        **dict.fromkeys((F.tanh, torch.tanh, Tensor.tanh), _curve("tanh")),
        F.silu: _curve("silu"),
        F.hardsigmoid: _curve("hard_sigmoid"),
        F.hardswish: _curve("hard_swish"),
        **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _softmax),
        **dict.fromkeys(
            (F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, torch.max_pool3d), _max_pool
        ),
        **dict.fromkeys((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), _avg_pool),
        **dict.fromkeys((F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d), _adaptive_avg_pool),
        **dict.fromkeys((torch.mean, Tensor.mean), _mean),
        **dict.fromkeys((torch.flatten, Tensor.flatten), _flatten),
        **dict.fromkeys((torch.reshape, Tensor.reshape, Tensor.view), _reshape),
        **dict.fromkeys((F.dropout, F.alpha_dropout), _dropout(False)),
        **dict.fromkeys((F.dropout1d, F.dropout2d, F.dropout3d), _dropout(True)),
        **dict.fromkeys(
            (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, operator.add), _merge(ops.Add, "add")
        ),
        **dict.fromkeys(
            (torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__imul__, operator.mul), _merge(ops.Mul, "mul")
        ),
        **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _concat),
        F.pad: _pad,
        **dict.fromkeys((torch.clone, Tensor.clone), _clone),
        **dict.fromkeys((Tensor.contiguous, Tensor.to, Tensor.float, Tensor.detach), _same),
        **dict.fromkeys((Tensor.__bool__, Tensor.item, Tensor.__int__, Tensor.__float__, Tensor.tolist), _no_values),
    }
)
"""torch function -> what it records."""
