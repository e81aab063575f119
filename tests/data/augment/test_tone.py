from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

torch = pytest.importorskip("torch")

from striate.data.augment import tone  # noqa: E402 - only where torch is installed


@pytest.mark.parametrize("bits", [1, 4, 7, 8])
def test_posterize_is_pillows(pixels, by_pillow, bits):
    theirs = by_pillow(pixels, lambda image, _: ImageOps.posterize(image, bits))
    np.testing.assert_array_equal(tone.posterize(torch.from_numpy(pixels), bits).numpy(), theirs)


@pytest.mark.parametrize("threshold", [0, 41, 200, 255, 256])
def test_solarize_is_pillows(pixels, by_pillow, threshold):
    theirs = by_pillow(pixels, lambda image, _: ImageOps.solarize(image, threshold))
    np.testing.assert_array_equal(tone.solarize(torch.from_numpy(pixels), threshold).numpy(), theirs)


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_spreading_levels_is_pillows(pixels, by_pillow, name):
    theirs = by_pillow(pixels, lambda image, _: getattr(ImageOps, name)(image))
    np.testing.assert_array_equal(getattr(tone, name)(torch.from_numpy(pixels)).numpy(), theirs)


@pytest.mark.parametrize("seed", range(4))
def test_equalizing_many_pixels_is_pillows(seed):
    """From 256 pixels on, the step is above 0 and the table is used; with 509 of them it would leave the range."""
    rng = np.random.default_rng(seed)
    levels = np.where(rng.random((29, 31)) < 0.1 * seed, 255, rng.integers(0, 250, (29, 31))).astype(np.uint8)
    if seed == 0:
        levels = np.concatenate([np.zeros(509, np.uint8), [255]]).reshape(17, 30).astype(np.uint8)
    ours = tone.equalize(torch.from_numpy(levels[None, None]))[0, 0].numpy()
    np.testing.assert_array_equal(ours, np.asarray(ImageOps.equalize(Image.fromarray(levels))))
