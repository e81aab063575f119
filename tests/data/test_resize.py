from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from striate.data import Preprocessing, fit_images
from striate.data.resize import fit_image, resized_size
from striate.errors import DataError

sides = st.integers(1, 300)


def preprocessing(height, width, fit, channels=1):
    return Preprocessing(channels, height, width, fit, (0.0,) * channels, (1.0,) * channels)


def triangle(pixels, length):
    """One axis (the last) of the antialiased bilinear resize, by its definition, in float64."""
    step = pixels.shape[-1] / length
    reach = max(step, 1.0)
    centre = (np.arange(length)[:, None] + 0.5) * step
    weights = np.maximum(0, 1 - np.abs(np.arange(pixels.shape[-1]) + 0.5 - centre) / reach)
    return pixels @ (weights / weights.sum(1, keepdims=True)).T


@given(sides, sides, sides, sides, st.sampled_from(["crop", "pad", "stretch"]))
def test_resized_size_keeps_the_aspect_and_covers_or_fits_the_target(h, w, target_h, target_w, fit):
    height, width = resized_size((h, w), (target_h, target_w), fit)
    if fit == "stretch":
        assert (height, width) == (target_h, target_w)
        return
    factors = target_h / h, target_w / w
    factor = max(factors) if fit == "crop" else min(factors)
    assert abs(height - max(1, h * factor)) <= 0.5 + 1e-9
    assert abs(width - max(1, w * factor)) <= 0.5 + 1e-9
    if fit == "crop":
        assert height >= target_h
        assert width >= target_w
    else:
        assert height <= target_h
        assert width <= target_w


@pytest.mark.parametrize(("h", "w", "height", "width"), [(47, 61, 11, 7), (13, 10, 26, 35), (40, 9, 10, 18)])
def test_resize_is_the_triangle_filter_of_the_definition(h, w, height, width):
    pixels = np.random.default_rng(h).integers(0, 256, (h, w)).astype(np.uint8)
    ours = fit_image(Image.fromarray(pixels), preprocessing(height, width, "stretch"), "x")[0]
    exact = triangle(triangle(pixels.astype(float), width).T, height).T
    assert np.abs(ours - exact).max() <= 1.01  # Pillow rounds to integers after each of the two axes


def test_an_image_of_the_right_size_is_not_touched():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    for fit in ("crop", "pad", "stretch"):
        ours = fit_image(Image.fromarray(pixels), preprocessing(7, 11, fit, 3), "x")
        np.testing.assert_array_equal(ours, pixels.transpose(2, 0, 1))
        assert ours.flags.c_contiguous


def test_crop_keeps_the_centre_and_cuts_the_odd_pixel_at_the_end():
    columns = np.tile(np.arange(10, dtype=np.uint8), (7, 1))
    ours = fit_image(Image.fromarray(columns), preprocessing(7, 7, "crop"), "x")
    assert ours[0, 3].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_pad_fills_with_zero_and_puts_the_odd_pixel_at_the_end():
    ours = fit_image(Image.new("L", (11, 4), 200), preprocessing(7, 11, "pad"), "x")
    assert ours[0, :, 5].tolist() == [0, 200, 200, 200, 200, 0, 0]


def test_a_thin_image_keeps_one_pixel_when_padded():
    ours = fit_image(Image.new("L", (1000, 1), 255), preprocessing(8, 8, "pad"), "x")
    assert (ours[0] > 0).sum() == 8


def test_a_strip_that_would_fill_the_memory_is_refused_for_crop():
    strip = Image.new("L", (1, 60_000))
    message = r"^strip\.png: 60000x1 px is too long a strip to crop; use fit pad or stretch$"
    with pytest.raises(DataError, match=message):
        fit_image(strip, preprocessing(64, 64, "crop"), "strip.png")


def test_arrays_take_the_same_path_as_files():
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 13, 17)).astype(np.uint8)
    target = preprocessing(7, 11, "crop")  # gray from RGB, and smaller
    one = fit_image(Image.fromarray(np.ascontiguousarray(images[1].transpose(1, 2, 0))), target, "x")
    np.testing.assert_array_equal(fit_images(images, target)[1], one)


def test_gray_becomes_rgb_by_repeating():
    images = np.random.default_rng(2).integers(0, 256, (2, 1, 7, 11)).astype(np.uint8)
    np.testing.assert_array_equal(fit_images(images, preprocessing(7, 11, "crop", 3)), images.repeat(3, axis=1))
