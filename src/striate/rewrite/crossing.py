"""What becomes of an affine map of channels where it crosses a layer without weights, upwards or downwards.

Such a layer commutes with x -> s x + t, channel by channel, if it moves values (a slice, a shuffle, a reshape that
keeps each channel's values together, padding with the maps' own pixels), mixes them with weights of sum 1 (averages,
blurs, resizing), or takes the largest where s >= 0. What it does to the channels, it does to s and t.
"""

from __future__ import annotations

import numpy as np

from striate.ops import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Array,
    AvgPool,
    BlurPool,
    Flatten,
    GlobalAvgPool,
    GlobalReduce,
    Identity,
    MaxPool,
    Move,
    Op,
    Pad,
    Resize,
    Shape,
)
from striate.rewrite.affine import averages_only_pixels

NONE, SEVERAL = -1, -2
MIXING = (AvgPool, AdaptiveAvgPool, GlobalAvgPool, BlurPool, Resize)
CROSSED = (*MIXING, MaxPool, AdaptiveMaxPool, GlobalReduce, Move, Pad, Flatten, Identity)  # a dropout is an Identity


def clash(op: Op, name: str, scale: Array, shift: Array) -> str:
    """Why a layer does not commute with scale x + shift, as a clause; empty if it does.  Shapes (C,)."""
    largest = isinstance(op, MaxPool | AdaptiveMaxPool) or (isinstance(op, GlobalReduce) and op.how == "max")
    if largest and (scale < 0).any():
        return f"{op.kind} {name} does not commute with the negative scale of channel {int(np.argmax(scale < 0))}"
    if isinstance(op, GlobalReduce) and op.how not in ("max", "mean"):
        return f"{op.kind} {name} ({op.how}) does not commute with a shift"
    if isinstance(op, AvgPool | BlurPool) and not _only_pixels(op) and shift.any():
        return f"{op.kind} {name} counts padded zeros, which the shift must not reach"
    if isinstance(op, Pad) and not _own_pixels(op):
        return f"pad {name} adds a number that is no pixel, which the norm must not reach"
    return ""


def channels_before(op: Op, read: Shape, written: Shape) -> Array:
    """For each channel that a layer reads, the channel that it becomes part of; `NONE` or `SEVERAL`.  Shape (C,)."""
    reads, writes = _pairs(op, read, written)
    before = np.full(read[0], NONE)
    before[reads] = writes
    before[reads[before[reads] != writes]] = SEVERAL
    return before


def channels_after(op: Op, read: Shape, written: Shape) -> Array:
    """For each channel that a layer writes, the channel that all its values come from; or `SEVERAL`.  Shape (D,)."""
    reads, writes = _pairs(op, read, written)
    after = np.full(written[0], NONE)
    after[writes] = reads
    after[writes[after[writes] != reads]] = SEVERAL
    return after


def _pairs(op: Op, read: Shape, written: Shape) -> tuple[Array, Array]:
    """Which channel is read for which that is written, for every value of the output."""
    if isinstance(op, Flatten):
        writes = np.arange(written[0])
        return writes // (written[0] // read[0]), writes
    if not isinstance(op, Move):
        return np.arange(read[0]), np.arange(read[0])
    sources = op.sources(read).reshape(written[0], -1)
    reads = sources // (int(np.prod(read)) // read[0])
    return reads.reshape(-1), np.repeat(np.arange(written[0]), sources.shape[1])


def _only_pixels(op: AvgPool | BlurPool) -> bool:
    if isinstance(op, BlurPool):
        return not any(w.pad_lo > 0 or w.pad_hi > 0 for w in op.windows)
    return averages_only_pixels(op)


def _own_pixels(op: Pad) -> bool:
    """Whether all that is added are the maps' own values, or nothing is."""
    return op.mode != "constant" or (max(*op.before, *op.after) <= 0 and op.before[0] == op.after[0] == 0)
