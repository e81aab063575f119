"""Where pixels go: flip and shift by copying, crops and affine maps by bilinear sampling."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from striate.data import random
from striate.data.augmentation import Augmentation, Fill

Positions = NDArray[np.int64]


def flip_and_shift(images: Tensor, positions: Positions, epoch: int, seed: int, spec: Augmentation) -> Tensor:
    """Mirror the images whose turn it is, and move each by a draw; what comes in from outside is as `shift_fill` says.

    Shapes: images and result (N, C, H, W) uint8; positions (N,).
    """
    n, channels, height, width = images.shape
    reach = spec.shift_px
    start = random.integers(2 * reach + 1, seed, "shift", epoch, positions[:, None], np.arange(2))  # (N, 2)
    sources = _padded(images, reach, spec.shift_fill)  # (N, C, H + 2 reach, W + 2 reach)
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


def _padded(images: Tensor, reach: int, fill: Fill) -> Tensor:
    """The images with a border of `reach` px; reflect goes to and fro where that is more than the image has."""
    if fill == "zeros":
        return F.pad(images, (reach, reach, reach, reach))
    down, right = (torch.from_numpy(np.pad(np.arange(n), reach, "reflect")) for n in images.shape[2:])
    return images[:, :, down.to(images.device)][..., right.to(images.device)]


def crop(images: Tensor, positions: Positions, epoch: int, seed: int, spec: Augmentation) -> Tensor:
    """Cut a random rectangle out of each image and scale it back to full size.

    A share a of the area from [crop_area, 1] and a factor r on the shape from [1/crop_ratio, crop_ratio], uniform in
    its logarithm: the rectangle is sqrt(a r) W wide and sqrt(a / r) H high, at most the image, anywhere in it.

    Shapes: images and result (N, C, H, W) uint8; positions (N,).
    """
    size = np.array(images.shape[2:], np.float64)
    area, shape, *place = random.uniform(seed, "crop", epoch, positions, np.arange(4)[:, None])  # each (N,)
    area = spec.crop_area + (1 - spec.crop_area) * area
    shape = np.exp(math.log(spec.crop_ratio) * (2 * shape - 1))
    share = np.minimum(1.0, np.sqrt(np.stack([area / shape, area * shape], axis=1)))  # (N, 2) of height and width
    centre = (np.stack(place, axis=1) - 0.5) * (1 - share) * size  # px from the image's centre
    source = np.zeros((len(positions), 2, 3))
    source[:, [0, 1], [0, 1]], source[:, :, 2] = share, centre
    return warp(images, source, outside="border")


def warp(images: Tensor, source: NDArray[np.float64], outside: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Sample each image at the places an affine map gives: bilinear, rounded to the nearest level.

    The pixel (y, x) of the result, counted from the image's centre in px, is the image at source (y, x, 1)^T.

    Shapes: images and result (N, C, H, W) uint8; source (N, 2, 3), rows for y and x.
    """
    height, width = images.shape[2:]
    entries = torch.from_numpy(source.astype(np.float32)).to(images.device)[:, :, :, None, None]
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    # grid_sample wants x before y, and -1 .. 1 from border to border.
    along = [entries[:, i, 0] * y + entries[:, i, 1] * x + entries[:, i, 2] for i in (0, 1)]  # px from the centre
    places = torch.stack([along[1] * (2 / width), along[0] * (2 / height)], dim=-1)  # (N, H, W, 2)
    sampled = F.grid_sample(images.to(torch.float32), places, "bilinear", outside, align_corners=False)
    return sampled.round_().to(torch.uint8)
