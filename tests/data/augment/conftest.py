"""Images for every test of augmentation: noise, a ramp, one level, two levels; of odd and different sizes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

H, W = 7, 11


def some_images(channels: int) -> np.ndarray:
    """(6, C, 7, 11) uint8."""
    rng = np.random.default_rng(channels)
    noise = rng.integers(0, 256, (2, channels, H, W))
    dim = rng.integers(90, 120, (1, channels, H, W))
    ramp = np.arange(channels * H * W).reshape(1, channels, H, W) % 256
    level = np.full((1, channels, H, W), 41)
    level[:, 0] = 200
    two = np.where(rng.integers(0, 9, (1, channels, H, W)) == 0, 255, 3)
    return np.concatenate([noise, dim, ramp, level, two]).astype(np.uint8)


@pytest.fixture(params=[1, 3], ids=["gray", "rgb"])
def pixels(request) -> np.ndarray:
    return some_images(request.param)


@pytest.fixture
def colour() -> np.ndarray:
    return some_images(3)


@pytest.fixture
def by_pillow():
    """(pixels (N, C, H, W), function of a Pillow image and its number) -> what Pillow makes of each."""

    def apply(pixels, function):
        return np.stack([_chw(function(_image(one), k)) for k, one in enumerate(pixels)])

    return apply


def _image(one: np.ndarray) -> Image.Image:
    return Image.fromarray(one[0] if len(one) == 1 else np.ascontiguousarray(one.transpose(1, 2, 0)))


def _chw(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
