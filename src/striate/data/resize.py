"""Gray or RGB image -> (C, H, W) of a preprocessing: antialiased bilinear, sizes in integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate.data.preprocess import Preprocessing
from striate.errors import DataError

MAX_RESIZED_PIXELS = 2**26  # a strip of 1 x 100,000 px scaled for a crop would otherwise fill the memory
PAD_VALUE = 0


def fit_image(image: Image.Image, preprocessing: Preprocessing, name: str) -> NDArray[np.uint8]:
    """Convert to the channels, resize and fit one image of mode L or RGB; ``name`` stands in errors.

    Channels first, then size. Pillow's bilinear filter widens with the reduction (antialias), so no pixel is
    skipped. An image that has the size already is not touched. Odd remainders: one pixel more is cut, or
    padded, on the bottom and on the right.

    Shapes: result (C, H, W) uint8, contiguous.
    """
    mode = "L" if preprocessing.channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    target = preprocessing.height, preprocessing.width
    height, width = resized_size((image.height, image.width), target, preprocessing.fit)
    if height * width > MAX_RESIZED_PIXELS:
        raise DataError(f"{name}: {image.height}x{image.width} px is too long a strip to crop; use fit pad or stretch")
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(height, width, preprocessing.channels)
    placed = _centred(_centred(pixels, target[0], axis=0), target[1], axis=1)
    return np.ascontiguousarray(placed.transpose(2, 0, 1))  # (C, H, W)


def fit_images(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """``fit_image`` over an array (N, 1 or 3, h, w); returned as it is where nothing is to do."""
    if images.shape[1:] == preprocessing.shape:
        return np.ascontiguousarray(images)
    result = np.empty((len(images), *preprocessing.shape), np.uint8)
    for i, pixels in enumerate(images):
        result[i] = fit_image(to_image(pixels), preprocessing, f"image {i}")
    return result


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """(1 or 3, H, W) uint8 -> an image of mode L or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def resized_size(size: tuple[int, int], target: tuple[int, int], fit: str) -> tuple[int, int]:
    """(height, width) after scaling and before the centre is cut out or padded.

    The side that decides gets its target; the other is its length times that factor, halves rounded up,
    at least 1. crop: the other side is at least its target; pad: at most.
    """
    (height, width), (target_height, target_width) = size, target
    if fit == "stretch":
        return target
    is_wider = width * target_height >= height * target_width
    if is_wider == (fit == "crop"):
        return target_height, _scaled(width, target_height, height)
    return _scaled(height, target_width, width), target_width


def _scaled(length: int, numerator: int, denominator: int) -> int:
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _centred(pixels: NDArray[np.uint8], length: int, axis: int) -> NDArray[np.uint8]:
    """Cut or pad one axis to ``length``, keeping the centre."""
    spare = length - pixels.shape[axis]
    if spare <= 0:
        start = -spare // 2
        return pixels[(slice(None),) * axis + (slice(start, start + length),)]
    margins = [(0, 0)] * pixels.ndim
    margins[axis] = (spare // 2, spare - spare // 2)
    return np.pad(pixels, margins, constant_values=PAD_VALUE)
