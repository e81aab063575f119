"""Floating-point operations, defined: 2 for each multiply-accumulate, and one for each elementwise step.

A sum of K products starts from its bias or from zero, so it takes K multiplications and K additions: 2 MACs in all,
bias included. Everything else is counted by its formula at test time, an activation as one operation a value whatever
its function. Moving values (flattening, concatenation) is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from striate.geometry import Window
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Flatten,
    GlobalAvgPool,
    Identity,
    MaxPool,
    Mul,
    Op,
    Shape,
    Softmax,
)

NORM_STEPS = 2  # a scale and a shift a value, both made beforehand from the statistics
SOFTMAX_STEPS = 5  # maximum, difference, exponential, sum, quotient


def flops(op: Op, inputs: Sequence[Shape], output: Shape) -> int | None:
    """2 MACs + elementwise operations of one layer for one image; None for a layer without a definition here."""
    if macs := op.macs(*inputs):
        return 2 * macs
    return _elementwise(op, inputs, prod(output))


def _elementwise(op: Op, inputs: Sequence[Shape], values: int) -> int | None:
    match op:
        case Flatten() | Identity() | Concat():  # dropout, at test time, is an identity
            count: int | None = 0
        case Activation() | Mul():
            count = values
        case Add():
            count = (len(inputs) - 1) * values
        case BatchNorm():
            count = NORM_STEPS * values
        case Softmax():
            count = SOFTMAX_STEPS * values
        case MaxPool(windows):
            count = values * (_taps(windows) - 1)
        case AvgPool(windows):
            count = values * _taps(windows)  # additions and a division
        case GlobalAvgPool():
            count = prod(inputs[0])
        case AdaptiveAvgPool():
            count = _cells(op, inputs[0])
        case _:
            count = None
    return count


def _taps(windows: Sequence[Window]) -> int:
    return prod(window.kernel for window in windows)


def _cells(op: AdaptiveAvgPool, shape: Shape) -> int:
    """The sizes of all cells: for each, additions and a division."""
    axes = zip(op.axis_maps(shape), shape[1:], strict=True)
    return shape[0] * prod(sum(len(axis.reads(i, n)) for i in range(axis.out_size(n))) for axis, n in axes)
