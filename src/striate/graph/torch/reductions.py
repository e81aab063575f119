"""What torch's reductions, softmax and normalisation by the image record.

Axes are told apart by what they are of the tensor itself: some of its channels, however a reshape has split them, or
its positions, wherever a permutation has put them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from striate import ops
from striate.errors import CaptureError
from striate.graph.moves import channel_group
from striate.graph.over_axes import reduction_over
from striate.graph.torch.arithmetic import ARITHMETIC, clamp, dressed, in_front, rows
from striate.graph.torch.moves import axis_of, reshape, takes_moves
from striate.graph.torch.standin import Standin
from striate.graph.torch.trace import Handler, Trace


def _softmax(trace: Trace, input: Standin, dim: int | None = None, *_: Any, **__: Any) -> Standin:
    axis = axis_of(input, 1 if dim is None else dim)
    if axis == 0:
        raise CaptureError(f"{trace.where()}: softmax over the images of a batch; striate keeps them apart")
    group = channel_group(input.moves, input.base, axis - 1) if input.moves and not input.pads else None
    if group is not None and group != (1, input.base[0]):  # some of the channels, which a reshape has split
        maps = Standin.of(trace, input.tensor_name, input.base)
        return dressed(trace, trace.add(ops.Softmax(*group), maps, kind="softmax"), input.moves)
    maps, back = in_front(trace, input, axis)
    return dressed(trace, trace.add(ops.Softmax(), maps, kind="softmax"), back)


def _log_softmax(trace: Trace, input: Standin, dim: int | None = None, *_: Any, **__: Any) -> Standin:
    axis = axis_of(input, 1 if dim is None else dim)
    if axis == 0:
        raise CaptureError(f"{trace.where()}: softmax over the images of a batch; striate keeps them apart")
    maps, back = in_front(trace, input, axis)
    return dressed(trace, trace.add(ops.LogSoftmax(), maps, kind="log_softmax"), back)


def _reduction(how: str) -> Handler:
    @takes_moves
    def handler(trace: Trace, input: Standin, dim: Any = None, keepdim: bool = False, **_: Any) -> Standin:
        rank = len(input.sizes)
        given = range(rank) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
        axes = sorted({d % rank for d in given})
        if not axes or axes[0] == 0:
            raise CaptureError(f"{trace.where()}: {how} over axes {axes}, images among them; striate keeps the batch")
        return _reduce(trace, input, how, axes, keepdim)

    return handler


def _reduce(trace: Trace, x: Standin, how: str, axes: Sequence[int], keepdim: bool) -> Standin:
    over = [axis - 1 for axis in axes]
    found = None if x.pads else reduction_over(x.base, x.moves, how, over, keep=keepdim)
    if found is None:
        trace.settle(x, but_order=True)
        found = reduction_over(x.base, x.moves, how, over, keep=keepdim)
    if found is None:
        return _axis_by_axis(trace, x, how, axes, keepdim)
    layers, moves = found
    y = Standin.of(trace, x.tensor_name, x.base)
    for op in layers:
        y = trace.add(op, y, kind=how if how != "mean" or isinstance(op, ops.ChannelReduce) else "pool")
    return dressed(trace, y, moves)


def _axis_by_axis(trace: Trace, x: Standin, how: str, axes: Sequence[int], keepdim: bool) -> Standin:
    """Each axis put where channels stand, and reduced there."""
    sizes = tuple(1 if axis in axes else n for axis, n in enumerate(x.sizes) if keepdim or axis not in axes)
    for axis in axes:
        maps, back = in_front(trace, x, axis)
        x = dressed(trace, trace.add(ops.ChannelReduce(how), maps, kind=how), back)
    return x if sizes == x.sizes else reshape(trace, x, sizes)


@takes_moves
def _max(trace: Trace, input: Standin, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, Standin) or dim is None:
        raise CaptureError(f"{trace.where()}: the larger of two tensors, or of a batch; striate knows it over axes")
    return _reduction("max")(trace, input, dim, keepdim), None


@takes_moves
def _norm(trace: Trace, input: Standin, p: Any = 2, dim: Any = None, keepdim: bool = False, **_: Any) -> Standin:
    if p not in (2, 2.0, "fro"):
        raise CaptureError(f"{trace.where()}: a norm of order {p}; striate knows the Euclidean one")
    length: Standin = _reduction("l2")(trace, input, dim, keepdim)
    return length


@takes_moves
def _layer_norm(
    trace: Trace, input: Standin, normalized_shape: Sequence[int], weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> Standin:  # fmt: skip
    if len(normalized_shape) != 1:
        raise CaptureError(
            f"{trace.where()}: layer norm over {tuple(normalized_shape)} of {input.sizes}; striate knows one axis"
        )
    maps, back = in_front(trace, input, len(input.sizes) - 1)
    weights = _gamma_beta(trace, maps.base[0], weight, bias)
    made = trace.add(ops.LayerNorm(maps.base[0], eps, bool(weights)), maps, kind="norm", weights=weights)
    return dressed(trace, made, back)


@takes_moves
def _rms_norm(
    trace: Trace,
    input: Standin,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Standin:
    """x / sqrt(mean of x^2 + eps), over the last axis."""
    if len(normalized_shape) != 1 or eps is None:
        raise CaptureError(f"{trace.where()}: RMS norm over {tuple(normalized_shape)}, eps={eps}; striate knows one "
                           "axis and a stated eps")  # fmt: skip
    square = ARITHMETIC[torch.square](trace, input)
    mean = _reduction("mean")(trace, square, -1, keepdim=True)
    factor = ARITHMETIC[torch.rsqrt](trace, ARITHMETIC[torch.add](trace, mean, eps))
    product: Standin = ARITHMETIC[torch.mul](trace, input, factor)
    return product if weight is None else ARITHMETIC[torch.mul](trace, product, weight)


@takes_moves
def _normalize(
    trace: Trace, input: Standin, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None
) -> Standin:
    """x / max(|x|, eps), over an axis."""
    length = _norm(trace, input, p, dim, keepdim=True)
    quotient: Standin = ARITHMETIC[torch.div](trace, input, clamp(trace, length, eps))
    return quotient


@takes_moves
def _vector_norm(trace: Trace, x: Standin, ord: Any = 2, dim: Any = None, keepdim: bool = False, **_: Any) -> Standin:
    return _norm(trace, x, ord, dim, keepdim)


def _group_norm(
    trace: Trace, input: Standin, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, *_: Any,
) -> Standin:  # fmt: skip
    channels = input.image_shape[0]
    weights = _gamma_beta(trace, channels, weight, bias)
    return trace.add(ops.GroupNorm(channels, eps, bool(weights), num_groups), input, kind="norm", weights=weights)


def _instance_norm(
    trace: Trace, input: Standin, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,
    eps: float = 1e-5,
) -> Standin:  # fmt: skip
    if not use_input_stats:
        raise CaptureError(f"{trace.where()}: instance norm with running statistics; use batch norm")
    return _group_norm(trace, input, input.image_shape[0], weight, bias, eps)


def _gamma_beta(trace: Trace, channels: int, weight: Tensor | None, bias: Tensor | None) -> dict[str, Tensor]:
    """Both or neither: what is missing is one, or zero."""
    if weight is None and bias is None:
        return {}
    gamma = torch.ones(channels) if weight is None else weight
    return {"gamma": gamma, "beta": torch.zeros_like(gamma) if bias is None else bias}


def _response_norm(
    trace: Trace, input: Standin, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Standin:
    return trace.add(ops.LocalResponseNorm(size, alpha, beta, k), input, kind="norm")


REDUCTIONS: Mapping[Any, Handler] = MappingProxyType(
    {
        **rows(takes_moves(_softmax), F.softmax, torch.softmax, Tensor.softmax),
        **rows(takes_moves(_log_softmax), F.log_softmax, torch.log_softmax, Tensor.log_softmax),
        **rows(_reduction("mean"), torch.mean, Tensor.mean),
        **rows(_reduction("sum"), torch.sum, Tensor.sum),
        **rows(_reduction("max"), torch.amax, Tensor.amax),
        **rows(_max, torch.max, Tensor.max),
        **rows(_norm, torch.norm, Tensor.norm),
        torch.linalg.vector_norm: _vector_norm,
        F.normalize: _normalize,
        F.layer_norm: _layer_norm,
        F.rms_norm: _rms_norm,
        F.group_norm: _group_norm,
        F.instance_norm: _instance_norm,
        F.local_response_norm: _response_norm,
    }
)
"""torch function -> what it records."""
