"""Prints that copies of a picture share after scaling, recompression or a change of brightness; and their search.

The 64-bit print is the sign of low DCT frequencies (Zauner 2010, "Implementation and Benchmarking of Perceptual
Image Hash Functions", section 3.2): a cheap candidate test. A small colour thumbnail then decides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_SIDE_PX = 32
HASH_FREQUENCIES = 8
THUMBNAIL_PX = 12
MAX_HASH_DISTANCE = 10  # of 63 bits: few copies lie further, and the thumbnail drops what is no copy
MIN_CORRELATION = 0.97  # of thumbnails; measured on TrashNet, see docs/log.md
_BLOCK_ROWS, _BLOCK_COLUMNS = 64, 8192  # 4 MB of XORs: they stay in the processor's cache


def perceptual_hash(image: Image.Image) -> int:
    """63 bits: whether each of the lowest 8 x 8 DCT coefficients but the mean lies above their median."""
    gray = image.convert("L").resize((HASH_SIDE_PX, HASH_SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=3.0)
    coefficients = (_DCT @ np.asarray(gray, np.float64) @ _DCT.T).ravel()[1:]  # (63,)
    bits = coefficients > np.median(coefficients)
    return int.from_bytes(np.packbits(np.append(False, bits)).tobytes(), "big")


def thumbnail(rgb: Image.Image) -> NDArray[np.uint8]:
    """(12, 12, 3): the whole picture, its shape not kept."""
    small = rgb.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small)


def correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pearson's correlation of thumbnails: 1 for copies, also of another brightness or contrast; 0 for flat ones.

    Shapes: (P, 12, 12, 3) each; result (P,).
    """
    x, y = (part.reshape(len(part), -1) - part.mean(axis=(1, 2, 3))[:, None] for part in (first, second))
    norms = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    products: NDArray[np.float64] = (x * y).sum(axis=1)
    result: NDArray[np.float64] = np.divide(products, norms, out=np.zeros(len(x)), where=norms > 0)
    return result


def near_pairs(hashes: NDArray[np.uint64], max_distance: int) -> Iterator[NDArray[np.int64]]:
    """All pairs i < j whose hashes differ in at most ``max_distance`` bits, in blocks (P, 2).

    Every pair is compared: n**2 / 2 XORs and bit counts, in blocks that stay in the cache.
    Shapes: hashes (N,).
    """
    n = len(hashes)
    for i in range(0, n, _BLOCK_ROWS):
        rows = hashes[i : i + _BLOCK_ROWS, None]
        for j in range(i, n, _BLOCK_COLUMNS):
            is_near = np.bitwise_count(rows ^ hashes[None, j : j + _BLOCK_COLUMNS]) <= max_distance
            first, second = np.nonzero(is_near)
            pairs = np.stack([first + i, second + j], axis=1)
            yield pairs[pairs[:, 0] < pairs[:, 1]]


def _dct_rows() -> NDArray[np.float64]:
    """The first 8 rows of the 32-point DCT-II matrix: cos(pi (2 x + 1) u / 64)."""
    u, x = np.arange(HASH_FREQUENCIES)[:, None], np.arange(HASH_SIDE_PX)[None, :]
    return np.cos(np.pi * (2 * x + 1) * u / (2 * HASH_SIDE_PX))


_DCT = _dct_rows()
