from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import ImageEnhance

torch = pytest.importorskip("torch")

from striate.data import random  # noqa: E402 - only where torch is installed
from striate.data.augment import augment, colour  # noqa: E402
from striate.data.augmentation import Augmentation  # noqa: E402

FACTORS = np.array([0.0, 0.37, 1.0, 1.9, 0.8999999, 1.25])
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("name", ENHANCERS)
@pytest.mark.parametrize("turn", range(3))
def test_it_is_pillows_enhancement_to_the_bit(pixels, by_pillow, name, turn):
    factors = np.roll(FACTORS, 2 * turn)
    ours = getattr(colour, name)(torch.from_numpy(pixels), factors)
    theirs = by_pillow(pixels, lambda image, k: ENHANCERS[name](image).enhance(float(factors[k])))
    assert ours.dtype == torch.uint8
    np.testing.assert_array_equal(ours.numpy(), theirs)


def test_images_too_small_to_smooth_stay_sharp(by_pillow):
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 1, 2, 6)
    assert torch.equal(colour.sharpness(torch.from_numpy(pixels), np.array([0.0])), torch.from_numpy(pixels))


@pytest.mark.parametrize("turn", [0.0, 0.1, -0.37, 0.5])
def test_hue_turns_the_hsv_circle(colour, turn):
    from striate.data.augment.colour import hue

    ours = hue(torch.from_numpy(colour), np.full(len(colour), turn)).numpy()
    expected = np.empty_like(ours)
    for n, y, x in np.ndindex(len(colour), *colour.shape[2:]):
        h, s, v = colorsys.rgb_to_hsv(*(colour[n, :, y, x] / 255))
        expected[n, :, y, x] = np.rint(np.array(colorsys.hsv_to_rgb((h + turn) % 1, s, v)) * 255)
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= 1  # float32 against float64 at a half
    assert (difference > 0).mean() < 0.01


def test_a_whole_turn_gives_the_image_back(colour):
    from striate.data.augment.colour import hue

    images = torch.from_numpy(colour)
    assert torch.equal(hue(images, np.full(len(colour), 1.0)), images)


def test_jitter_is_its_four_changes_by_their_own_draws(colour):
    from striate.data.augment import colour as changes

    spec = Augmentation(brightness=0.5, contrast=0.4, saturation=0.3, hue=0.2)
    images, index = torch.from_numpy(colour), torch.arange(len(colour)) * 13 + 2
    ours = augment(images, index, 5, 9, spec)
    draws = 2 * random.uniform(9, "colour", 5, index.numpy(), np.arange(4)[:, None]) - 1
    expected = changes.brightness(images, 1 + 0.5 * draws[0])
    expected = changes.contrast(expected, 1 + 0.4 * draws[1])
    expected = changes.saturation(expected, 1 + 0.3 * draws[2])
    assert torch.equal(ours, changes.hue(expected, 0.2 * draws[3]))
    assert np.ptp(draws, axis=1).min() > 0.1
