"""RandAugment: a few operations for each image, drawn from a table, all of one magnitude.

Source: Cubuk et al. 2020, "RandAugment", arXiv:1909.13719: the operations and the way of drawing. The full
magnitudes are those its reference code and torchvision share, in units that fit any image size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from striate.data import random
from striate.data.augment import colour, tone
from striate.data.augment.place import Positions, warp
from striate.data.augmentation import LEVELS, Augmentation

FULL_TURN = math.radians(30)
FULL_SHEAR = 0.3  # px a px
FULL_SHIFT = 150 / 331  # of the side
FULL_FACTOR = 0.9  # colours: a factor of 1 - 0.9 to 1 + 0.9
FULL_BITS = 4  # posterize: how many of 8 bits go

Amounts = NDArray[np.float64]  # (N,) magnitudes from 0 to 1 with a random sign; those without a direction drop it
Operation = Callable[[Tensor, Amounts], Tensor]  # images and result (N, C, H, W) uint8


def randaugment(images: Tensor, positions: Positions, epoch: int, seed: int, spec: Augmentation) -> Tensor:
    """Apply ``spec.randaugment_ops`` operations of magnitude ``spec.randaugment_level`` / 30 to each image.

    Each is drawn anew, by image and turn; gray images have no saturation among theirs.
    Shapes: images and result (N, C, H, W) uint8; positions (N,).
    """
    names = [name for name in OPERATIONS if images.shape[1] == colour.RGB or name not in COLOUR_ONLY]
    for turn in range(spec.randaugment_ops):
        drawn = random.integers(len(names), seed, "randaugment", epoch, positions, turn)  # (N,)
        is_negative = random.integers(2, seed, "randaugment sign", epoch, positions, turn) == 1
        amounts = np.where(is_negative, -1.0, 1.0) * (spec.randaugment_level / LEVELS)
        result = images.clone()
        for number in np.unique(drawn):
            rows = np.flatnonzero(drawn == number)
            where = torch.from_numpy(rows).to(images.device)
            result[where] = OPERATIONS[names[number]](images[where], amounts[rows])
        images = result
    return images


def rotate(images: Tensor, angles: NDArray[np.float64]) -> Tensor:
    """Turn each image around its centre; angles (N,) in radians."""
    cos, sin = np.cos(angles), np.sin(angles)
    return warp(images, affine(yy=cos, yx=sin, xy=-sin, xx=cos))


def affine(
    yy: ArrayLike = 1.0,
    yx: ArrayLike = 0.0,
    y: ArrayLike = 0.0,
    xy: ArrayLike = 0.0,
    xx: ArrayLike = 1.0,
    x: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """(N, 2, 3) for ``warp`` from entries that are numbers or (N,); what is not given leaves the image in place."""
    entries = np.broadcast_arrays(yy, yx, y, xy, xx, x)
    return np.stack(entries, axis=-1).astype(np.float64).reshape(-1, 2, 3)


def pixels(amounts: Amounts, length: int) -> NDArray[np.float64]:
    """Amounts as whole pixels of a side."""
    return np.rint(FULL_SHIFT * length * amounts)


def level(amounts: Amounts, full: float) -> int:
    """The one magnitude of all images as a whole number of ``full``."""
    return round(full * abs(float(amounts[0])))


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "identity": lambda images, _: images,
        "rotate": lambda images, m: rotate(images, FULL_TURN * m),
        "shear_x": lambda images, m: warp(images, affine(xy=FULL_SHEAR * m)),
        "shear_y": lambda images, m: warp(images, affine(yx=FULL_SHEAR * m)),
        "translate_x": lambda images, m: warp(images, affine(x=pixels(m, images.shape[3]))),
        "translate_y": lambda images, m: warp(images, affine(y=pixels(m, images.shape[2]))),
        "brightness": lambda images, m: colour.brightness(images, 1 + FULL_FACTOR * m),
        "contrast": lambda images, m: colour.contrast(images, 1 + FULL_FACTOR * m),
        "saturation": lambda images, m: colour.saturation(images, 1 + FULL_FACTOR * m),
        "sharpness": lambda images, m: colour.sharpness(images, 1 + FULL_FACTOR * m),
        "posterize": lambda images, m: tone.posterize(images, 8 - level(m, FULL_BITS)),
        "solarize": lambda images, m: tone.solarize(images, 256 - level(m, 256)),
        "autocontrast": lambda images, _: tone.autocontrast(images),
        "equalize": lambda images, _: tone.equalize(images),
    }
)
COLOUR_ONLY = frozenset({"saturation"})
