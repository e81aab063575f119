"""Floating-point operations, defined: 2 for each multiply-accumulate, and one for each elementwise step.

A sum of K products starts from its bias or from zero, so it takes K multiplications and K additions: 2 MACs in all,
bias included. Everything else is counted by its formula at test time, an activation as one operation a value whatever
its function. Moving values (flattening, concatenation) is free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from striate.geometry import Window
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    ChannelReduce,
    Concat,
    Div,
    Flatten,
    GlobalAvgPool,
    GlobalReduce,
    GroupNorm,
    Identity,
    LayerNorm,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Move,
    Mul,
    Op,
    Pad,
    Power,
    PReLU,
    Resize,
    Scale,
    Shape,
    Shift,
    Softmax,
    Sub,
)

STEPS: Mapping[type[Op], int] = {
    Affine: 2,
    BatchNorm: 2,  # a scale and a shift, both made beforehand from the statistics
    GroupNorm: 7,  # sum, difference, square, sum, quotient; a factor and a shift
    LayerNorm: 7,
    Softmax: 5,  # maximum, difference, exponential, sum, quotient
    LogSoftmax: 5,  # the last a difference; a logarithm a position is not counted
}
"""Steps a value of layers that always take as many."""
RESPONSE_STEPS = 4  # beside the sum over the channels around: square, factor and shift, power, quotient
MIX_STEPS = 3  # of two neighbours on one axis: difference, factor, sum


def flops(op: Op, inputs: Sequence[Shape], output: Shape) -> int | None:
    """2 MACs + elementwise operations of one layer for one image; None for a layer without a definition here."""
    if macs := op.macs(*inputs):
        return 2 * macs
    return _elementwise(op, inputs, prod(output))


def _elementwise(op: Op, inputs: Sequence[Shape], values: int) -> int | None:
    """A number of steps for each value of the result; or what pooling takes, by its windows."""
    steps = _steps(op, inputs)
    return _pooling(op, inputs[0], values) if steps is None else steps * values


def _steps(op: Op, inputs: Sequence[Shape]) -> int | None:
    match op:
        case Flatten() | Identity() | Concat() | Move() | Pad():  # dropout, at test time, is an identity
            return 0
        case Activation() | Power() | PReLU() | Mul() | Sub() | Div() | Scale() | Shift():
            return 1
        case Add():
            return len(inputs) - 1
        case LocalResponseNorm(size):
            return size + RESPONSE_STEPS
        case Resize(linear=linear):
            return MIX_STEPS * (len(inputs[0]) - 1) if linear else 0
        case _:
            return STEPS.get(type(op))


def _pooling(op: Op, shape: Shape, values: int) -> int | None:
    match op:
        case MaxPool(windows):
            return values * (_taps(windows) - 1)
        case AvgPool(windows):
            return values * _taps(windows)  # additions and a division
        case AdaptiveMaxPool():
            return _cells(op, shape) - values
        case AdaptiveAvgPool():
            return _cells(op, shape)
        case GlobalAvgPool() | GlobalReduce() | ChannelReduce():
            return prod(shape)
        case _:
            return None


def _taps(windows: Sequence[Window]) -> int:
    return prod(window.kernel for window in windows)


def _cells(op: AdaptiveAvgPool | AdaptiveMaxPool, shape: Shape) -> int:
    """The sizes of all cells: for each, additions and a division."""
    axes = zip(op.axis_maps(shape), shape[1:], strict=True)
    return shape[0] * prod(sum(len(axis.reads(i, n)) for i in range(axis.out_size(n))) for axis, n in axes)
