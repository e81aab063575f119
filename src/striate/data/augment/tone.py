"""Changes of single levels as Pillow's ImageOps defines them, to the bit: a table of 256 levels for each plane."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256


def posterize(images: Tensor, kept_bits: int) -> Tensor:
    """Keep the highest bits of each level.  Shapes: images and result (N, C, H, W) uint8."""
    return images & (0xFF & -(1 << (8 - kept_bits)))


def solarize(images: Tensor, threshold: int) -> Tensor:
    """Invert the levels from ``threshold`` on (256: none).  Shapes: images and result (N, C, H, W) uint8."""
    return torch.where(images.to(torch.int16) >= threshold, 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each plane's levels over 0 .. 255; a plane of one level stays.  Shapes: (N, C, H, W) uint8."""
    low, high = (bound.to(torch.float64)[:, :, None] for bound in (images.amin(dim=(2, 3)), images.amax(dim=(2, 3))))
    scale = torch.full_like(high, 255.0) / (high - low).clamp(min=1)  # a number over a tensor would round twice
    level = torch.arange(LEVELS, dtype=torch.float64, device=images.device)
    stretched = (level * scale - low * scale).clamp(0, 255).to(torch.uint8)  # (N, C, 256), fractions cut off
    return _looked_up(images, torch.where(high > low, stretched, level.to(torch.uint8)))


def equalize(images: Tensor) -> Tensor:
    """Spread each plane's levels so that they are equally common; a plane of one level stays.

    With counts h and s = (pixels - h of the highest level present) // 255: level i becomes
    (s // 2 + sum of h below i) // s, at most 255.

    Shapes: images and result (N, C, H, W) uint8.
    """
    n, channels = images.shape[:2]
    flat = images.reshape(n * channels, -1).to(torch.int64)
    counts = torch.zeros(n * channels, LEVELS, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    last = counts.gather(1, flat.amax(dim=1, keepdim=True))  # how many have the highest level
    step = (flat.shape[1] - last) // 255  # (N C, 1)
    below = counts.cumsum(dim=1) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255).to(torch.uint8)
    same = torch.arange(LEVELS, dtype=torch.uint8, device=images.device)
    return _looked_up(images, torch.where(step > 0, table, same).view(n, channels, LEVELS))


def _looked_up(images: Tensor, table: Tensor) -> Tensor:
    """(N, C, H, W) uint8 by a table (N, C, 256)."""
    return table.gather(2, images.flatten(2).to(torch.int64)).view(images.shape)
