"""What hides pixels: a black square, a rectangle of random pixels."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate.data import random
from striate.data.augment.place import Positions

ERASED_AREA = (0.02, 0.33)  # share of the image; these two as Zhong et al. 2020, arXiv:1708.04896, sec. 5
ERASED_RATIO = (0.3, 3.3)  # height / width


def cutout(images: Tensor, positions: Positions, epoch: int, seed: int, side_px: int) -> Tensor:
    """Black out a square around a random pixel.  Shapes: images and result (N, C, H, W) uint8; positions (N,)."""
    sides = np.array(images.shape[2:])
    centre = random.integers(sides, seed, "cutout", epoch, positions[:, None], np.arange(2))  # (N, 2)
    covered = rectangle(centre - side_px // 2, np.full_like(centre, side_px), images.shape[2:])
    return images * torch.from_numpy(1 - covered).to(images.device)


def erase(images: Tensor, positions: Positions, epoch: int, seed: int, share: float) -> Tensor:
    """Replace a rectangle by random pixels in a share of the images; the others are returned as they are.

    Shapes: images and result (N, C, H, W) uint8; positions (N,).
    """
    chosen = np.flatnonzero(random.uniform(seed, "erase", epoch, positions) < share)
    if not len(chosen):
        return images
    some, (channels, height, width) = positions[chosen], images.shape[1:]
    area, ratio, *place = random.uniform(seed, "erase where", epoch, some, np.arange(4)[:, None])  # each (M,)
    area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area
    low, high = (math.log(bound) for bound in ERASED_RATIO)
    ratio = np.exp(low + (high - low) * ratio)
    sides = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1) * np.array([height, width])
    count = np.clip(np.rint(sides).astype(np.int64), 1, [height, width])  # (M, 2) px
    first = (np.stack(place, axis=1) * (np.array([height, width]) - count + 1)).astype(np.int64)
    covered = torch.from_numpy(rectangle(first, count, (height, width))).to(images.device).bool()  # (M, 1, H, W)
    noise = _noise(some, epoch, seed, (channels, height, width)).to(images.device)
    result = images.clone()
    rows = torch.from_numpy(chosen).to(images.device)
    result[rows] = torch.where(covered, noise, images[rows])
    return result


def rectangle(first: NDArray[np.int64], count: NDArray[np.int64], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """(N, 1, H, W): 1 in the rectangle of ``count`` rows and columns from ``first`` (N, 2) on, else 0."""
    rows, columns = (
        (np.arange(length) >= start[:, None]) & (np.arange(length) < (start + sides)[:, None])
        for length, start, sides in zip(size, first.T, count.T, strict=True)
    )
    inside: NDArray[np.bool_] = rows[:, None, :, None] & columns[:, None, None, :]
    return inside.astype(np.uint8)


def _noise(positions: Positions, epoch: int, seed: int, shape: tuple[int, int, int]) -> Tensor:
    """(N, C, H, W) uint8 random pixels: the bytes of 64-bit draws, in a fixed order."""
    words = -(-math.prod(shape) // 8)
    drawn = random.bits(seed, "erase noise", epoch, positions[:, None], np.arange(words))  # (N, words)
    pixels = drawn.astype("<u8").view(np.uint8)[:, : math.prod(shape)]
    return torch.from_numpy(np.ascontiguousarray(pixels).reshape(-1, *shape))
