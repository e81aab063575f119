"""The automatic decisions about images, each with its reason."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.data.memory import gigabytes
from striate.errors import DataError

SIDES_PX = (32, 64, 96, 128)
LARGEST_KEPT_PX = 64
MEMORY_SHARE = 0.5  # of the free memory, that decoded images may take; batches, maps and copies need the rest
_CHUNK_PIXELS = 2**21  # of one channel


def image_size(sizes: NDArray[np.int64]) -> tuple[tuple[int, int], str]:
    """(height, width) for images of the sizes (N, 2), and the reason.

    Small images of one size stay exactly as they are. Others become squares: at most 128 px, where a network
    still trains on a CPU, and not above the median short side, since enlarging adds no detail.
    """
    height, width = (int(side) for side in sizes[0])
    if (sizes == sizes[0]).all() and max(height, width) <= LARGEST_KEPT_PX:
        return (height, width), f"all {len(sizes):,} images have this size"
    short = int(np.median(sizes.min(axis=1)))
    side = max((side for side in SIDES_PX if side <= short), default=min(SIDES_PX))
    rule = "the smallest" if short < side else "the largest not above it"
    return (side, side), f"median short side {short} px; of {', '.join(map(str, SIDES_PX))} {rule}"


def channels(is_gray: NDArray[np.bool_]) -> tuple[int, str]:
    """1 if every image is gray, else 3, and the reason."""
    n, colour = len(is_gray), int((~is_gray).sum())
    if colour:
        return 3, f"{colour:,} of {n:,} images are stored in colour"
    return 1, f"all {n:,} images are gray"


def pixels(needed: int, free: int | None, folder: str) -> tuple[str, str]:
    """Where decoded images go: to disk if they would take more than half of the free memory, and why.

    needed and free in bytes. To stay in memory needs no reason.
    """
    if free is None or needed <= MEMORY_SHARE * free:
        return "memory", ""
    reason = f"{gigabytes(needed)} decoded, more than {MEMORY_SHARE:g} of the {gigabytes(free)} of free memory"
    return "disk", f"{reason}; kept in {folder} for later runs, and may be deleted when none trains"


def statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel in units of 255, from exact counts, rounded to 4 decimals.

    Rounded so that the printed value is the value used. Shapes: images (N, C, H, W).
    Raises: DataError if a channel does not vary.
    """
    values = np.arange(256) / 255.0
    step = max(1, _CHUNK_PIXELS // (images.shape[2] * images.shape[3]))
    means, stds = [], []
    for channel in range(images.shape[1]):
        chunks = range(0, len(images), step)  # bincount widens to int64: eight times the memory
        counts = sum(np.bincount(images[i : i + step, channel].ravel(), minlength=256) for i in chunks)
        share = counts / np.sum(counts)
        mean = float(share @ values)
        means.append(round(mean, 4))
        stds.append(round(float(share @ (values - mean) ** 2) ** 0.5, 4))
    if min(stds) == 0:
        raise DataError(f"training images do not vary in channel {stds.index(0)}; check that they hold pictures")
    return tuple(means), tuple(stds)
