from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from striate.data import random  # noqa: E402 - only where torch is installed
from striate.data.augment import augment, place  # noqa: E402
from striate.data.augment.randaugment import affine, rotate  # noqa: E402
from striate.data.augmentation import Augmentation  # noqa: E402


def sampled(image, y, x, outside):
    """Bilinear at (y, x) px of one plane (H, W), by definition, in float64."""
    height, width = image.shape
    if outside == "border":
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * float(image[row, column])
    return total


def warped(pixels, source, outside):
    """The definition of `place.warp`, pixel by pixel."""
    n, channels, height, width = pixels.shape
    result = np.empty(pixels.shape)
    for k, c, i, j in np.ndindex(n, channels, height, width):
        y, x = source[k] @ (i - (height - 1) / 2, j - (width - 1) / 2, 1)
        result[k, c, i, j] = sampled(pixels[k, c], y + (height - 1) / 2, x + (width - 1) / 2, outside)
    return result


@pytest.mark.parametrize("outside", ["zeros", "border"])
def test_warp_is_its_definition(pixels, outside):
    source = np.random.default_rng(4).uniform(-1.2, 1.2, (len(pixels), 2, 3)) * [1, 1, 4]
    ours = place.warp(torch.from_numpy(pixels), source, outside).numpy()
    assert np.abs(ours - warped(pixels, source, outside)).max() <= 0.501  # rounded; coordinates are float32


def test_identity_and_whole_pixels_are_exact(pixels):
    images = torch.from_numpy(pixels)
    n = len(pixels)
    assert torch.equal(place.warp(images, affine(y=np.zeros(n))), images)
    moved = place.warp(images, affine(y=np.full(n, 2.0), x=np.full(n, -3.0)))
    expected = torch.zeros_like(images)
    expected[:, :, :-2, 3:] = images[:, :, 2:, :-3]
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("degrees", [7.0, -23.0])
def test_a_turn_is_pillows_counterclockwise_turn(degrees):
    """Away from the border, where Pillow fills and we fade; smooth images, for Pillow rounds its coordinates."""
    y, x = np.mgrid[0:41, 0:53]
    levels = np.rint(120 + 60 * np.sin(y / 9) + 50 * np.cos(x / 7)).astype(np.uint8)
    ours = rotate(torch.from_numpy(levels[None, None]), np.array([math.radians(degrees)]))[0, 0].numpy()
    theirs = np.asarray(Image.fromarray(levels).rotate(degrees, Image.Resampling.BILINEAR))
    inner = (slice(13, -13), slice(13, -13))
    assert np.abs(ours.astype(int) - theirs)[inner].max() <= 1


def test_a_crop_is_the_drawn_rectangle_scaled_up(pixels):
    index, spec = torch.arange(len(pixels)) * 5 + 1, Augmentation(crop_area=0.3, crop_ratio=1.5)
    ours = augment(torch.from_numpy(pixels), index, 2, 8, spec).numpy()
    height, width = pixels.shape[2:]
    for k, i in enumerate(index.tolist()):
        a, r, top, left = (float(random.uniform(8, "crop", 2, i, draw)[0]) for draw in range(4))
        a, r = 0.3 + 0.7 * a, 1.5 ** (2 * r - 1)
        tall, wide = min(1, math.sqrt(a / r)) * height, min(1, math.sqrt(a * r)) * width
        top, left = top * (height - tall), left * (width - wide)
        assert tall <= height
        assert wide <= width
        for y, x, c in np.ndindex(height, width, pixels.shape[1]):
            at = (top + (y + 0.5) * tall / height - 0.5, left + (x + 0.5) * wide / width - 0.5)
            assert abs(ours[k, c, y, x] - sampled(pixels[k, c], *at, "border")) <= 0.501


def test_a_crop_of_everything_is_off():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 7, 11), np.uint8))
    assert torch.equal(augment(images, torch.arange(5), 0, 0, Augmentation(crop_area=1.0)), images)
    same = augment(images, torch.arange(5), 0, 0, Augmentation(crop_area=1 - 1e-9, crop_ratio=1.0))
    assert torch.equal(same, images)
