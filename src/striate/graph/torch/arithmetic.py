"""What torch's arithmetic records: activations, sums and products, reductions, normalisation by the image.

Maps whose channels were moved last are worked on where they stand: what treats every value alike, or every position,
is recorded on the maps themselves, and the permutation waits on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from math import inf
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from striate import ops
from striate.errors import CaptureError
from striate.graph.moves import Moves, order_of
from striate.graph.torch.moves import axis_of, clone, reshape, takes_moves
from striate.graph.torch.standin import BATCH, Standin
from striate.graph.torch.trace import Handler, Trace
from striate.ops import Op, Permute


def bare(trace: Trace, x: Standin) -> tuple[Standin, Moves]:
    """`x` before a permutation that waits on it, and that permutation; all else that waits becomes layers."""
    trace.settle(x, but_order=True)
    return Standin.of(trace, x.tensor_name, x.base, view_of=x), x.moves


def dressed(trace: Trace, y: Standin, moves: Moves) -> Standin:
    """`y` with the permutation that `bare` took off."""
    return Standin.of(trace, y.tensor_name, y.base, moves) if moves else y


def in_front(trace: Trace, x: Standin, axis: int) -> tuple[Standin, Moves]:
    """`x` with `axis` where channels stand, and the permutation that puts it back.

    Of maps whose channels were moved to `axis` that is nothing but the maps.
    """
    rank, channel = len(x.image_shape), axis - 1
    order = (channel, *(i for i in range(rank) if i != channel))
    back = Permute(tuple(order.index(i) for i in range(rank)))
    moved = trace.settle(trace.moved(x, Permute(order)))
    return moved, () if channel == 0 else (back,)


def each_value(handler: Handler) -> Handler:
    """Mark and wrap a handler that treats every value alike, wherever it stands."""

    @wraps(handler)
    def wrapped(trace: Trace, input: Standin, *args: Any, **kwargs: Any) -> Standin:
        maps, moves = bare(trace, input)
        return dressed(trace, handler(trace, maps, *args, **kwargs), moves)

    return takes_moves(wrapped)


def curve(name: str, kind: str | None = None) -> Handler:
    """An activation without parameters."""

    @each_value
    def handler(trace: Trace, input: Standin, inplace: bool = False) -> Standin:
        return trace.add(ops.Activation(name), input, kind=kind or name)

    return handler


def power(exponent: float, kind: str) -> Handler:
    """Every value to a fixed power."""

    @each_value
    def handler(trace: Trace, input: Standin) -> Standin:
        return trace.add(ops.Power(exponent), input, kind=kind)

    return handler


@each_value
def _leaky_relu(trace: Trace, input: Standin, negative_slope: float = 0.01, inplace: bool = False) -> Standin:
    return trace.add(ops.Activation("leaky_relu", (float(negative_slope),)), input, kind="leaky_relu")


@each_value
def _elu(trace: Trace, input: Standin, alpha: float = 1.0, inplace: bool = False) -> Standin:
    return trace.add(ops.Activation("elu", (float(alpha),)), input, kind="elu")


@each_value
def _hardtanh(
    trace: Trace, input: Standin, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Standin:
    if (min_val, max_val) == (0, 6):
        return trace.add(ops.Activation("relu6"), input, kind="relu6")
    return trace.add(ops.Activation("hard_tanh", (float(min_val), float(max_val))), input, kind="hard_tanh")


@each_value
def _gelu(trace: Trace, input: Standin, *, approximate: str = "none") -> Standin:
    return trace.add(ops.Activation("gelu" if approximate == "none" else "gelu_tanh"), input, kind="gelu")


@each_value
def _softplus(trace: Trace, input: Standin, beta: float = 1, threshold: float = 20) -> Standin:
    if beta != 1 or threshold < 20:
        raise CaptureError(f"{trace.where()}: softplus with beta={beta}, threshold={threshold}; striate knows 1 and 20")
    return trace.add(ops.Activation("softplus"), input, kind="softplus")


@each_value
def clamp(trace: Trace, input: Standin, min: Any = None, max: Any = None) -> Standin:
    """Values below and above two numbers, or one, are put there."""
    if min == 0 and max is None:
        return trace.add(ops.Activation("relu"), input, kind="relu")
    low, high = -inf if min is None else min, inf if max is None else max
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise CaptureError(f"{trace.where()}: clamps to [{min}, {max}]; striate knows numbers")
    return trace.add(ops.Activation("hard_tanh", (float(low), float(high))), input, kind="clamp")


@takes_moves
def _clamp_max(trace: Trace, input: Standin, max: float) -> Standin:
    clamped: Standin = clamp(trace, input, None, max)
    return clamped


@takes_moves
def _prelu(trace: Trace, input: Standin, weight: Tensor) -> Standin:
    x = trace.settle(input)
    return trace.add(ops.PReLU(weight.numel()), x, kind="prelu", weights={"weight": weight})


def dropout(whole_channels: bool) -> Handler:
    """Dropout, which does nothing at test time."""

    @each_value
    def handler(trace: Trace, input: Standin, p: float = 0.5, training: bool = True, inplace: bool = False) -> Standin:
        if training and p > 0:
            raise CaptureError(f"{trace.where()}: drops values at test time too; pass training=self.training")
        return trace.add(ops.Dropout(p, whole_channels), input, kind="dropout")

    return handler


def _both(trace: Trace, op: Op, a: Standin, b: Standin, kind: str) -> Standin:
    """A layer on two tensors that stand alike, or on both settled."""
    (x, order), (y, other) = bare(trace, a), bare(trace, b)
    if order == other:
        return dressed(trace, trace.add(op, x, y, kind=kind), order)
    return trace.add(op, trace.settle(a), trace.settle(b), kind=kind)


def _by_tensor(trace: Trace, x: Standin, tensor: Tensor, kind: str) -> Standin:
    """x times a tensor, or plus it, with its axes put where those of the maps stand."""
    maps, moves = bare(trace, x)
    sizes = (*(1,) * (len(x.sizes) - tensor.ndim), *tensor.shape)
    if len(sizes) != len(x.sizes) or sizes[0] != 1:
        raise CaptureError(f"{trace.where()}: {kind} with a tensor of {tuple(tensor.shape)} on maps of {x.sizes}")
    order = order_of(moves, maps.base) or ()
    shape = tuple(sizes[1 + order.index(axis)] for axis in range(len(maps.base)))
    if any(m not in (1, n) for m, n in zip(shape, maps.base, strict=True)):
        raise CaptureError(f"{trace.where()}: {kind} spreads maps of {x.sizes} over a tensor of {tuple(tensor.shape)}")
    placed = tensor.detach() if len(shape) < 2 else tensor.detach().reshape(sizes[1:])
    if order != tuple(range(len(shape))) and sum(n > 1 for n in shape) > 1:
        placed = placed.permute(tuple(order.index(axis) for axis in range(len(shape))))
        weight = placed
    else:
        weight = trace.reshaped(tensor, *shape)
    if kind == "scale":
        made = trace.add(ops.Scale(shape), maps, kind=kind, weights={"weight": weight})
    else:
        made = trace.add(ops.Shift(shape), maps, kind=kind, weights={"bias": weight})
    return dressed(trace, made, moves)


def _affine(trace: Trace, x: Standin, scale: float, shift: float) -> Standin:
    if (scale, shift) == (1, 0):
        return clone(trace, x)
    maps, moves = bare(trace, x)
    return dressed(trace, trace.add(ops.Affine(float(scale), float(shift)), maps, kind="affine"), moves)


def _number(value: Any) -> float | None:
    """A plain number, or a tensor of one value that nothing learns."""
    if isinstance(value, int | float):
        return float(value)
    is_number = isinstance(value, Tensor) and not isinstance(value, Standin | torch.nn.Parameter)
    return float(value) if is_number and value.ndim == 0 and not value.is_meta else None


@takes_moves
def _add(trace: Trace, input: Any, other: Any, *, alpha: float = 1) -> Standin:
    if alpha != 1:
        if not isinstance(other, Standin):
            raise CaptureError(f"{trace.where()}: adds alpha={alpha} times a constant; multiply it beforehand")
        other = _affine(trace, other, alpha, 0)
    if isinstance(input, Standin) and isinstance(other, Standin):
        return _both(trace, ops.Add(), input, other, "add")
    maps, constant = (input, other) if isinstance(input, Standin) else (other, input)
    number = _number(constant)
    return _by_tensor(trace, maps, constant, "shift") if number is None else _affine(trace, maps, 1, number)


@takes_moves
def _mul(trace: Trace, input: Any, other: Any) -> Standin:
    if isinstance(input, Standin) and isinstance(other, Standin):
        return _both(trace, ops.Mul(), input, other, "mul")
    maps, constant = (input, other) if isinstance(input, Standin) else (other, input)
    number = _number(constant)
    return _by_tensor(trace, maps, constant, "scale") if number is None else _affine(trace, maps, number, 0)


@takes_moves
def _sub(trace: Trace, input: Any, other: Any, *, alpha: float = 1) -> Standin:
    if alpha != 1:
        raise CaptureError(f"{trace.where()}: subtracts alpha={alpha} times; multiply it beforehand")
    if isinstance(input, Standin) and isinstance(other, Standin):
        return _both(trace, ops.Sub(), input, other, "sub")
    if isinstance(input, Standin):
        number = _number(other)
        return _by_tensor(trace, input, -other, "shift") if number is None else _affine(trace, input, 1, -number)
    number = _number(input)
    if number is None:
        return _by_tensor(trace, _affine(trace, other, -1, 0), input, "shift")
    return _affine(trace, other, -1, number)


@takes_moves
def _rsub(trace: Trace, input: Any, other: Any) -> Standin:
    return _sub(trace, other, input)


@takes_moves
def _div(trace: Trace, input: Any, other: Any, *, rounding_mode: str | None = None) -> Standin:
    if rounding_mode is not None:
        raise CaptureError(f"{trace.where()}: rounds a quotient to a whole number; striate divides")
    if not isinstance(input, Standin):
        return _mul(trace, power(-1.0, "reciprocal")(trace, other), input)
    if isinstance(other, Standin):
        return _both(trace, ops.Div(), input, other, "div")
    number = _number(other)
    return _by_tensor(trace, input, 1 / other, "scale") if number is None else _affine(trace, input, 1 / number, 0)


@takes_moves
def _rdiv(trace: Trace, input: Any, other: Any) -> Standin:
    return _div(trace, other, input)


@takes_moves
def _neg(trace: Trace, input: Standin) -> Standin:
    return _affine(trace, input, -1, 0)


@takes_moves
def _pow(trace: Trace, input: Any, exponent: Any) -> Standin:
    if not isinstance(exponent, int | float) or not isinstance(input, Standin):
        raise CaptureError(f"{trace.where()}: a power that is computed; striate knows the powers that are numbers")
    return _square(trace, input) if exponent == 2 else power(float(exponent), "pow")(trace, input)


@takes_moves
def _square(trace: Trace, input: Standin) -> Standin:
    return _both(trace, ops.Mul(), input, input, "mul")


@takes_moves
def _addcmul(trace: Trace, input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Standin:
    product = _mul(trace, tensor1, tensor2)
    return _add(trace, input, product if value == 1 else _affine(trace, product, value, 0))


def concat(trace: Trace, tensors: Sequence[Standin], dim: int = 0) -> Standin:
    """Concatenation over channels, wherever they stand; over another axis, put in their place and back."""
    if not all(isinstance(x, Standin) for x in tensors):
        raise CaptureError(f"{trace.where()}: concatenates feature maps and constants; striate knows feature maps")
    axis = axis_of(tensors[0], dim)
    if axis == 0:
        raise CaptureError(f"{trace.where()}: concatenates batches; striate describes one image, whichever it is")
    if len(tensors) == 1:
        return tensors[0]
    moved = [in_front(trace, x, axis) for x in tensors]
    return dressed(trace, trace.add(ops.Concat(), *(x for x, _ in moved), kind="concat"), moved[0][1])


@takes_moves
def _stack(trace: Trace, tensors: Sequence[Standin], dim: int = 0) -> Standin:
    if dim % (len(tensors[0].sizes) + 1) != 1 or len(tensors) < 2:
        raise CaptureError(f"{trace.where()}: stacks along axis {dim}; striate knows 1, before the channels")
    whole = concat(trace, tensors, 1)
    return reshape(trace, whole, (BATCH, len(tensors), *tensors[0].image_shape))


def rows(handler: Handler, *functions: Callable[..., Any]) -> dict[Any, Handler]:
    """One handler for several functions."""
    return dict.fromkeys(functions, handler)


ARITHMETIC: Mapping[Any, Handler] = MappingProxyType(
    {
        **rows(curve("relu"), F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
        F.relu6: curve("relu6"),
        F.hardtanh: _hardtanh,
        F.leaky_relu: _leaky_relu,
        F.elu: _elu,
        F.selu: curve("selu"),
        **rows(curve("sigmoid"), F.sigmoid, torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_),
        F.logsigmoid: curve("log_sigmoid"),
        **rows(curve("tanh"), F.tanh, torch.tanh, Tensor.tanh, Tensor.tanh_),
        F.silu: curve("silu"),
        F.gelu: _gelu,
        F.mish: curve("mish"),
        F.softplus: _softplus,
        F.softsign: curve("softsign"),
        **rows(curve("abs"), torch.abs, Tensor.abs, Tensor.__abs__),
        F.hardsigmoid: curve("hard_sigmoid"),
        F.hardswish: curve("hard_swish"),
        **rows(clamp, torch.clamp, Tensor.clamp, Tensor.clamp_, torch.clip, Tensor.clip),
        **rows(clamp, torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_),
        **rows(_clamp_max, torch.clamp_max, Tensor.clamp_max, Tensor.clamp_max_),
        **rows(_prelu, F.prelu, torch.prelu),
        **rows(dropout(False), F.dropout, F.alpha_dropout),
        **rows(dropout(True), F.dropout1d, F.dropout2d, F.dropout3d),
        **rows(
            _add, torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__, operator.add
        ),
        **rows(
            _mul, torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__, operator.mul
        ),
        **rows(_sub, torch.sub, Tensor.sub, Tensor.sub_, Tensor.__sub__, Tensor.__isub__),
        **rows(_rsub, torch.rsub, Tensor.__rsub__),
        **rows(_div, torch.div, Tensor.div, Tensor.div_, Tensor.__truediv__, Tensor.__itruediv__),
        **rows(_neg, torch.neg, Tensor.neg, Tensor.__neg__),
        **rows(power(0.5, "sqrt"), torch.sqrt, Tensor.sqrt),
        **rows(power(-0.5, "rsqrt"), torch.rsqrt, Tensor.rsqrt),
        **rows(power(-1.0, "reciprocal"), torch.reciprocal, Tensor.reciprocal),
        **rows(_rdiv, Tensor.__rtruediv__, Tensor.__rdiv__),
        **rows(_pow, torch.pow, Tensor.pow, Tensor.__pow__),
        **rows(_square, torch.square, Tensor.square),
        **rows(_addcmul, torch.addcmul, Tensor.addcmul),
        **rows(takes_moves(concat), torch.cat, torch.concat, torch.concatenate),
        torch.stack: _stack,
    }
)
"""torch function -> what it records."""
