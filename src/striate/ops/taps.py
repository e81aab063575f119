"""Sliding windows over NumPy arrays, one kernel tap at a time: shared by convolution and pooling.

For the tap (m_h, m_w) of a window, the pixels that all outputs read there form one strided slice of the
padded input. A pooling is a fold over the taps, the gradient of a convolution a matrix product at each, and both
write back to the same slices. Forward, a convolution takes all taps at once (`under_windows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from striate.geometry import Window
from striate.ops.base import Array

Index = tuple[Any, ...]


def pad(x: Array, windows: Sequence[Window], fill: float = 0.0) -> Array:
    """Pad (N, C, H, W) by each window's padding with `fill`, and on to the end of an overhanging last window.

    Negative padding crops.
    """
    widths, kept = [(0, 0), (0, 0)], [slice(None), slice(None)]
    for w, n in zip(windows, x.shape[2:], strict=True):
        end = w.first(w.out_size(n) - 1) + w.extent
        widths.append((max(0, w.pad_lo), max(0, w.pad_hi, end - n)))
        kept.append(slice(max(0, -w.pad_lo), n + min(0, w.pad_hi)))
    return np.pad(x[tuple(kept)], widths, constant_values=fill)


def slices(windows: Sequence[Window], sizes: Sequence[int]) -> Iterator[tuple[Index, Index]]:
    """For each tap: the index of its weights in (..., K...), and of the pixels that all outputs read there.

    sizes: the spatial sizes of the unpadded input. Indices apply to an array made by `pad`.
    """
    outs = [w.out_size(n) for w, n in zip(windows, sizes, strict=True)]
    for tap in np.ndindex(*(w.kernel for w in windows)):
        spatial = (
            slice(m * w.dilation, m * w.dilation + (out - 1) * w.stride + 1, w.stride)
            for m, w, out in zip(tap, windows, outs, strict=True)
        )
        yield (..., *tap), (slice(None), slice(None), *spatial)


def under_windows(padded: Array, windows: Sequence[Window], outs: Sequence[int]) -> Array:
    """The pixels under every window, as a read-only view of an array made by `pad`: (N, C, K..., Ho, Wo).

    outs: outputs on each axis. Tap m of output i is pixel i stride + m dilation.
    """
    batch, channels, *along = padded.strides
    taps = (w.dilation * step for w, step in zip(windows, along, strict=True))
    outputs = (w.stride * step for w, step in zip(windows, along, strict=True))
    shape = (*padded.shape[:2], *(w.kernel for w in windows), *outs)
    return as_strided(padded, shape, (batch, channels, *taps, *outputs), writeable=False)


def unpad(padded: Array, windows: Sequence[Window], sizes: Sequence[int]) -> Array:
    """The part of a padded array that lies on the input, with zeros where `pad` cropped: its adjoint."""
    cropped = [(0, 0), (0, 0), *((max(0, -w.pad_lo), max(0, -w.pad_hi)) for w in windows)]
    starts = [max(0, w.pad_lo) for w in windows]
    spatial = (slice(start, start + n) for start, n in zip(starts, sizes, strict=True))
    return np.pad(padded, cropped)[(slice(None), slice(None), *spatial)]
