"""Inputs that bring out faults: extremes, single pixels at every kind of border, one channel at a time, noise.

A wrong border, axis, channel order or scale is invisible on many natural images; on one of these it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, product
from typing import Any

import numpy as np

from striate.errors import ProofError
from striate.ops import Array, Shape

RANDOM_CASES = 5
BATCH_SIZES = (1, 2, 3)
"""One image, an even and an odd number: engines choose other code for each."""


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Named inputs of a proof.

    names: one a case, such as `hot pixel 0,12`
    kinds: one a case, such as `hot pixel`
    images: (N, C, H, W) float32, as the network receives them
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    images: Array

    def batches(self, sizes: Sequence[int] = BATCH_SIZES) -> Iterator[tuple[tuple[str, ...], Array]]:
        """Names and images in batches whose sizes go round `sizes`."""
        start = 0
        for size in cycle(sizes):
            if start >= len(self.names):
                return
            yield self.names[start : start + size], self.images[start : start + size]
            start += size


def input_cases(shape: Shape, low: Array, high: Array, seed: int, images: Array | None = None) -> Cases:
    """The adversarial inputs of a network that reads `shape`, then the caller's own `images`.

    shape: (C, H, W), any number of spatial axes, or (F,)
    low, high: (C,) what pixel 0 and pixel 255 become in each channel before the network sees them
    images: (N, *shape) real inputs, in the same form
    Raises: ProofError if `images` have another shape.
    """
    if images is not None and images.shape[1:] != shape:
        raise ProofError(f"proof images have shape {images.shape[1:]}, the network reads {shape}; resize them first")
    column = (-1, *(1,) * (len(shape) - 1))
    dark, bright = (np.asarray(v, np.float64).reshape(column) + np.zeros(shape) for v in (low, high))
    rng = np.random.default_rng(seed)
    real = () if images is None else images
    made = chain(
        [("zeros", "zeros", dark), ("maxima", "maxima", bright)],
        _hot_pixels(shape, dark, bright),
        _single_channels(shape, dark, bright),
        [("checkerboard", "checkerboard", np.where(np.indices(shape)[1:].sum(axis=0) % 2, bright, dark))],
        (("random", f"random {i}", rng.uniform(dark, bright)) for i in range(RANDOM_CASES)),
        (("image", f"image {i}", image) for i, image in enumerate(real)),
    )
    kinds, names, arrays = zip(*made, strict=True)
    return Cases(names, kinds, np.stack(arrays).astype(np.float32))


def _hot_pixels(shape: Shape, dark: Array, bright: Array) -> Iterator[tuple[str, str, Array]]:
    """One bright pixel on dark: in each corner, in the middle of each edge, in the centre."""
    places = [sorted({0, n // 2, n - 1}) for n in shape[1:]]
    for at in product(*places) if places else ():
        image = dark.copy()
        pixel: tuple[Any, ...] = (slice(None), *at)
        image[pixel] = bright[pixel]
        yield "hot pixel", f"hot pixel {','.join(map(str, at))}", image


def _single_channels(shape: Shape, dark: Array, bright: Array) -> Iterator[tuple[str, str, Array]]:
    """One bright channel, the others dark."""
    for channel in range(shape[0]):
        image = dark.copy()
        image[channel] = bright[channel]
        yield "one channel", f"one channel {channel}", image
