"""Batched augmentation of uint8 tensors in memory."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from striate.data import random
from striate.data.augmentation import Augmentation
from striate.errors import DataError


def augment(images: Tensor, index: Tensor, epoch: int, seed: int, spec: Augmentation) -> Tensor:
    """Return the images changed as ``spec`` says; the input stays as it is.

    What happens to an image is a function of (seed, epoch, its index) and nothing else: not of the batch, the
    order, the device or the number of workers.

    Shapes: images (N, C, H, W) uint8; index (N,) int64, each image's position in the training part; result
    (N, C, H, W) uint8 on the images' device.
    Raises: DataError if the tensors are of another type or do not fit each other.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or index.shape != images.shape[:1]:
        raise DataError(
            f"augment: images {images.dtype} {tuple(images.shape)}, index {tuple(index.shape)}; "
            "expected torch.uint8 (N, C, H, W) and (N,)"
        )
    positions = index.cpu().numpy()
    if spec.flip or spec.shift_px:
        images = _flip_and_shift(images, positions, epoch, seed, spec)
    if spec.cutout_px:
        images = _cutout(images, positions, epoch, seed, spec.cutout_px)
    return images


def _flip_and_shift(images: Tensor, positions: NDArray[np.int64], epoch: int, seed: int, spec: Augmentation) -> Tensor:
    n, channels, height, width = images.shape
    reach = spec.shift_px
    start = random.integers(2 * reach + 1, seed, "shift", epoch, positions[:, None], np.arange(2))  # (N, 2)
    sources = F.pad(images, (reach, reach, reach, reach))  # (N, C, H + 2 reach, W + 2 reach)
    plane = np.arange(n * channels).reshape(n, channels, 1)
    if spec.flip:
        is_mirrored = (random.integers(2, seed, "flip", positions) + epoch) % 2
        plane = plane + n * channels * is_mirrored[:, None, None]
        sources = torch.cat([sources, sources.flip(-1)])
    # A row of the result is `width` neighbours in flat memory, so that rows are copied and not single pixels.
    row = plane * sources.shape[2] + start[:, 0, None, None] + np.arange(height)  # (N, C, H)
    first = torch.from_numpy(row * sources.shape[3] + start[:, 1, None, None]).to(images.device)
    rows = sources.reshape(-1).unfold(0, width, 1).index_select(0, first.reshape(-1))  # (N C H, W)
    return rows.view(images.shape)


def _cutout(images: Tensor, positions: NDArray[np.int64], epoch: int, seed: int, side_px: int) -> Tensor:
    sides = np.array(images.shape[2:])
    centre = random.integers(sides, seed, "cutout", epoch, positions[:, None], np.arange(2))  # (N, 2)
    first = centre - side_px // 2
    rows, columns = (_within(first[:, axis], side_px, length) for axis, length in enumerate(sides))
    kept = 1 - rows[:, None, :, None] * columns[:, None, None, :]  # (N, 1, H, W)
    return images * torch.from_numpy(kept).to(images.device)


def _within(first: NDArray[np.int64], count: int, length: int) -> NDArray[np.uint8]:
    """(N, length): 1 where a position lies in first .. first + count - 1, else 0."""
    position = np.arange(length)
    return ((position >= first[:, None]) & (position < first[:, None] + count)).astype(np.uint8)
