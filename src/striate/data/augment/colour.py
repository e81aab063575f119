"""Brightness, contrast, saturation, sharpness as Pillow's ImageEnhance defines them, to the bit; and hue."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from striate.data import random
from striate.data.augment.place import Positions
from striate.data.augmentation import Augmentation

RGB = 3
LUMA = (19595, 38470, 7471)  # of 65536: ITU-R BT.601's weights of R, G, B, as Pillow rounds them
SMOOTH = (1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0)  # of 13: Pillow's filter for sharpness


def jitter(images: Tensor, positions: Positions, epoch: int, seed: int, spec: Augmentation) -> Tensor:
    """Change brightness, contrast, saturation and hue, in this order, each by a draw of its own.

    Shapes: images and result (N, C, H, W) uint8; positions (N,).
    """
    draws = 2 * random.uniform(seed, "colour", epoch, positions, np.arange(4)[:, None]) - 1  # (4, N) in -1 .. 1
    if spec.brightness:
        images = brightness(images, 1 + spec.brightness * draws[0])
    if spec.contrast:
        images = contrast(images, 1 + spec.contrast * draws[1])
    if spec.saturation:
        images = saturation(images, 1 + spec.saturation * draws[2])
    if spec.hue:
        images = hue(images, spec.hue * draws[3])
    return images


def brightness(images: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """0 is black, 1 the image.  Shapes: images and result (N, C, H, W) uint8; factor (N,)."""
    return _blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """0 is the image's mean gray, 1 the image.  Shapes: images and result (N, C, H, W) uint8; factor (N,)."""
    gray = luma(images).to(torch.int64)  # (N, 1, H, W)
    pixels = gray[0].numel()
    mean = (2 * gray.sum(dim=(1, 2, 3)) + pixels) // (2 * pixels)  # to the nearest, halves up
    return _blend(mean[:, None, None, None].expand(images.shape), images, factor)


def saturation(images: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """0 is gray, 1 the image.  Shapes: images and result (N, C, H, W) uint8; factor (N,)."""
    return _blend(luma(images).expand(images.shape), images, factor)


def sharpness(images: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """0 is smoothed, 1 the image; the outermost pixels stay.  Shapes: (N, C, H, W) uint8; factor (N,)."""
    n, channels, height, width = images.shape
    if min(height, width) < 3:
        return images
    kernel = torch.tensor(SMOOTH, device=images.device).view(1, 1, 3, 3)
    planes = images.reshape(n * channels, 1, height, width).to(torch.float32)
    # Sums are whole numbers below 2**24, hence exact; the half that rounds is added before the one division.
    inner = ((F.conv2d(planes, kernel) + 6.5) / 13).to(torch.uint8)
    smoothed = images.clone()
    smoothed[:, :, 1:-1, 1:-1] = inner.view(n, channels, height - 2, width - 2)
    return _blend(smoothed, images, factor)


def hue(images: Tensor, turns: NDArray[np.float64]) -> Tensor:
    """Turn each colour on the colour circle; lightness and saturation (of HSV) stay, and so does gray.

    With V = max, c = max - min and H the hue in sixths of a turn, channel i of R, G, B is
    V - c clamp(min(k, 4 - k), 0, 1),  k = (n_i + H) mod 6,  n = 5, 3, 1.

    Shapes: images and result (N, 3, H, W) uint8; turns (N,).
    """
    rgb = images.to(torch.float32)
    most, least = rgb.amax(dim=1), rgb.amin(dim=1)  # (N, H, W)
    chroma = most - least
    red, green, blue = rgb.unbind(dim=1)
    whole = chroma.clamp(min=1)  # of gray, the hue is any: 0
    sixths = torch.where(most == green, (blue - red) / whole + 2, (red - green) / whole + 4)
    sixths = torch.where(most == red, (green - blue) / whole, sixths)
    turned = sixths + _per_image(6 * turns, images.device)[:, :, :, 0]
    k = [(n + turned) % 6 for n in (5, 3, 1)]
    channels = [most - chroma * torch.minimum(one, 4 - one).clamp(0, 1) for one in k]
    return torch.stack(channels, dim=1).round_().to(torch.uint8)


def luma(images: Tensor) -> Tensor:
    """Gray of RGB, and gray itself.  Shapes: (N, C, H, W) uint8 to (N, 1, H, W) uint8."""
    if images.shape[1] != RGB:
        return images
    weights = torch.tensor(LUMA, dtype=torch.int32, device=images.device)[:, None, None]
    weighted = (images.to(torch.int32) * weights).sum(dim=1, keepdim=True)  # (N, 1, H, W)
    return ((weighted + 0x8000) >> 16).to(torch.uint8)


def _blend(zero: Tensor, one: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """zero + factor (one - zero) in float32, clamped to 0 .. 255, fractions cut off."""
    start = zero.to(torch.float32)
    mixed = one.to(torch.float32).sub_(start).mul_(_per_image(factor, one.device)).add_(start)
    return mixed.clamp_(0, 255).to(torch.uint8)


def _per_image(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, None, None, None]
